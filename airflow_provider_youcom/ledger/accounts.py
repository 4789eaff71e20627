"""What the ledger keeps of each account over time: its readings, and who has reserved."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.ledger import _account_statements as statements
from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger._amounts import US_PER_SECOND, units_to_usd
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger._rows import to_datetime, to_reservation
from airflow_provider_youcom.ledger._thinning import thin
from airflow_provider_youcom.ledger.overview import Overview, ReservedByDag
from airflow_provider_youcom.ledger.reading import StoredReading, first_reading
from airflow_provider_youcom.ledger.reservation import Note, Reservation
from airflow_provider_youcom.money import plain_text

log = logging.getLogger(__name__)

# After so many readings, the process that has stored the last one deletes those that are not kept.
# ``Ledger.purge`` does so too, but nobody calls it if no gate reserves.
_READINGS_BETWEEN_THINNING = 500
_THIN_SECONDS = 2.0


class Accounts:
    """
    The accounts of a ledger.

    :param ready: returns the ledger's database, with its tables.
    """

    def __init__(self, ready: Callable[[], Database]) -> None:
        self._ready = ready
        # The newest reading that this process knows of each account. Most checks tell nothing new.
        self._newest: dict[str, StoredReading] = {}

    def store(self, balance: AccountBalance, note: Note) -> None:
        """
        Store what a check has read, if it tells anything new. A failure is logged, and raises nothing.

        :param balance: You.com's answer, from after the note.
        :param note: from before You.com was asked.
        """
        known = self._newest.get(balance.account_id)
        if known is not None and known.covers(balance, note):
            return
        with _failures_are_logged():
            self._store(balance, note)

    def ids(self) -> list[str]:
        """Return the accounts that have a reading, by You.com's ``data.id``."""
        return self._ready().read(lambda connection: list(connection.execute(statements.IDS).scalars()))

    def overview(self, account_id: str, since: timedelta = timedelta(days=30)) -> Overview:
        """
        Return what the ledger knows of one account.

        :param account_id: You.com's ``data.id``.
        :param since: how old the readings may be. Default: 30 days.
        """
        return self._ready().read(lambda connection: _overview(connection, account_id, since))

    def _store(self, balance: AccountBalance, note: Note) -> None:
        database = self._ready()
        account = {"this_account": balance.account_id}
        row = database.read(lambda connection: connection.execute(statements.NEWEST, account).one())
        newest = None if row.number is None else _to_reading(row)
        if newest is not None and (newest.covers(balance, note) or not newest.is_before(note, row.now)):
            self._newest[balance.account_id] = newest
            return
        if newest is None:
            reading = first_reading(balance, note, row.now)
        else:
            # If the clock went back, nobody knows what counted meanwhile.
            was_reserved = row.was_reserved or note.time <= newest.time
            reading = newest.followed_by(balance, note, row.now, was_reserved)
        if not database.write(lambda connection: _write(connection, reading, newest)):
            return
        self._newest[balance.account_id] = reading
        if reading.number % _READINGS_BETWEEN_THINNING == 0:
            thin(database, time.monotonic() + _THIN_SECONDS)


@contextmanager
def _failures_are_logged() -> Iterator[None]:
    """Log what fails: a check does not depend on the history."""
    try:
        yield
    except YouComError as error:
        log.info("The ledger's history of balances is not complete: %s", error)
    except Exception:
        log.exception("The ledger's history of balances is not complete")


def _write(connection: sa.engine.Connection, reading: StoredReading, newest: StoredReading | None) -> bool:
    row = asdict(reading)
    for name in ("balance_cents", "fallen_usd", "unreserved_usd"):
        row[name] = plain_text(row[name])
    if newest is None or reading.number != newest.number:
        return connection.execute(statements.ADD, row).rowcount == 1
    which = {"this_account": row.pop("account_id"), "this_number": row.pop("number")}
    replaced = {"replaced": newest.stored_at}
    return connection.execute(statements.REPLACE, row | which | replaced).rowcount == 1


def _overview(connection: sa.engine.Connection, account_id: str, since: timedelta) -> Overview:
    account: dict[str, Any] = {"this_account": account_id}
    now = connection.execute(statements.THE_TIME).scalar_one()
    oldest = now - round(since.total_seconds() * US_PER_SECOND)
    rows = connection.execute(statements.READINGS, {**account, "since": oldest}).all()
    readings = [_to_reading(row) for row in rows]
    return Overview(
        account_id=account_id,
        now=to_datetime(now),
        readings=readings,
        counting=_counting(connection, account_id, readings, now),
        reserved_by_dag=[
            ReservedByDag(row.deployment, row.dag_id, _usd(row.week), _usd(row.month))
            for row in connection.execute(statements.RESERVED_BY_DAG, account)
        ],
    )


def _counting(
    connection: sa.engine.Connection, account_id: str, readings: Sequence[StoredReading], now: int
) -> list[Reservation]:
    """Return what is subtracted from the last reading; without a reading, what counts now."""
    # Nothing has ended after now.
    counter, time = (readings[-1].counter, readings[-1].time) if readings else (rule.NOT_ENDED - 1, now)
    noted = {"this_account": account_id, "counter": counter, "time": time}
    return [to_reservation(row) for row in connection.execute(statements.COUNTING, noted)]


def _usd(units: Any) -> Decimal:
    # PostgreSQL sums whole numbers as a Decimal.
    return units_to_usd(int(units))


def _to_reading(row: Any) -> StoredReading:
    return StoredReading(
        account_id=row.account_id,
        number=row.number,
        time=row.time,
        counter=row.counter,
        stored_at=row.stored_at,
        balance_cents=Decimal(row.balance_cents),
        fallen_usd=Decimal(row.fallen_usd),
        unreserved_usd=Decimal(row.unreserved_usd),
        watched_us=row.watched_us,
    )
