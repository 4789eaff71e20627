"""The outcome of a simulated fleet."""

from __future__ import annotations

from dataclasses import dataclass

# In dollars, what the runs of a group spend: at least and at most.
GROUPS_USD = {"$1 to $10": (1, 10), "$20 to $50": (20, 50), "$100 to $400": (100, 400), "all": (1, 400)}


@dataclass(frozen=True)
class Waits:
    """How long runs waited, in seconds."""

    runs: int
    mean: float
    median: float
    p99: float
    worst: float


@dataclass(frozen=True)
class Result:
    """
    The outcome of a fleet.

    :param runs: how many runs there were.
    :param refused: how many payments were refused; each ended its run.
    :param lost_usd: what these runs had paid until then, in dollars.
    :param succeeded: how many runs ended in success.
    :param crashed: how many runs crashed.
    :param days: from the first run to the last end.
    :param balance_usd: what the account held on average until the last run arrived, in dollars.
    :param in_use: how much of it the runs that had started would still spend, from 0 to 1.
    :param waits: how long runs waited for their gate, by what they spend.
    """

    runs: int
    refused: int
    lost_usd: float
    succeeded: int
    crashed: int
    days: float
    balance_usd: float
    in_use: float
    waits: dict[str, Waits]

    @property
    def idle_usd(self) -> float:
        """The part of the average balance that no run that had started would spend."""
        return self.balance_usd * (1 - self.in_use)
