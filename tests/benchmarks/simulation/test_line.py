"""The simulated line follows the provider's rule, and its report shows which targets are missed."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_youcom.ledger import line_rule
from benchmarks.simulation.account import MICROSECONDS
from benchmarks.simulation.line.fleet import FleetInLine, simulate_line
from benchmarks.simulation.line.lines import FirstCome, FirstFit, TheLine
from benchmarks.simulation.line.report import line_table
from benchmarks.simulation.line.result import IN_PARTS, LineResult, group_of
from benchmarks.simulation.line.runs import dying, split, with_one
from benchmarks.simulation.line.scenario import LineScenario
from benchmarks.simulation.line.settings import (
    DAY_SECONDS,
    LARGE,
    LESS,
    MORE,
    ONE_ABOVE,
    RULES,
    SETTINGS,
    SMALL,
    TYPED_MORE,
    Outcome,
    simulate_settings,
    targets,
)
from benchmarks.simulation.line.top_ups import AutoTopUp, Steps
from benchmarks.simulation.result import Waits
from benchmarks.simulation.runs import Run, draw_runs

pytestmark = pytest.mark.ledger

PROJECT = Path(__file__).parents[3]
PLOTTED = PROJECT / "benchmarks" / "results" / "simulation-line.svg"
RUNS = 1500
HOUR = 60 * 60 * MICROSECONDS


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return simulate_settings(RUNS, seed=1, names=[MORE])


def result_of(outcomes: list[Outcome], rule: type[FirstFit]) -> LineResult:
    return next(each.result for each in outcomes if each.rule == RULES[rule])


def test_the_documentation_shows_what_was_simulated() -> None:
    assert (PROJECT / "docs" / "line-simulation.svg").read_text() == PLOTTED.read_text()


def test_large_runs_wait_longest_without_a_line(outcomes: list[Outcome]) -> None:
    waits = {rule: result_of(outcomes, rule).waits for rule in RULES}
    assert waits[FirstFit][LARGE].p99 > 1.5 * waits[TheLine][LARGE].p99
    assert waits[FirstFit][SMALL].median <= waits[TheLine][SMALL].median <= waits[FirstCome][SMALL].median


def test_only_a_line_lets_gates_leave_credits_alone(outcomes: list[Outcome]) -> None:
    assert result_of(outcomes, FirstFit).still_share == 0
    assert result_of(outcomes, TheLine).still_share > 0


def test_only_a_gate_that_is_never_paid_keeps_the_others_waiting_in_vain() -> None:
    paid, never_paid = (simulate_line(SETTINGS[name], RUNS, seed=1) for name in (LESS, ONE_ABOVE))
    assert paid.still_in_vain_share == 0 < never_paid.still_in_vain_share < never_paid.still_share


def test_every_run_opens_or_gives_up(outcomes: list[Outcome]) -> None:
    for each in outcomes:
        assert each.result.waits["all"].runs == RUNS, each.rule
        assert each.result.refused == 0, each.rule
    scenario = LineScenario(load=1.05, change=dying(0.3))
    result = simulate_line(scenario, RUNS, seed=1)
    assert result.gave_up
    assert result.waits["all"].runs + sum(result.gave_up.values()) == RUNS


def test_nobody_is_left_in_line() -> None:
    scenario = LineScenario(load=1.05, change=dying(0.3))
    fleet = FleetInLine(scenario, draw_runs(RUNS, 1, scenario))
    fleet.simulate_line()
    assert fleet.line.places == {}


def run_of(number: int, usd: int) -> Run:
    return Run(number, 0, usd * 100, HOUR, random.Random(number))


def line_with(*usd: int) -> TheLine:
    line = TheLine(hold_seconds=3600)
    for number, each in enumerate(usd):
        line.join(run_of(number, each))
    return line


def test_what_a_gate_needs_is_held_once_more_than_four_times_as_much_has_passed() -> None:
    line = line_with(50, 10)
    line.open(run_of(8, 200), left_cents=0, now=0)
    assert line.held_before(run_of(9, 5)) == 10_00
    line.open(run_of(8, 1), left_cents=0, now=0)
    assert line.held_before(run_of(9, 5)) == 60_00
    assert line.held_before(run_of(1, 10)) == 50_00
    assert line.held_before(run_of(0, 50)) == 0
    line.leave(run_of(0, 50))
    assert line.held_before(run_of(9, 5)) == 10_00


@pytest.mark.parametrize(
    ("checks", "held"),
    [
        pytest.param([(1 * HOUR, 0)], True, id="an hour without movement"),
        pytest.param([(1 * HOUR + 1, 0)], False, id="more than an hour without movement"),
        pytest.param([(1 * HOUR, 10_00), (2 * HOUR, 20_00)], True, id="more comes in"),
        pytest.param([(1 * HOUR, 10_00), (2 * HOUR + 1, 20_00)], False, id="two hours without an opening"),
        pytest.param([(2 * HOUR + 1, 50_00)], True, id="it can be paid"),
    ],
)
def test_a_hold_ends_by_the_providers_rule(checks: list[tuple[int, int]], held: bool) -> None:
    line = line_with(50)
    line.open(run_of(8, 201), left_cents=0, now=0)
    for now, available_cents in checks:
        line.follow(available_cents, now)
    assert bool(line.held()) is held
    assert line.places[0].patience == (4 if held else line_rule.longer_patience(4))


@pytest.mark.parametrize(("usd", "waits"), [(50, False), (51, True)])
def test_a_decision_leaves_alone_what_is_held_by_then(usd: int, waits: bool) -> None:
    fleet = FleetInLine(LineScenario(), iter([]))
    fleet.line.join(run_of(0, 50))
    fleet.line.open(run_of(8, 201), left_cents=0, now=0)
    fleet._decide(run_of(1, usd), fleet.gates.note(0), 100_00)
    assert (1 in fleet.line.places) is waits


def test_first_come_first_served_lets_nobody_pass() -> None:
    line = FirstCome(hold_seconds=3600)
    line.join(run_of(0, 50))
    line.join(run_of(1, 1))
    assert line.held_before(run_of(0, 50)) == 0
    assert line.held_before(run_of(1, 1)) == line.held_before(run_of(2, 1)) == line_rule.NO_BOUND


def test_a_mistyped_amount_is_added_to_the_runs() -> None:
    scenario = LineScenario()
    runs = list(with_one(10_000)(draw_runs(200, 1, scenario)))
    (mistyped,) = [run for run in runs if run.needed == 10_000_00]
    assert (len(runs), mistyped.size_cents, group_of(mistyped.needed)) == (201, 10_00, "$10,000")


def test_large_runs_are_split_into_parts_that_arrive_together() -> None:
    scenario = LineScenario(change=split(20))
    drawn = list(draw_runs(RUNS, 1, scenario))
    changed = list(split(20)(iter(drawn)))
    assert max(run.size_cents for run in changed) == 50_00
    assert sum(run.size_cents for run in changed) == sum(run.size_cents for run in drawn)
    assert len({run.number for run in changed}) == len(changed)
    large = sum(run.size_cents >= 100_00 for run in drawn)
    assert simulate_line(scenario, RUNS, seed=1).waits[IN_PARTS].runs == large


@pytest.mark.parametrize(
    ("balance", "bought"), [(300_00, 0), (299_99, 100_00), (200_00, 100_00), (199_99, 200_00)]
)
def test_auto_top_up_buys_until_the_threshold_is_reached(balance: int, bought: int) -> None:
    assert AutoTopUp(300_00, 100_00).bought_cents(balance) == bought


def test_a_gate_that_needs_what_never_comes_gives_up() -> None:
    scenario = LineScenario(
        change=with_one(10_000), top_ups=AutoTopUp(500_00, 200_00), timeout_seconds=DAY_SECONDS / 4
    )
    assert simulate_line(scenario, RUNS, seed=1).gave_up["$10,000"] == 1


def test_steps_stop_at_what_is_enough() -> None:
    scenario = LineScenario(load=0.5, top_ups=Steps(most_cents=500_00))
    fleet = FleetInLine(scenario, draw_runs(200, 1, scenario))
    fleet.simulate_line()
    assert fleet.account.cents < 600_00


def with_p99(outcome: Outcome, group: str, p99: float) -> Outcome:
    waits = {**outcome.result.waits, group: Waits(100, 1, 1, p99, p99)}
    return replace(outcome, result=replace(outcome.result, waits=waits))


BASE = Outcome(MORE, RULES[TheLine], LineResult(0, 0.0, 0.0, 1.0, {}, {}))
FIRST_COME = with_p99(replace(BASE, rule=RULES[FirstCome]), LARGE, 100)


@pytest.mark.parametrize(
    ("outcomes", "missed"),
    [
        ([FIRST_COME, with_p99(BASE, LARGE, 150)], None),
        ([FIRST_COME, with_p99(BASE, LARGE, 151)], "1.51 times"),
        ([with_p99(BASE, "all", 10), with_p99(replace(BASE, setting=TYPED_MORE), "all", 13)], None),
        ([with_p99(BASE, "all", 10), with_p99(replace(BASE, setting=TYPED_MORE), "all", 14)], "1.40 times"),
        ([replace(BASE, setting=ONE_ABOVE, result=replace(BASE.result, still_in_vain_share=0.1))], None),
        ([replace(BASE, setting=ONE_ABOVE, result=replace(BASE.result, still_in_vain_share=0.11))], "11.0%"),
        ([replace(BASE, result=replace(BASE.result, refused=1))], "no payment is refused"),
    ],
)
def test_a_target_that_is_missed_is_reported(outcomes: list[Outcome], missed: str | None) -> None:
    found = [what for what, met in targets(outcomes) if not met]
    assert len(found) == (missed is not None)
    assert missed is None or missed in found[0]


def test_the_table_has_a_row_for_each_outcome(outcomes: list[Outcome]) -> None:
    rows = line_table(outcomes).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == list(RULES.values())
