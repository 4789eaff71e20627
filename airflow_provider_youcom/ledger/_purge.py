"""
Delete what ended long ago, a few rows at a time.

A decision needs every row that may count for its note. So each account first refuses every note from
before now (``oldest_counter``), in a transaction of its own. Then the rows are deleted that had stopped
counting long before (``purge_before``), by index, and without holding the account.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.ledger._amounts import US_PER_SECOND
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger._line_statements import ACCOUNTS_OF_THE_GONE
from airflow_provider_youcom.ledger._line_transactions import forget
from airflow_provider_youcom.ledger._schema import STANDS, accounts, holders, reservations
from airflow_provider_youcom.ledger._statements import LOCK, LOCK_TO_END, NOW
from airflow_provider_youcom.ledger._thinning import thin
from airflow_provider_youcom.ledger.rule import PURGE_EVERY_SECONDS

log = logging.getLogger(__name__)

_TELL_AGAIN_AFTER = PURGE_EVERY_SECONDS * US_PER_SECOND
ROWS_AT_ONCE = 500
# The rest is left to the next purge.
_SECONDS = 2.0

_ACCOUNT_ID = sa.bindparam("this_account", type_=sa.Text)
_BEFORE = sa.bindparam("before", type_=sa.BigInteger)
_KEEP = sa.bindparam("keep", type_=sa.BigInteger)
_LIMIT = sa.bindparam("limit", type_=sa.Integer)

# A row that stands has 0 here.
_OLDEST = (
    sa.select(sa.func.min(reservations.c.counts_until))
    .where(reservations.c.account_id == accounts.c.account_id, reservations.c.counts_until > 0)
    .scalar_subquery()
)
_TO_TELL = sa.select(accounts.c.account_id, (NOW - _KEEP).label("before")).where(
    accounts.c.purge_before <= NOW - _KEEP - _TELL_AGAIN_AFTER,
    NOW - _KEEP >= _OLDEST,
)
_TELL = (
    sa.update(accounts)
    .where(accounts.c.account_id == _ACCOUNT_ID, accounts.c.purge_before < _BEFORE)
    .values(oldest_counter=accounts.c.counter, purge_before=_BEFORE)
)

_ACCOUNTS = sa.select(accounts.c.account_id, accounts.c.purge_before).where(accounts.c.purge_before > 0)
_DUE = (
    sa.select(reservations.c.id)
    .where(
        reservations.c.account_id == _ACCOUNT_ID,
        reservations.c.counts_until > 0,
        reservations.c.counts_until <= _BEFORE,
    )
    .order_by(reservations.c.counts_until)
    .limit(_LIMIT)
    # Two callers at once share the work.
    .with_for_update(skip_locked=True)
)
_IDS: sa.sql.expression.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_DELETE = sa.delete(reservations).where(reservations.c.id.in_(_IDS))

_IDLE_HOLDERS = (
    sa.select(holders.c.holder_key)
    .where(
        holders.c.account_id == _ACCOUNT_ID,
        holders.c.newest_at <= _BEFORE,
        ~sa.exists().where(STANDS, reservations.c.holder_key == holders.c.holder_key),
    )
    .order_by(holders.c.newest_at)
    .limit(_LIMIT)
)
_DELETE_HOLDERS = sa.delete(holders).where(
    holders.c.account_id == _ACCOUNT_ID, holders.c.holder_key.in_(_IDS)
)


def purge(database: Database, keep: int) -> int:
    """
    Delete some of what ended long ago, and return how many reservations; log it if the database fails.

    :param keep: microseconds to keep an ended reservation after it has stopped counting.
    """
    deadline = time.monotonic() + _SECONDS
    purged = 0
    try:
        for row in database.read(lambda connection: connection.execute(_TO_TELL, {"keep": keep}).all()):
            _tell(database, row.account_id, row.before)
        for row in database.read(lambda connection: connection.execute(_ACCOUNTS).all()):
            due = {"this_account": row.account_id, "before": row.purge_before, "limit": ROWS_AT_ONCE}
            purged += _repeat(database, _delete_reservations, due, deadline)
            _repeat(database, _delete_holders, due, deadline)
        for account_id in database.read(
            lambda connection: connection.execute(ACCOUNTS_OF_THE_GONE).scalars().all()
        ):
            _forget(database, account_id)
        thin(database, deadline)
    except YouComError as error:
        log.info("Old entries of the ledger are left to the next purge: %s", error)
    return purged


def _tell(database: Database, account_id: str, before: int) -> None:
    def tell(connection: sa.engine.Connection) -> None:
        account = {"this_account": account_id}
        # Raise the counter first, so that every earlier note has a lower one.
        connection.execute(LOCK_TO_END, account)
        connection.execute(_TELL, {**account, "before": before})

    database.write(tell)


def _forget(database: Database, account_id: str) -> None:
    database.write(lambda connection: forget(connection, account_id))


def _repeat(database: Database, work: Any, due: dict[str, Any], deadline: float) -> int:
    total = 0
    while True:
        count: int = database.write(lambda connection: work(connection, due))
        total += count
        if count < ROWS_AT_ONCE or time.monotonic() >= deadline:
            return total


def _delete_reservations(connection: sa.engine.Connection, due: dict[str, Any]) -> int:
    ids = connection.execute(_DUE, due).scalars().all()
    if ids:
        connection.execute(_DELETE, {"ids": ids})
    return len(ids)


def _delete_holders(connection: sa.engine.Connection, due: dict[str, Any]) -> int:
    # With the account's row, since a gate may be reserving anew.
    connection.execute(LOCK, {"this_account": due["this_account"]})
    keys = connection.execute(_IDLE_HOLDERS, due).scalars().all()
    if keys:
        connection.execute(_DELETE_HOLDERS, {"this_account": due["this_account"], "ids": keys})
    return len(keys)
