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


IN_STEPS = Steps()


@dataclass(frozen=True)
class AutoTopUp:
    """
    Auto Top-Up, which buys credits when a charge leaves less than a threshold on the account.

    :param threshold_cents: the threshold.
    :param cents: what is bought each time, as often as it takes to reach the threshold.
    """

    threshold_cents: int
    cents: int

    @property
    def first_cents(self) -> int:
        """What the account holds at first."""
        return self.threshold_cents + self.cents

    def bought_cents(self, balance_cents: int) -> int:
        """
        Return what is bought after a charge.

        :param balance_cents: the balance after it.
        """
        missing = self.threshold_cents - balance_cents
        return -(-missing // self.cents) * self.cents if missing > 0 else 0
