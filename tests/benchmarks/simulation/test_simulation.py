"""The simulation follows the rule, and shows overspending as soon as one part of the rule is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_youcom.ledger.rule import NOT_ENDED, EndReason
from benchmarks.simulation.fleet import Fleet, simulate
from benchmarks.simulation.gates import CheckingGates, IdealGates, Note, Reservation, ReservingGates
from benchmarks.simulation.report import duration, table
from benchmarks.simulation.runs import Run, draw_runs
from benchmarks.simulation.scenario import Scenario
from benchmarks.simulation.variants import CHECKING, IDEAL, Variant, simulate_all
from benchmarks.simulation.waiting_gates import WaitingGates

pytestmark = pytest.mark.ledger

PROJECT = Path(__file__).parents[3]
PLOTTED = PROJECT / "benchmarks" / "results" / "simulation.svg"
RUNS = 1500
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def variants() -> list[Variant]:
    return simulate_all(RUNS, seed=1, fleet=Scenario(), loads=(0.9, 1.1))


def test_the_documentation_shows_what_was_simulated() -> None:
    assert (PROJECT / "docs" / "reservations-simulation.svg").read_text() == PLOTTED.read_text()


def test_no_payment_is_refused_unless_gates_only_check(variants: list[Variant]) -> None:
    assert {each.name for each in variants if each.result.refused} == {CHECKING}
    assert all(each.is_good for each in variants)


def test_every_run_ends(variants: list[Variant]) -> None:
    for each in variants:
        assert each.result.succeeded + each.result.crashed + each.result.refused == RUNS, each.name
        assert each.result.waits["all"].runs == RUNS, each.name


@pytest.mark.parametrize("crashing", [0.0, 0.1])
def test_nothing_stays_reserved(crashing: float) -> None:
    scenario = Scenario(crashing=crashing)
    fleet = Fleet(scenario, draw_runs(RUNS, 1, scenario))

    result = fleet.simulate()

    assert isinstance(fleet.gates, ReservingGates)
    assert (result.crashed > 0) == (crashing > 0)
    assert fleet.gates.reserved == 0
    assert fleet.gates.reservations == {}
    assert fleet.account.committed_cents == 0
    assert fleet.account.posted_cents == fleet.account.cents


def test_the_same_seed_gives_the_same_result() -> None:
    assert simulate(Scenario(), RUNS, seed=1) == simulate(Scenario(), RUNS, seed=1)
    assert simulate(Scenario(), RUNS, seed=1) != simulate(Scenario(), RUNS, seed=2)


def test_the_same_runs_arrive_whatever_is_varied() -> None:
    def drawn(**varied: Any) -> list[tuple[int, int, list[int], list[int]]]:
        scenario = Scenario(**varied)
        return [
            (run.arrived_at, run.size_cents, run.payments, run.pauses) for run in draw_runs(50, 1, scenario)
        ]

    assert drawn() == drawn(load=1.1, settle_seconds=300, generosity=2, crashing=0.5)


def test_a_run_pays_what_it_spends() -> None:
    for run in draw_runs(50, 1, Scenario(generosity=1.5)):
        assert sum(run.payments) == run.size_cents
        assert min(run.payments) > 0
        assert run.needed * 2 == run.size_cents * 3


def mean_wait(scenario: Scenario) -> float:
    return sum(simulate(scenario, RUNS, seed).waits["all"].mean for seed in SEEDS)


def mean_idle_usd(scenario: Scenario) -> float:
    return sum(simulate(scenario, RUNS, seed).idle_usd for seed in SEEDS)


@pytest.mark.parametrize("cost", [mean_wait, mean_idle_usd])
def test_a_longer_settle_time_never_lowers_waits_or_idle_money(cost: Any) -> None:
    costs = [cost(Scenario(load=0.9, settle_seconds=seconds)) for seconds in (10, 300, 1800, 7200)]
    assert costs == sorted(costs)


@pytest.mark.parametrize("load", [0.9, 1.0, 1.1])
def test_gates_that_know_all_costs_leave_less_money_idle(load: float) -> None:
    assert mean_idle_usd(Scenario(load, gates=IdealGates)) < mean_idle_usd(Scenario(load))


class StoppedClock(ReservingGates):
    """The ledger's clock stands still, so that the counter alone says what ended after a note."""

    def note(self, now: int) -> Note:
        return super().note(0)

    def end(self, run: int, reason: EndReason, now: int) -> int:
        super().end(run, reason, 0)
        return now


class NoCounter(StoppedClock):
    def counts(self, reservation: Reservation, note: Note) -> Any:
        return super().counts(reservation, Note(NOT_ENDED - 1, note.time))


class NoSettleTime(ReservingGates):
    def __init__(self, account: Any, settle_seconds: float) -> None:
        super().__init__(account, settle_seconds=0)


class NothingCounts(ReservingGates):
    def counts(self, reservation: Reservation, note: Note) -> bool:
        return False

    def verify(self, note: Note) -> None:
        """Skip the comparison: there is no rule left to compare with."""


# Slow answers leave time for others to end between a check's note and its decision.
SHORT_RUNS = Scenario(
    gates=StoppedClock,
    load=1.1,
    settle_seconds=0,
    posted_within_seconds=0,
    shortest_seconds=1,
    longest_seconds=20,
    answer_seconds=50,
)


def refused(scenario: Scenario) -> int:
    return sum(simulate(scenario, RUNS, seed).refused for seed in SEEDS)


@pytest.mark.parametrize(
    ("gates", "scenario"),
    [
        (NoCounter, SHORT_RUNS),
        (NoSettleTime, Scenario(load=1.1, posted_within_seconds=60)),
        (NothingCounts, Scenario(load=1.1, answer_seconds=50)),
        (CheckingGates, Scenario(load=1.1)),
    ],
)
def test_payments_are_refused_without_each_part_of_the_rule(
    gates: type[CheckingGates], scenario: Scenario
) -> None:
    assert refused(scenario) == 0
    assert refused(replace(scenario, gates=gates)) > 0


def test_a_wrong_running_sum_is_found() -> None:
    class SubtractsTwice(ReservingGates):
        def settled(self, run: int) -> None:
            super().settled(run)
            super().settled(run)

    with pytest.raises(AssertionError, match="running sum"):
        simulate(Scenario(gates=SubtractsTwice), RUNS, seed=1)


def test_a_run_that_needs_more_than_the_account_ever_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="generosity=3"):
        Scenario(generosity=3)


def waiting(*phases_and_needs: tuple[int, int]) -> WaitingGates:
    gates = WaitingGates(interval=60)
    for run, (phase, needed) in zip(draw_runs(50, 1, Scenario()), phases_and_needs, strict=False):
        run.arrived_at, run.needed = phase, needed
        gates.add(run)
    return gates


@pytest.mark.parametrize(
    ("now", "available", "expected"),
    [
        (600, 10, (610, 0)),
        (610, 10, (670, 0)),
        (610, 20, (630, 1)),
        (650, 20, (670, 0)),
        (600, 9, None),
    ],
)
def test_the_next_gate_to_check_is_the_next_in_the_interval_for_which_enough_is_available(
    now: int, available: int, expected: tuple[int, int] | None
) -> None:
    found = waiting((10, 10), (30, 20)).next_check(now, available)
    assert (found and (found[0], found[1].number)) == expected


def test_a_removed_gate_no_longer_waits() -> None:
    gates = waiting((10, 10), (10, 10))

    def next_run() -> Run:
        check = gates.next_check(0, 10)
        assert check is not None
        return check[1]

    first = next_run()
    gates.remove(first)
    gates.remove(next_run())
    assert gates.next_check(0, 10) is None


def test_the_table_compares_each_variant_with_the_ideal_at_the_same_load(variants: list[Variant]) -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(variants).splitlines()]
    assert len(rows) == 2 + len(variants)
    assert [row[-2] for row in rows if row[1] == IDEAL] == ["1.00", "1.00"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.04, "1.0 s"), (61, "61 s"), (601, "10 min"), (15_120, "4.2 h"), (864_000, "10 days")],
)
def test_a_duration_has_a_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
