"""Delete readings older than 90 days, and of those older than two days, all but the last of each hour."""

from __future__ import annotations

import time

import sqlalchemy as sa

from airflow_provider_youcom.ledger._amounts import US_PER_SECOND
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger._schema import readings
from airflow_provider_youcom.ledger._statements import NOW

_HOUR_US = 60 * 60 * US_PER_SECOND
_THIN_AFTER_US = 2 * 24 * _HOUR_US
_DELETE_AFTER_US = 90 * 24 * _HOUR_US
ROWS_AT_ONCE = 500

_next = readings.alias("next")
# The numbers of readings have gaps only where an hour has been thinned.
_NOT_THE_LAST_OF_ITS_HOUR = sa.exists().where(
    _next.c.account_id == readings.c.account_id,
    _next.c.number == readings.c.number + 1,
    _next.c.time.op("/")(_HOUR_US) == readings.c.time.op("/")(_HOUR_US),
)
_DUE = (
    sa.select(readings.c.account_id, readings.c.number)
    .where(
        readings.c.time <= NOW - _THIN_AFTER_US,
        sa.or_(readings.c.time <= NOW - _DELETE_AFTER_US, _NOT_THE_LAST_OF_ITS_HOUR),
    )
    .order_by(readings.c.time)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_DELETE = sa.delete(readings).where(sa.tuple_(readings.c.account_id, readings.c.number).in_(_DUE))


def thin(database: Database, deadline: float) -> None:
    """
    Delete readings that are not kept, a few at a time.

    The totals of the others do not change.

    :param deadline: when to leave the rest to the next call, by ``time.monotonic``.
    """
    # Only a transaction that deletes takes SQLite's one lock.
    while database.read(lambda connection: connection.execute(_DUE, {"limit": 1}).first()):
        database.write(lambda connection: connection.execute(_DELETE, {"limit": ROWS_AT_ONCE}))
        if time.monotonic() >= deadline:
            return
