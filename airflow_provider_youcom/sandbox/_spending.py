"""What a key has spent, and its spending cap."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from airflow_provider_youcom.money import add_exactly


@dataclass
class Spending:
    """
    What one key has spent, and the most that it may spend.

    :param spent_cents: what it has spent, in cents.
    :param cap_cents: its spending cap in cents; None if it has none.
    """

    spent_cents: Decimal = Decimal(0)
    cap_cents: Decimal | None = None

    @property
    def is_at_cap(self) -> bool:
        """Whether the cap is reached, so that You.com answers no request any more."""
        return self.cap_cents is not None and self.spent_cents >= self.cap_cents

    def allows(self, cents: Decimal) -> bool:
        """Return whether the cap allows one more charge."""
        return self.cap_cents is None or (
            not self.is_at_cap and add_exactly(self.spent_cents, cents) <= self.cap_cents
        )
