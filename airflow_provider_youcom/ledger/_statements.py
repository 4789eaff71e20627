"""
The ledger's statements, built once with bind parameters.

Building them at each call would nearly double the time of a note, a decision and a release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from airflow_provider_youcom.ledger import line_rule, rule
from airflow_provider_youcom.ledger._amounts import US_PER_SECOND
from airflow_provider_youcom.ledger._schema import STANDS, accounts, holders, line, reservations


class _Now(FunctionElement):  # type: ignore[type-arg]  # SQLAlchemy 1.4 takes no argument here
    """The database's clock, in whole microseconds since 1970 in UTC, in any time zone of the server."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(_Now, "sqlite")
def _now_on_sqlite(element: _Now, compiler: Any, **options: Any) -> str:
    # Whole milliseconds, exactly; unixepoch('subsec') would need SQLite 3.42.
    return "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"


@compiles(_Now, "postgresql")
def _now_on_postgresql(element: _Now, compiler: Any, **options: Any) -> str:
    # The time when the statement arrived: before all that it reads, and after the locks taken before it.
    return "CAST(floor(extract(epoch FROM statement_timestamp()) * 1000000) AS BIGINT)"


NOW = _Now()
# A place that is kept no longer.
IS_GONE = line.c.alive_until <= NOW - line_rule.GONE_AFTER_SECONDS * US_PER_SECOND


@dataclass(frozen=True)
class _Noted:
    """A note whose figures are columns or parameters, for ``rule.counts``."""

    counter: Any
    time: Any


# SQLAlchemy reserves the names of the columns that a statement writes.
_IDS: sa.sql.expression.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_ACCOUNT_ID = sa.bindparam("this_account", type_=sa.Text)
_HOLDER_KEY = sa.bindparam("this_holder", type_=sa.String)
_ATTEMPT_ID = sa.bindparam("this_attempt", type_=sa.Text)
_LIMIT = sa.bindparam("limit", type_=sa.Integer)
_OTHERS = line.alias("others")

_ROW = tuple(
    column
    for column in reservations.c
    if column.name not in {"holder_key", "run_key", "asked_at", "end_number", "newest_place"}
)
_HAS_EXPIRED = sa.and_(STANDS, reservations.c.expires_at <= _Now())
_STANDS_FOR_THIS_ATTEMPT = sa.and_(STANDS, reservations.c.attempt_id == _ATTEMPT_ID)


# Nothing has ended after now; a constant lets PostgreSQL see how few rows that leaves.
COUNTS_NOW = rule.counts(
    reservations.c, _Noted(sa.literal_column(str(rule.NOT_ENDED - 1), sa.BigInteger), _Now())
)


def _note() -> sa.Select[Any]:
    """Select a row for each reservation that counts now; if there is none, one row with the time."""
    moment = sa.select(_Now().label("now")).subquery("moment")
    counting = sa.and_(reservations.c.account_id == accounts.c.account_id, COUNTS_NOW)
    return sa.select(
        moment.c.now,
        sa.select(line.c.number).exists().label("somebody_waits"),
        accounts.c.account_id,
        accounts.c.counter,
        accounts.c.opened_units,
        accounts.c.best_units,
        accounts.c.moved_at,
        accounts.c.opened_at,
        reservations.c.amount_units,
        reservations.c.run_key,
        reservations.c.newest_place,
        reservations.c.attempt_id,
        reservations.c.ended_at,
        (reservations.c.expires_at <= moment.c.now).label("is_expired"),
    ).select_from(moment.outerjoin(accounts, sa.true()).outerjoin(reservations, counting))


def _account() -> sa.Select[Any]:
    """Select the one row that a decision needs; run it after the account's row was written."""
    noted = _Noted(sa.bindparam("counter", type_=sa.BigInteger), sa.bindparam("time", type_=sa.BigInteger))
    amount = reservations.c.amount_units
    of_this_run = sa.and_(STANDS, reservations.c.run_key == sa.bindparam("run_key", type_=sa.String))
    reserved = (
        sa.select(
            sa.func.coalesce(sa.func.sum(amount), 0).label("reserved"),
            sa.func.count(reservations.c.run_key.distinct()).label("runs"),
            sa.func.coalesce(sa.func.sum(sa.case((of_this_run, amount), else_=0)), 0).label("own_run"),
            sa.func.coalesce(sa.func.sum(sa.case((_HAS_EXPIRED, 1), else_=0)), 0).label("expired"),
            sa.func.min(sa.case((of_this_run, reservations.c.newest_place))).label("run_since"),
        )
        .where(
            reservations.c.account_id == _ACCOUNT_ID,
            rule.counts(reservations.c, noted),
            sa.not_(_STANDS_FOR_THIS_ATTEMPT),
        )
        .subquery("reserved")
    )
    this_holder = sa.and_(holders.c.account_id == accounts.c.account_id, holders.c.holder_key == _HOLDER_KEY)
    of_others = _OTHERS.c.account_id == accounts.c.account_id
    this_place = sa.and_(line.c.account_id == accounts.c.account_id, line.c.holder_key == _HOLDER_KEY)
    return (
        sa.select(
            accounts.c.oldest_counter,
            holders.c.newest_order,
            holders.c.newest_try,
            accounts.c.opened_units,
            accounts.c.opened_at,
            accounts.c.newest_place,
            sa.select(_OTHERS.c.number).where(of_others).exists().label("somebody_waits"),
            sa.case((sa.not_(IS_GONE), line.c.number)).label("own_place"),
            line.c.number.is_not(None).label("is_in_line"),
            *reserved.c,
            _Now().label("now"),
        )
        .select_from(
            accounts.outerjoin(holders, this_holder).outerjoin(line, this_place).join(reserved, sa.true())
        )
        .where(accounts.c.account_id == _ACCOUNT_ID)
    )


NOTE = _note()

ADD_ACCOUNT = sa.text(
    "INSERT INTO youcom_accounts (account_id, version, counter, oldest_counter, purge_before,"
    " opened_units, best_units, moved_at, opened_at, newest_place)"
    " VALUES (:this_account, 0, 0, 0, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING"
)
_LOCK = sa.update(accounts).where(accounts.c.account_id == _ACCOUNT_ID)
LOCK = _LOCK.values(version=accounts.c.version + 1)
OPENED = _LOCK.values(
    opened_units=accounts.c.opened_units + sa.bindparam("amount", type_=sa.BigInteger),
    best_units=sa.bindparam("left", type_=sa.BigInteger),
    moved_at=sa.bindparam("now", type_=sa.BigInteger),
    opened_at=sa.bindparam("opened_at", type_=sa.BigInteger),
)
LOCK_TO_END = _LOCK.values(counter=accounts.c.counter + 1)

# What stands for this attempt, and what an earlier call of the same decision has reserved.
OWN = sa.select(*_ROW, (reservations.c.expires_at <= _Now()).label("is_expired")).where(
    sa.or_(
        sa.and_(reservations.c.account_id == _ACCOUNT_ID, _STANDS_FOR_THIS_ATTEMPT),
        reservations.c.id == sa.bindparam("decision_id", type_=sa.String),
    )
)
ACCOUNT = _account()
ADD_RESERVATION = sa.insert(reservations)
ADD_HOLDER = sa.insert(holders)
RENEW_HOLDER = (
    sa.update(holders)
    .where(holders.c.account_id == _ACCOUNT_ID, holders.c.holder_key == _HOLDER_KEY)
    .values(
        newest_order=sa.bindparam("order"), newest_try=sa.bindparam("number"), newest_at=sa.bindparam("now")
    )
)

BY_IDS = sa.select(*_ROW, reservations.c.end_number).where(reservations.c.id.in_(_IDS))
ENDING = (
    sa.select(
        reservations.c.id,
        reservations.c.attempt_order,
        reservations.c.try_number,
        holders.c.newest_order,
        holders.c.newest_try,
        accounts.c.counter,
        _Now().label("now"),
    )
    .select_from(
        reservations.join(accounts, reservations.c.account_id == accounts.c.account_id).outerjoin(
            holders,
            sa.and_(
                holders.c.account_id == reservations.c.account_id,
                holders.c.holder_key == reservations.c.holder_key,
            ),
        )
    )
    .where(reservations.c.id.in_(_IDS), reservations.c.account_id == _ACCOUNT_ID, STANDS)
)
END = (
    sa.update(reservations)
    .where(reservations.c.id.in_(_IDS), STANDS)
    .values(
        end_number=sa.bindparam("number", type_=sa.BigInteger),
        ended_at=sa.bindparam("now", type_=sa.BigInteger),
        end_reason=sa.bindparam("reason", type_=sa.String),
        ended_by=sa.bindparam("by", type_=sa.Text),
        counts_until=rule.counts_until(
            sa.bindparam("now", type_=sa.BigInteger),
            reservations.c.settle_us,
            sa.bindparam("grace", type_=sa.BigInteger),
        ),
    )
)
EXPIRED = sa.select(reservations.c.id).where(_HAS_EXPIRED).order_by(reservations.c.expires_at).limit(100)
EXPIRED_IN_ACCOUNT = sa.select(reservations.c.id).where(
    _HAS_EXPIRED, reservations.c.account_id == _ACCOUNT_ID
)

TO_ASK = (
    sa.select(*_ROW)
    .where(
        STANDS,
        reservations.c.deployment == sa.bindparam("deployment", type_=sa.Text),
        reservations.c.asked_at <= _Now() - rule.ASK_AGAIN_SECONDS * US_PER_SECOND,
    )
    .order_by(reservations.c.asked_at)
    .limit(_LIMIT)
    # Two callers at once share the work. SQLite has one writer anyway, and no such clause.
    .with_for_update(skip_locked=True)
)
ASKED = sa.update(reservations).where(reservations.c.id.in_(_IDS)).values(asked_at=_Now())

ROWS = sa.select(*_ROW)
OLDEST_FIRST = (reservations.c.reserved_at, reservations.c.id)
