"""What the page knows of a ledger, before it is filtered for a user."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from airflow_provider_youcom._page.axes import NARROW, WIDE
from airflow_provider_youcom._page.picture import Picture, Point, draw
from airflow_provider_youcom.balance import AvailableCredits
from airflow_provider_youcom.ledger import figures
from airflow_provider_youcom.ledger.claim import Holder
from airflow_provider_youcom.ledger.figures import Fall, Pace, RunsOut
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.overview import Overview, ReservedByDag
from airflow_provider_youcom.ledger.reservation import AccountNote, Reservation

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Waiting:
    """
    A gate that waits in line.

    :param place: its place, the first is 1.
    :param holder: the gate.
    :param amount_usd: what it needs, in dollars.
    :param missing_usd: what it lacks, in dollars.
    :param joined_at: since when it waits, in UTC.
    :param is_held: whether gates behind it leave its amount alone.
    """

    place: int
    holder: Holder
    amount_usd: Decimal
    missing_usd: Decimal
    joined_at: datetime
    is_held: bool


@dataclass(frozen=True)
class Figures:
    """
    The figures of an account, in which nobody is named.

    :param account_id: You.com's ``data.id``.
    :param available: what is available, with the balance and what is reserved; None without a reading.
    :param pace: how fast the balance falls; None if that is not known yet.
    :param runs_out: when it runs out; None if that cannot be told.
    :param fall: what fell, and how much of it while nothing was reserved; None without two readings.
    :param pictures: the balance over time, wide and narrow; none without a reading.
    """

    account_id: str
    available: AvailableCredits | None
    pace: Pace | None
    runs_out: RunsOut | None
    fall: Fall | None
    pictures: tuple[Picture, ...]

    def is_out_of_date(self, now: datetime) -> bool:
        """
        Return whether no reading is from the last 7 days, which the pace and the fall are about.

        :param now: the ledger's time.
        """
        return self.available is not None and now - self.available.balance.checked_at > figures.WINDOW


@dataclass(frozen=True)
class Account:
    """
    What the ledger knows of an account.

    :param figures: its figures.
    :param line: who waits, the first in line first.
    :param counting: what counts against the balance, the oldest first.
    :param reserved_by_dag: which DAGs have reserved, those with the most first.
    """

    figures: Figures
    line: tuple[Waiting, ...]
    counting: tuple[Reservation, ...]
    reserved_by_dag: tuple[ReservedByDag, ...]

    @property
    def holders(self) -> set[Holder]:
        """Who waits or has reserved: each is part of a run."""
        return {each.holder for each in self.line} | {each.holder for each in self.counting}


@dataclass(frozen=True)
class Snapshot:
    """
    What a ledger knew at a time.

    :param ledger_id: the ledger; empty if it has no tables yet.
    :param accounts: its accounts.
    :param time: the ledger's time, in UTC; without accounts, this process's time.
    :param taken: the same moment, by this process's monotonic clock.
    :param is_current: whether the ledger still answers. Default: True.
    """

    ledger_id: str
    accounts: tuple[Account, ...]
    time: datetime
    taken: float
    is_current: bool = True

    @property
    def now(self) -> datetime:
        """The ledger's time now, in UTC."""
        return self.time + timedelta(seconds=time.monotonic() - self.taken)


def read_snapshot(ledger: Ledger) -> Snapshot:
    """
    Return what a ledger knows; this asks its database, and creates nothing there.

    :param ledger: the ledger.
    """
    taken = time.monotonic()
    if not ledger.exists:
        return Snapshot("", (), datetime.now(UTC), taken)
    overviews = [ledger.accounts.overview(account_id) for account_id in ledger.accounts.ids()]
    note = ledger.note()
    return Snapshot(
        ledger.id,
        tuple(_account(overview, note.of(overview.account_id)) for overview in overviews),
        overviews[0].now if overviews else datetime.now(UTC),
        taken,
    )


def _account(overview: Overview, note: AccountNote) -> Account:
    readings, now = overview.readings, overview.now
    available = figures.available(readings[-1], overview.counting) if readings else None
    runs_out = figures.runs_out(readings, now)
    return Account(
        Figures(
            overview.account_id,
            available,
            figures.pace(readings, now),
            runs_out,
            figures.fall(readings, now),
            _pictures(overview, runs_out),
        ),
        tuple(_waiting(note, available)),
        tuple(overview.counting),
        tuple(overview.reserved_by_dag),
    )


def _waiting(note: AccountNote, available: AvailableCredits | None) -> Iterator[Waiting]:
    missing = figures.missing_usd(available.available_usd if available else Decimal(0), note)
    for number, (place, missing_usd) in enumerate(zip(note.line.places, missing, strict=True), 1):
        yield Waiting(number, place.holder, place.amount_usd, missing_usd, place.joined_at, place.is_held)


def _pictures(overview: Overview, runs_out: RunsOut | None) -> tuple[Picture, ...]:
    now = overview.now
    # If the clock went back, the last reading is in the future.
    points = [Point(min(reading.read_at, now), reading.balance_usd) for reading in overview.readings]
    if not points:
        return ()
    daily_usd = _daily_usd(points[-1], now, runs_out)
    return tuple(draw(points, now, size, daily_usd) for size in (WIDE, NARROW))


def _daily_usd(last: Point, now: datetime, runs_out: RunsOut | None) -> tuple[Decimal, Decimal] | None:
    """Return how much falls in a day, at least and at most, if the balance runs out as forecast."""
    if runs_out is None or runs_out.earliest <= now:
        return None
    slow_days = Decimal((runs_out.latest - last.at) / _DAY) if runs_out.latest else None
    fast_days = Decimal((runs_out.earliest - last.at) / _DAY)
    return (last.usd / slow_days if slow_days else Decimal(0)), last.usd / fast_days
