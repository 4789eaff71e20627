"""
What readings and reservations show: what is available, how fast a balance falls, and when it runs out.

These functions use no clock and no database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil

from airflow_provider_youcom.balance import AvailableCredits
from airflow_provider_youcom.ledger._amounts import UNITS_PER_DOLLAR, units_to_usd, usd_to_units
from airflow_provider_youcom.ledger._stretches import DAY_US, days_left, stretches_of, total
from airflow_provider_youcom.ledger.reading import StoredReading
from airflow_provider_youcom.ledger.reservation import AccountNote, Note, Reservation
from airflow_provider_youcom.money import add_exactly, subtract_usd

WINDOW = timedelta(days=7)
"""The figures are about the last 7 days."""

# The readings of a week tell nothing about a time after that.
_FARTHEST_DAYS = 3 * 365


@dataclass(frozen=True)
class Pace:
    """
    How fast the balance has fallen lately, top-ups left out.

    :param usd_per_day: in dollars a day, rounded up to a hundred-thousandth of a cent.
    :param watched: the time from the first reading of the last 7 days to the last, without the time in which
        the balance rose.
    """

    usd_per_day: Decimal
    watched: timedelta


@dataclass(frozen=True)
class RunsOut:
    """
    When the balance reaches zero without a top-up.

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


def available(reading: StoredReading, counting: Iterable[Reservation]) -> AvailableCredits:
    """
    Return how much of a reading is available to someone who has reserved nothing, by the rule of a note.

    :param reading: the last reading.
    :param counting: the reservations that are subtracted from it.
    """
    reserved = list(counting)
    account = AccountNote(
        reserved_units=sum(usd_to_units(each.amount_usd) for each in reserved),
        reserved_runs=len({each.holder.run_key for each in reserved}),
    )
    return Note(reading.time, {reading.account_id: account}).available(reading.balance)


def pace(readings: Sequence[StoredReading], now: datetime) -> Pace | None:
    """
    Return how fast the balance has fallen in the last 7 days; None if less than a day is known.

    :param readings: of one account, the oldest first.
    :param now: the ledger's time.
    """
    stretches = stretches_of(_of_window(readings, now))
    if not stretches:
        return None
    days, usd = total(stretches)
    usd_per_day = units_to_usd(ceil(usd / days * UNITS_PER_DOLLAR))
    return Pace(usd_per_day, timedelta(microseconds=int(days * DAY_US)))


def runs_out(readings: Sequence[StoredReading], now: datetime) -> RunsOut | None:
    """
    Return when the balance reaches zero; None if too little is known, or if it hardly falls.

    :param readings: of one account, the oldest first.
    :param now: the ledger's time.
    """
    lately = _of_window(readings, now)
    stretches = stretches_of(lately)
    if not stretches or not total(stretches)[1]:
        return None
    last = lately[-1]
    left_usd = Fraction(last.balance.balance_usd)
    if left_usd <= 0:
        return RunsOut(last.read_at, last.read_at)
    earliest, latest = days_left(left_usd, stretches)
    if earliest > _FARTHEST_DAYS:
        return None
    return RunsOut(
        last.read_at + _as_time(earliest),
        None if latest is None or latest > _FARTHEST_DAYS else last.read_at + _as_time(latest),
    )


def fall(readings: Sequence[StoredReading], now: datetime) -> Fall | None:
    """
    Return by how much the balance fell in the last 7 days; None without two readings.

    :param readings: of one account, the oldest first.
    :param now: the ledger's time.
    """
    lately = _of_window(readings, now)
    if len(lately) < 2:
        return None
    first, last = lately[0], lately[-1]
    return Fall(
        subtract_usd(last.fallen_usd, first.fallen_usd),
        subtract_usd(last.unreserved_usd, first.unreserved_usd),
        first.read_at,
    )


def missing_usd(available_usd: Decimal, account: AccountNote) -> list[Decimal]:
    """
    Return what each gate in line lacks, in dollars, in the order of the line: 0 if enough is there.

    A gate leaves alone what is held for others, by the rule of the line.

    :param available_usd: what is available to someone who has reserved nothing.
    :param account: the account's line, and since when each run has reserved.
    """
    missing = []
    for place in account.line.places:
        wanted_usd = add_exactly(place.amount_usd, account.held_before(place.holder).usd)
        missing.append(max(Decimal(0), subtract_usd(wanted_usd, available_usd)))
    return missing


def _of_window(readings: Sequence[StoredReading], now: datetime) -> list[StoredReading]:
    return [each for each in readings if now - WINDOW <= each.read_at <= now]


def _as_time(days: Fraction) -> timedelta:
    return timedelta(microseconds=int(days * DAY_US))
