"""What a fleet of runs pays, how the account is topped up, and the schedule that would be ideal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from benchmarks.fleet.outcome import MIXED


@dataclass(frozen=True)
class Plan:
    """
    The plan that every arm of the benchmark follows.

    :param runs: how many runs there are.
    :param payments: how often each of them pays.
    :param payment_usd: what it pays each time, in dollars.
    :param large_run_usd: what the large run pays in all, in dollars; it joins first in the mixed arm.
    :param top_up_usd: what is added to the account at each step, in dollars.
    :param top_up_seconds: seconds between two steps.
    :param posted_after_seconds: how late You.com shows a charge in the balance.
    :param settle_seconds: the settle time that the connection names.
    :param interval: seconds between two checks of a gate.
    """

    runs: int = 100
    payments: int = 3
    payment_usd: Decimal = Decimal(5)
    large_run_usd: Decimal = Decimal(120)
    top_up_usd: Decimal = Decimal(45)
    top_up_seconds: float = 20.0
    posted_after_seconds: float = 8.0
    settle_seconds: float = 10.0
    interval: float = 5.0

    @property
    def run_usd(self) -> Decimal:
        """What a run pays in all, in dollars."""
        return self.payments * self.payment_usd

    @property
    def large_payment_usd(self) -> Decimal:
        """What the large run pays each time, in dollars."""
        return self.large_run_usd / self.payments

    def costs_usd(self, arm: str) -> list[Decimal]:
        """
        Return what each run of an arm pays in all, in dollars, in the order in which they start.

        :param arm: the id of its DAG.
        """
        small = [self.run_usd] * self.runs
        return [self.large_run_usd, *small] if arm == MIXED else small

    def top_ups(self, arm: str) -> int:
        """
        Return how many steps it takes until the account has received what all runs pay.

        :param arm: the id of its DAG.
        """
        return math.ceil(sum(self.costs_usd(arm)) / self.top_up_usd)

    def last_top_up(self, arm: str) -> float:
        """
        Return when the last step is, in seconds after the first.

        :param arm: the id of its DAG.
        """
        return (self.top_ups(arm) - 1) * self.top_up_seconds


def ideal_ends(
    costs_usd: Sequence[Decimal], top_up_usd: Decimal, top_up_seconds: float, run_seconds: float
) -> list[float]:
    """
    Return when each run ends in the ideal schedule, in seconds after the first top-up.

    This schedule knows what each run costs, and when the account is topped up. The cheapest run comes first,
    and each starts as soon as the account has received enough for it and for all runs before it.

    :param costs_usd: what each run pays in all, in dollars.
    :param top_up_usd: what is added at each step, in dollars.
    :param top_up_seconds: seconds between two steps.
    :param run_seconds: how long a run takes.
    """
    ends = []
    wanted_usd = Decimal(0)
    for cost_usd in sorted(costs_usd):
        wanted_usd += cost_usd
        steps = max(1, math.ceil(wanted_usd / top_up_usd))
        ends.append((steps - 1) * top_up_seconds + run_seconds)
    return ends
