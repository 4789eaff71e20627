"""A reading that the ledger keeps: what an account held, and how much its balance had fallen until then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from airflow_provider_youcom.balance import AccountBalance, balance_fall_usd
from airflow_provider_youcom.ledger._amounts import US_PER_SECOND
from airflow_provider_youcom.ledger._rows import to_datetime
from airflow_provider_youcom.ledger.reservation import Note
from airflow_provider_youcom.money import add_exactly, cents_to_usd

STORE_AGAIN_SECONDS = 5 * 60
"""A balance that has not changed is stored again after this time."""
MERGE_SECONDS = 60
"""Of the readings in the same minute, only the last is kept."""


@dataclass(frozen=True)
class StoredReading:
    """
    What an account held, and the totals of what has happened to its balance since its first reading.

    What fell between two readings is the difference of their totals. It stays the same when the readings in
    between are deleted, and no top-up in between hides it.

    :param account_id: You.com's ``data.id``.
    :param number: the number of the reading among those of the account.
    :param time: the time of the note, before You.com was asked; microseconds since 1970 in UTC, by the
        ledger's clock.
    :param counter: the counter of the note: how many reservations of the account had ended.
    :param stored_at: when it was stored, after You.com had answered; also in microseconds.
    :param balance_cents: what the account held, in cents, exact; may be negative.
    :param fallen_usd: by how much the balance has fallen, in dollars. Rises are left out.
    :param unreserved_usd: how much of that fell while nothing was reserved, in dollars.
    :param watched_us: for how long that is known, in microseconds. While a balance rises, nobody knows what
        is spent, so that time is left out.
    """

    account_id: str
    number: int
    time: int
    counter: int
    stored_at: int
    balance_cents: Decimal
    fallen_usd: Decimal = Decimal(0)
    unreserved_usd: Decimal = Decimal(0)
    watched_us: int = 0

    @property
    def balance(self) -> AccountBalance:
        """The balance, checked at the time of the note."""
        return AccountBalance(self.account_id, self.balance_cents, self.read_at)

    @property
    def balance_usd(self) -> Decimal:
        """What the account held, in dollars, exact."""
        return cents_to_usd(self.balance_cents)

    @property
    def read_at(self) -> datetime:
        """The time of the note, in UTC."""
        return to_datetime(self.time)

    def covers(self, balance: AccountBalance, note: Note) -> bool:
        """
        Return whether a later reading of the same account tells nothing new.

        :param balance: You.com's answer.
        :param note: from before You.com was asked.
        """
        age = note.time - self.time
        return balance.balance_cents == self.balance_cents and age < STORE_AGAIN_SECONDS * US_PER_SECOND

    def is_before(self, note: Note, now: int) -> bool:
        """
        Return whether You.com had surely returned this reading before it was asked for another one.

        :param note: from before You.com was asked for the other one.
        :param now: the ledger's time.
        """
        # A reading from the future was stored before the ledger's clock went back. A server that is busy may
        # read its clock a little before it sees what another process has stored.
        return self.stored_at < note.time or self.stored_at > now + MERGE_SECONDS * US_PER_SECOND

    def is_of_the_same_minute(self, note: Note) -> bool:
        """
        Return whether a later reading takes the place of this one.

        :param note: from before You.com was asked for the later one.
        """
        minute = MERGE_SECONDS * US_PER_SECOND
        return self.time // minute == note.time // minute

    def followed_by(
        self, balance: AccountBalance, note: Note, stored_at: int, was_reserved: bool
    ) -> StoredReading:
        """
        Return the next reading of the account.

        :param balance: You.com's answer.
        :param note: from before You.com was asked.
        :param stored_at: the ledger's time, after You.com has answered.
        :param was_reserved: whether any reservation counted since the note of this reading.
        """
        fall_usd = balance_fall_usd(self.balance, balance)
        passed_us = max(0, note.time - self.time)
        return StoredReading(
            account_id=self.account_id,
            number=self.number if self.is_of_the_same_minute(note) else self.number + 1,
            time=note.time,
            counter=note.of(self.account_id).counter,
            stored_at=stored_at,
            balance_cents=balance.balance_cents,
            fallen_usd=add_exactly(self.fallen_usd, fall_usd or Decimal(0)),
            unreserved_usd=add_exactly(
                self.unreserved_usd, Decimal(0) if was_reserved or fall_usd is None else fall_usd
            ),
            watched_us=self.watched_us + (0 if fall_usd is None else passed_us),
        )


def first_reading(balance: AccountBalance, note: Note, stored_at: int) -> StoredReading:
    """
    Return the first reading of an account.

    :param balance: You.com's answer.
    :param note: from before You.com was asked.
    :param stored_at: the ledger's time, after You.com has answered.
    """
    return StoredReading(
        account_id=balance.account_id,
        number=1,
        time=note.time,
        counter=note.of(balance.account_id).counter,
        stored_at=stored_at,
        balance_cents=balance.balance_cents,
    )
