"""How money comes in: in steps, or by Auto Top-Up."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.simulation.scenario import ENOUGH_CENTS, TOP_UP_CENTS


@dataclass(frozen=True)
class Steps:
    """
    The same amount at regular times, as often as the load says.

    :param most_cents: there is no top-up while the account holds this much; None if there always is.
    """

    most_cents: int | None = ENOUGH_CENTS

    @property
    def first_cents(self) -> int:
        """What the account holds at first."""
        return TOP_UP_CENTS


@dataclass(frozen=True)
class AutoTopUp:
    """
    Auto Top-Up, which buys credits when the balance falls below a threshold.

    :param threshold_cents: the threshold.
    :param cents: what is bought each time.
    """

    threshold_cents: int
    cents: int

    @property
    def first_cents(self) -> int:
        """What the account holds at first."""
        return self.threshold_cents + self.cents

    def fires(self, before_cents: int, after_cents: int) -> bool:
        """
        Return whether the balance has fallen below the threshold.

        :param before_cents: the balance before a charge.
        :param after_cents: the balance after it.
        """
        return after_cents < self.threshold_cents <= before_cents
