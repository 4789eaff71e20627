"""The statements about an account over time, built once with bind parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger._amounts import US_PER_SECOND
from airflow_provider_youcom.ledger._schema import accounts, readings, reservations
from airflow_provider_youcom.ledger._statements import NOW, OLDEST_FIRST, ROWS

_DAY_US = 24 * 60 * 60 * US_PER_SECOND


@dataclass(frozen=True)
class _Noted:
    """A note whose figures are parameters, for ``rule.counts``."""

    counter: Any
    time: Any


@dataclass(frozen=True)
class _Reservation:
    """A reservation whose figures are expressions, for ``rule.counts``."""

    end_number: Any
    counts_until: Any


_ACCOUNT_ID = sa.bindparam("this_account", type_=sa.Text)
_SINCE = sa.bindparam("since", type_=sa.BigInteger)
_OF_ACCOUNT = readings.c.account_id == _ACCOUNT_ID
# An alias, since the statements around it read or write the table too.
_others = readings.alias("others")
_NEWEST_NUMBER = (
    sa.select(sa.func.max(_others.c.number)).where(_others.c.account_id == _ACCOUNT_ID).scalar_subquery()
)


def _greatest(column: Any) -> Any:
    greatest = sa.select(sa.func.max(column)).where(reservations.c.account_id == _ACCOUNT_ID)
    return sa.func.coalesce(greatest.scalar_subquery(), 0)


def _newest() -> Any:
    """Select the time, the newest reading if there is one, and whether anything may have counted since."""
    moment = sa.select(NOW.label("now")).subquery("moment")
    newest = sa.select(*readings.c).where(_OF_ACCOUNT, readings.c.number == _NEWEST_NUMBER).subquery("newest")
    # If any reservation counts, so would one with the greatest of both values, which two indexes find.
    was_reserved = rule.counts(
        _Reservation(_greatest(reservations.c.end_number), _greatest(reservations.c.counts_until)), newest.c
    )
    # What had stopped counting by then may have been deleted.
    is_forgotten = sa.exists().where(
        accounts.c.account_id == newest.c.account_id, accounts.c.purge_before > newest.c.time
    )
    return sa.select(
        moment.c.now, *newest.c, sa.or_(was_reserved, is_forgotten).label("was_reserved")
    ).select_from(moment.outerjoin(newest, sa.true()))


NEWEST = _newest()
# Another process may have stored a reading since ``NEWEST``; one is enough.
ADD = sa.text(
    "INSERT INTO youcom_readings (account_id, number, time, counter, stored_at, balance_cents, fallen_usd,"
    " unreserved_usd, watched_us) VALUES (:account_id, :number, :time, :counter, :stored_at, :balance_cents,"
    " :fallen_usd, :unreserved_usd, :watched_us) ON CONFLICT DO NOTHING"
)
REPLACE = (
    sa.update(readings)
    .where(
        _OF_ACCOUNT,
        readings.c.number == sa.bindparam("this_number", type_=sa.BigInteger),
        readings.c.number == _NEWEST_NUMBER,
        readings.c.stored_at == sa.bindparam("replaced", type_=sa.BigInteger),
    )
    .values(
        {
            column.name: sa.bindparam(column.name)
            for column in readings.c
            if column.name not in {"account_id", "number"}
        }
    )
)

THE_TIME = sa.select(NOW)
IDS = sa.select(readings.c.account_id).distinct().order_by(readings.c.account_id)
READINGS = (
    sa.select(*readings.c)
    .where(
        _OF_ACCOUNT,
        # One from the future was stored before the ledger's clock went back.
        sa.or_(
            sa.and_(readings.c.time > _SINCE, readings.c.time <= NOW), readings.c.number == _NEWEST_NUMBER
        ),
    )
    .order_by(readings.c.number)
)
COUNTING = ROWS.where(
    reservations.c.account_id == _ACCOUNT_ID,
    rule.counts(
        reservations.c,
        _Noted(sa.bindparam("counter", type_=sa.BigInteger), sa.bindparam("time", type_=sa.BigInteger)),
    ),
).order_by(*OLDEST_FIRST)


def _reserved_by_dag() -> Any:
    of_this_week = reservations.c.reserved_at > NOW - 7 * _DAY_US
    amount = reservations.c.amount_units
    week = sa.func.sum(sa.case((of_this_week, amount), else_=0)).label("week")
    month = sa.func.sum(amount).label("month")
    names = (reservations.c.deployment, reservations.c.dag_id)
    return (
        sa.select(*names, week, month)
        .where(reservations.c.account_id == _ACCOUNT_ID, reservations.c.reserved_at > NOW - 30 * _DAY_US)
        .group_by(*names)
        .order_by(week.desc(), month.desc(), *names)
    )


RESERVED_BY_DAG = _reserved_by_dag()
