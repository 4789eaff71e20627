"""A reading that the ledger keeps: what an account held, and how much its balance had fallen until then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger._amounts import US_PER_SECOND
from airflow_provider_youcom.ledger._rows import to_datetime
from airflow_provider_youcom.money import add_exactly, cents_to_usd, subtract_usd

AGAIN_AFTER = timedelta(minutes=5)
"""A balance that has not changed is stored again after this time."""
MERGED_WITHIN = timedelta(minutes=1)
"""Of the readings in one minute, the last is kept."""
THINNED_AFTER = timedelta(days=2)
"""Of older readings, the last of each hour is kept."""
KEPT_FOR = timedelta(days=90)
"""How long a reading is kept."""


@dataclass(frozen=True)
class StoredReading:
    """
    What an account held, and the totals of what happened to its balance since its first reading.

    What fell between two readings is the difference of their totals. So it does not depend on the readings in
    between, which may be deleted, and a top-up does not hide it.

    :param account_id: You.com's ``data.id``.
    :param number: how many readings of the account had a row of their own, with this one.
    :param time: the time of the note, before You.com was asked; microseconds since 1970 in UTC, by the
        ledger's clock.
    :param counter: the counter of the note: how many reservations of the account had ended.
    :param stored_at: when the reading was stored, after You.com had answered; likewise.
    :param balance_cents: what the account held, in cents, exact; may be negative.
    :param fallen_cents: by how much the balance has fallen. What it rose by, such as a top-up, is left out.
    :param unreserved_cents: how much of that fell while nothing was reserved.
    :param watched_us: the time in which the balance did not rise, in microseconds. Where it rose, nobody
        knows what was spent.
    """

    account_id: str
    number: int
    time: int
    counter: int
    stored_at: int
    balance_cents: Decimal
    fallen_cents: Decimal = Decimal(0)
    unreserved_cents: Decimal = Decimal(0)
    watched_us: int = 0

    @property
    def balance(self) -> AccountBalance:
        """The balance, checked at the time of the note."""
        return AccountBalance(self.account_id, self.balance_cents, self.read_at)

    @property
    def balance_usd(self) -> Decimal:
        """What the account held, in dollars."""
        return cents_to_usd(self.balance_cents)

    @property
    def read_at(self) -> datetime:
        """The time of the note, in UTC."""
        return to_datetime(self.time)
