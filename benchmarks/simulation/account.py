"""A simulated prepaid account."""

from __future__ import annotations

from dataclasses import dataclass, field

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Usage:
    """
    How an account's money was used.

    :param mean_cents: what it held on average.
    :param in_use: the share of it that the runs that had started would still spend, from 0 to 1.
    """

    mean_cents: float
    in_use: float


@dataclass
class Account:
    """
    A prepaid account, and how its money is used over time.

    :param cents: what it holds.
    """

    cents: int
    posted_cents: int = field(init=False)
    """What a reading shows: charges are posted late."""
    committed_cents: int = 0
    """What the runs that have started will still spend."""
    _cents_by_time: int = 0
    _committed_by_time: int = 0
    _seen_at: int = 0

    def __post_init__(self) -> None:
        self.posted_cents = self.cents

    def watch(self, now: int) -> None:
        """
        Add up the money since the last call; called before the money changes.

        :param now: the time in microseconds.
        """
        elapsed = now - self._seen_at
        self._cents_by_time += self.cents * elapsed
        self._committed_by_time += self.committed_cents * elapsed
        self._seen_at = now

    def usage(self, now: int) -> Usage:
        """
        Return how the money has been used since the beginning.

        :param now: the time in microseconds, above 0.
        """
        self.watch(now)
        return Usage(self._cents_by_time / now, self._committed_by_time / max(1, self._cents_by_time))
