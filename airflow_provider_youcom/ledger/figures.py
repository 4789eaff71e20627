"""
What readings and reservations tell: what is available, how fast the balance falls, and when it runs out.

These functions use no clock and no database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from airflow_provider_youcom.balance import AvailableCredits
from airflow_provider_youcom.ledger.reading import StoredReading
from airflow_provider_youcom.ledger.reservation import Reservation

WINDOW = timedelta(days=7)
"""The pace is that of the last 7 days."""


@dataclass(frozen=True)
class Pace:
    """
    How fast the balance has fallen lately, top-ups left out.

    :param usd_per_day: in dollars a day, rounded up to a hundred-thousandth of a cent.
    :param watched: the time that this is about: from the first reading of the last 7 days to the last,
        without the time in which the balance rose.
    """

    usd_per_day: Decimal
    watched: timedelta


@dataclass(frozen=True)
class RunsOut:
    """
    When the balance reaches zero at the present pace, without a top-up.

    If the next days are like the last ones, it is in between four times out of five.

    :param earliest: in UTC.
    :param latest: in UTC; None if that cannot be told.
    """

    earliest: datetime
    latest: datetime | None


@dataclass(frozen=True)
class Fall:
    """
    By how much the balance fell in the last 7 days, top-ups left out.

    :param usd: in dollars.
    :param unreserved_usd: how much of that while nothing was reserved, in dollars.
    :param since: the time of the first reading, in UTC.
    """

    usd: Decimal
    unreserved_usd: Decimal
    since: datetime


@dataclass(frozen=True)
class Need:
    """
    What one gate in line needs.

    :param amount_usd: how much, in dollars.
    :param is_held: whether gates behind it leave that amount alone.
    """

    amount_usd: Decimal
    is_held: bool = False


def available(reading: StoredReading, counting: Iterable[Reservation]) -> AvailableCredits:
    """
    Return what was available to someone who has nothing reserved.

    :param reading: the last reading.
    :param counting: the reservations that are subtracted from it.
    """
    raise NotImplementedError


def pace(readings: Sequence[StoredReading], now: datetime) -> Pace | None:
    """
    Return how fast the balance has fallen in the last 7 days; None if less than a day is known.

    :param readings: of one account, the oldest first.
    :param now: the ledger's time.
    """
    raise NotImplementedError


def runs_out(readings: Sequence[StoredReading], now: datetime) -> RunsOut | None:
    """
    Return when the balance reaches zero; None if too little is known, or nothing fell.

    :param readings: of one account, the oldest first.
    :param now: the ledger's time.
    """
    raise NotImplementedError


def fall(readings: Sequence[StoredReading], now: datetime) -> Fall | None:
    """
    Return by how much the balance fell in the last 7 days; None without two readings.

    :param readings: of one account, the oldest first.
    :param now: the ledger's time.
    """
    raise NotImplementedError


def missing_usd(available_usd: Decimal, line: Iterable[Need]) -> list[Decimal]:
    """
    Return what each gate in line lacks, in dollars: 0 if enough is there.

    :param available_usd: what is available to someone who has nothing reserved.
    :param line: what the gates need, the first in line first.
    """
    raise NotImplementedError
