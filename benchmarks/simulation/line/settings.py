"""The settings in which the line is simulated, and the targets that must be met in them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from benchmarks.simulation.line.fleet import simulate_line
from benchmarks.simulation.line.lines import FirstCome, FirstFit, TheLine
from benchmarks.simulation.line.result import LineResult
from benchmarks.simulation.line.runs import dying, split, with_one
from benchmarks.simulation.line.scenario import LineScenario
from benchmarks.simulation.line.top_ups import AutoTopUp, Steps

RULES = {FirstFit: "no line", FirstCome: "first come, first served", TheLine: "the line"}
LARGE = "$100 to $400"
SMALL = "$1 to $10"
MISTYPED_USD = 10_000
DAY_SECONDS = 24 * 60 * 60

LESS, MORE = "5 % less wanted than comes in", "5 % more wanted than comes in"
TYPED_LESS, TYPED_MORE = f"{LESS}, $10,000 mistyped", f"{MORE}, $10,000 mistyped"
NEVER_LESS = f"{TYPED_LESS}, which never come"
NEVER_MORE = f"{TYPED_MORE}, which never come"
DYING = f"{MORE}, 10 % of the gates die"
SPLIT = f"{MORE}, large runs in parts of $20"
ABOVE = "Auto Top-Up of $200 below $500"
ONE_ABOVE = f"{ABOVE}, one run of $1,000"
BELOW = "Auto Top-Up of $200 below $300"
FAR_BELOW = "Auto Top-Up of $100 below $300"

_MISTYPED = with_one(MISTYPED_USD)
_ABOVE, _BELOW = AutoTopUp(500_00, 200_00), AutoTopUp(300_00, 200_00)
SETTINGS: dict[str, LineScenario] = {
    LESS: LineScenario(load=0.95),
    TYPED_LESS: LineScenario(load=0.95, change=_MISTYPED, top_ups=Steps(most_cents=None)),
    NEVER_LESS: LineScenario(load=0.95, change=_MISTYPED),
    MORE: LineScenario(load=1.05),
    TYPED_MORE: LineScenario(load=1.05, change=_MISTYPED, top_ups=Steps(most_cents=None)),
    NEVER_MORE: LineScenario(load=1.05, change=_MISTYPED),
    DYING: LineScenario(load=1.05, change=dying(0.1)),
    SPLIT: LineScenario(load=1.05, change=split(20)),
    ABOVE: LineScenario(top_ups=_ABOVE),
    ONE_ABOVE: LineScenario(top_ups=_ABOVE, change=with_one(1_000), timeout_seconds=2 * DAY_SECONDS),
    BELOW: LineScenario(top_ups=_BELOW, timeout_seconds=DAY_SECONDS),
    FAR_BELOW: LineScenario(top_ups=AutoTopUp(300_00, 100_00), timeout_seconds=DAY_SECONDS),
}
# With first come, first served, all wait behind a gate that never gets enough, until it gives up.
WITHOUT_FIRST_COME = {TYPED_LESS, NEVER_LESS, TYPED_MORE, NEVER_MORE, ONE_ABOVE, BELOW, FAR_BELOW}

# How long runs of $100 to $400 may wait (p99), compared with first come, first served.
LARGEST_RATIO = 1.5
# How long all others may wait (p99) beside a mistyped amount, compared with no such amount.
LARGEST_RATIO_MISTYPED = 1.3
# For what share of the time nobody may open because of a hold in vain, if Auto Top-Up brings less than one
# gate needs. Other holds end with an opening, at the latest when those that run have released their rest.
LARGEST_STILL_SHARE = 0.1


@dataclass(frozen=True)
class Outcome:
    """
    The outcome of one rule in one setting.

    :param setting: its name.
    :param rule: the name of the rule.
    :param result: how long everybody waited.
    """

    setting: str
    rule: str
    result: LineResult


def simulate_settings(runs: int, seed: int, names: Iterable[str] = SETTINGS) -> list[Outcome]:
    """
    Simulate settings by each rule, and print each as soon as it is done.

    :param runs: how many runs in each.
    :param seed: of the random numbers.
    :param names: of the settings. Default: all.
    """
    outcomes = []
    for name in names:
        for rule, rule_name in RULES.items():
            if rule is FirstCome and name in WITHOUT_FIRST_COME:
                continue
            started = time.perf_counter()
            result = simulate_line(replace(SETTINGS[name], rule=rule), runs, seed)
            outcomes.append(Outcome(name, rule_name, result))
            print(f"{name}, {rule_name}: {time.perf_counter() - started:.1f} s", flush=True)
    return outcomes


def targets(outcomes: list[Outcome]) -> list[tuple[str, bool]]:
    """
    Return each target for which there are outcomes, and whether it is met.

    :param outcomes: of the simulation.
    """
    found = {(each.setting, each.rule): each.result for each in outcomes}
    line, first_come = RULES[TheLine], RULES[FirstCome]
    met = []
    for each in outcomes:
        met.append((f"{each.setting}, {each.rule}: no payment is refused", each.result.refused == 0))
        first = found.get((each.setting, first_come))
        if each.rule == line and first and LARGE in first.waits:
            ratio = each.result.waits[LARGE].p99 / first.waits[LARGE].p99
            what = f"large runs wait for {ratio:.2f} times as long as first come, first served (p99)"
            met.append((f"{each.setting}: {what}, at most {LARGEST_RATIO}", ratio <= LARGEST_RATIO))
    for typed, usual in ((TYPED_LESS, LESS), (NEVER_LESS, LESS), (TYPED_MORE, MORE), (NEVER_MORE, MORE)):
        if (typed, line) in found and (usual, line) in found:
            ratio = found[typed, line].waits["all"].p99 / found[usual, line].waits["all"].p99
            what = f"all wait for {ratio:.2f} times as long as without it (p99)"
            met.append(
                (f"{typed}: {what}, at most {LARGEST_RATIO_MISTYPED}", ratio <= LARGEST_RATIO_MISTYPED)
            )
    for name in (ONE_ABOVE, BELOW, FAR_BELOW):
        if (name, line) in found:
            share = found[name, line].still_in_vain_share
            what = f"everybody stands still in vain for {share:.1%} of the time"
            met.append((f"{name}: {what}, at most {LARGEST_STILL_SHARE:.0%}", share <= LARGEST_STILL_SHARE))
    return met
