"""What the runs in line need, and how their account is topped up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Plan:
    """
    The plan of both arms.

    :param large_usd: what the large run needs, the first to join, in dollars.
    :param smalls: how many small runs there are.
    :param small_usd: what each of them needs, in dollars.
    :param top_up_usd: what is added to the account at each step, in dollars.
    :param top_up_seconds: seconds between two steps.
    """

    large_usd: Decimal = Decimal(40)
    smalls: int = 40
    small_usd: Decimal = Decimal(10)
    top_up_usd: Decimal = Decimal(10)
    top_up_seconds: float = 3.0

    @property
    def top_ups(self) -> int:
        """How many steps it takes until the account has received what all runs need."""
        return math.ceil((self.large_usd + self.smalls * self.small_usd) / self.top_up_usd)
