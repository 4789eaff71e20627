"""The runs of a simulated fleet, with all that each will do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

from benchmarks.simulation.account import MICROSECONDS
from benchmarks.simulation.scenario import SIZES_USD, Scenario

PAYMENTS = 4
SLOWEST_TEARDOWN = 10 * MICROSECONDS


class Run:
    """
    A run of a pipeline, with all that it will do.

    :param number: its number.
    :param arrived_at: when it arrives, in microseconds.
    :param size_cents: what it spends.
    :param life: how long it takes, in microseconds.
    :param dice: the random numbers for the rest.
    """

    __slots__ = (
        "answer",
        "arrived_at",
        "crashes_after",
        "lateness",
        "needed",
        "number",
        "paid",
        "pauses",
        "payments",
        "quits_at",
        "size_cents",
        "teardown",
        "whole",
    )

    def __init__(self, number: int, arrived_at: int, size_cents: int, life: int, dice: random.Random) -> None:
        self.number = number
        self.arrived_at = arrived_at
        self.size_cents = size_cents
        self.needed = size_cents
        self.paid = 0
        # When its gate stops waiting, if that is not by opening; and the run whose part it is.
        self.quits_at: int | None = None
        self.whole = number
        self.answer = dice.random()
        self.teardown = round(dice.random() * SLOWEST_TEARDOWN)
        self.crashes_after = int(dice.random() * PAYMENTS)
        moments = sorted(round(dice.random() * life) for _ in range(PAYMENTS - 1))
        self.pauses = [later - earlier for earlier, later in pairwise([0, *moments, life])]
        cuts = sorted(dice.randrange(1, size_cents) for _ in range(PAYMENTS - 1))
        self.payments = [later - earlier for earlier, later in pairwise([0, *cuts, size_cents])]
        self.lateness = [dice.random() for _ in range(PAYMENTS)]


def draw_runs(runs: int, seed: int, scenario: Scenario) -> Iterator[Run]:
    """
    Yield runs in the order of their arrival, the same for a seed whatever is varied.

    :param runs: how many.
    :param seed: of the random numbers.
    :param scenario: what is varied.
    """
    dice = random.Random(seed)
    sizes = random.Random(seed + 1).choices(list(SIZES_USD), weights=list(SIZES_USD.values()), k=runs)
    crashes = random.Random(seed + 2)
    now = 0.0
    for number, size_usd in enumerate(sizes):
        now += dice.expovariate(1 / scenario.arrival_seconds)
        life = dice.uniform(scenario.shortest_seconds, scenario.longest_seconds)
        run = Run(number, round(now * MICROSECONDS), size_usd * 100, round(life * MICROSECONDS), dice)
        run.needed = round(run.size_cents * scenario.generosity)
        if crashes.random() >= scenario.crashing:
            run.crashes_after = PAYMENTS
        yield run
