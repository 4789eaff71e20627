"""Change the runs of a fleet: add a mistyped one, let some die while they wait, split the large ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from benchmarks.simulation.account import MICROSECONDS
from benchmarks.simulation.runs import Run

MINUTES = 60 * MICROSECONDS
LEAST_LARGE_CENTS = 100_00

Change = Callable[[Iterator[Run]], Iterator[Run]]


def unchanged(runs: Iterator[Run]) -> Iterator[Run]:
    """Return the runs as they are."""
    return runs


def with_one(needed_usd: int) -> Change:
    """
    Return a change that adds, after a hundred runs, one run of $10 whose gate wants much more.

    :param needed_usd: what the gate wants, in dollars.
    """

    def change(runs: Iterator[Run]) -> Iterator[Run]:
        for run in runs:
            yield run
            if run.number == 100:
                mistyped = Run(-1, run.arrived_at, 10_00, 10 * MINUTES, random.Random(needed_usd))
                mistyped.needed = needed_usd * 100
                mistyped.crashes_after = len(mistyped.payments)
                yield mistyped

    return change


def dying(share: float) -> Change:
    """
    Return a change that lets some gates die within an hour of their arrival, unless they have opened.

    :param share: of all runs, from 0 to 1.
    """

    def change(runs: Iterator[Run]) -> Iterator[Run]:
        dice = random.Random(0)
        for run in runs:
            dies, after = dice.random() < share, dice.random() * 60 * MINUTES
            if dies:
                run.quits_at = run.arrived_at + round(after)
            yield run

    return change


def split(part_usd: int) -> Change:
    """
    Return a change that splits each large run into small ones that arrive together.

    :param part_usd: what each of them spends, in dollars.
    """

    def change(runs: Iterator[Run]) -> Iterator[Run]:
        for run in runs:
            if run.size_cents < LEAST_LARGE_CENTS:
                yield run
                continue
            dice = random.Random(run.number)
            for part in range(run.size_cents // (part_usd * 100)):
                number = -1000 * (run.number + 1) - part
                small = Run(number, run.arrived_at, part_usd * 100, sum(run.pauses), dice)
                small.crashes_after = len(small.payments)
                small.whole = run.number
                yield small

    return change
