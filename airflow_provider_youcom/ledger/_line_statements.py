"""The statements of the line, built once with bind parameters."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.ledger import line_rule
from airflow_provider_youcom.ledger._amounts import US_PER_SECOND
from airflow_provider_youcom.ledger._schema import accounts, holders, line, reservations
from airflow_provider_youcom.ledger._statements import IS_GONE, NOW

_LONGEST_LIFE = line_rule.LONGEST_LIFE_SECONDS * US_PER_SECOND

_ACCOUNT_ID = sa.bindparam("this_account", type_=sa.Text)
_HOLDER_KEY = sa.bindparam("this_holder", type_=sa.String)
_KEYS: sa.sql.expression.BindParameter[Any] = sa.bindparam("keys", expanding=True)
_LIFE = sa.bindparam("life", type_=sa.BigInteger)

_IS_ALIVE = line.c.alive_until > NOW
_IS_HELD = line_rule.is_held(line.c, accounts.c.opened_units)
_IN_ITS_ACCOUNT = line.join(accounts, line.c.account_id == accounts.c.account_id)

PLACES = (
    sa.select(line, _IS_ALIVE.label("is_alive"), _IS_HELD.label("is_held"))
    .select_from(_IN_ITS_ACCOUNT)
    .where(sa.not_(IS_GONE))
    .order_by(line.c.account_id, line.c.number)
)

OWN_PLACE = sa.select(line.c.number).where(line.c.account_id == _ACCOUNT_ID, line.c.holder_key == _HOLDER_KEY)
_IS_LEFT_ALONE = sa.and_(
    line.c.number < sa.bindparam("bound", type_=sa.BigInteger),
    # Read before, since SQLite would read its clock three times for each row.
    line.c.alive_until > sa.bindparam("now", type_=sa.BigInteger),
    line_rule.is_held(line.c, sa.bindparam("opened", type_=sa.BigInteger)),
)
# What is held for those in front of a bound, and the least that was put off after a hold in vain.
IN_LINE_NOW = sa.select(
    sa.func.coalesce(sa.func.sum(sa.case((_IS_LEFT_ALONE, line.c.amount_units))), 0).label("held_units"),
    sa.func.count(sa.case((_IS_LEFT_ALONE, line.c.number))).label("held_gates"),
    sa.func.min(sa.case((_IS_LEFT_ALONE, line.c.number))).label("first_held"),
    sa.func.min(sa.case((line.c.patience > line_rule.FIRST_PATIENCE, line.c.amount_units))).label(
        "least_put_off"
    ),
).where(line.c.account_id == _ACCOUNT_ID)
HOLDER_AT = sa.select(
    line.c.deployment, line.c.dag_id, line.c.run_id, line.c.task_id, line.c.map_index
).where(line.c.account_id == _ACCOUNT_ID, line.c.number == sa.bindparam("number", type_=sa.BigInteger))
LEAVE = sa.delete(line).where(line.c.account_id == _ACCOUNT_ID, line.c.holder_key == _HOLDER_KEY)

ACCOUNTS_OF = sa.select(line.c.account_id, line.c.holder_key).where(
    line.c.holder_key.in_(_KEYS), sa.not_(IS_GONE)
)

# Four times the gap between the last two checks, within limits.
_GAP = 4 * (NOW - line.c.seen_at)
_SEEN = sa.update(line).values(
    seen_at=NOW,
    alive_until=NOW + sa.case((_GAP >= _LONGEST_LIFE, _LONGEST_LIFE), (_GAP > _LIFE, _GAP), else_=_LIFE),
)
# Never an insert: it would put back a gate that has opened.
SEEN = _SEEN.where(line.c.account_id == _ACCOUNT_ID, line.c.holder_key.in_(_KEYS), sa.not_(IS_GONE))
SEEN_WITH_AMOUNT = _SEEN.where(
    line.c.account_id == _ACCOUNT_ID, line.c.holder_key == _HOLDER_KEY, sa.not_(IS_GONE)
).values(amount_units=sa.bindparam("amount", type_=sa.BigInteger))

FORGET = sa.delete(line).where(line.c.account_id == _ACCOUNT_ID, IS_GONE)
IN_LINE = sa.select(line.c.holder_key).where(line.c.account_id == _ACCOUNT_ID, line.c.holder_key.in_(_KEYS))
NEWEST_ATTEMPTS = sa.select(holders.c.holder_key, holders.c.newest_order, holders.c.newest_try).where(
    holders.c.account_id == _ACCOUNT_ID, holders.c.holder_key.in_(_KEYS)
)
# What stands, and what has ended since a note.
OPENED_ATTEMPTS = sa.select(reservations.c.attempt_id).where(
    reservations.c.account_id == _ACCOUNT_ID,
    reservations.c.end_number > sa.bindparam("counter", type_=sa.BigInteger),
    reservations.c.attempt_id.in_(sa.bindparam("attempts", expanding=True)),
)
ACCOUNT = sa.select(accounts.c.opened_units, accounts.c.newest_place, NOW.label("now")).where(
    accounts.c.account_id == _ACCOUNT_ID
)
ADD_PLACES = sa.insert(line)
NUMBERS_USED = (
    sa.update(accounts)
    .where(accounts.c.account_id == _ACCOUNT_ID)
    .values(newest_place=accounts.c.newest_place + sa.bindparam("count", type_=sa.BigInteger))
)
IN_FRONT = sa.select(sa.func.count()).where(
    line.c.account_id == _ACCOUNT_ID, line.c.number < sa.bindparam("number", type_=sa.BigInteger), _IS_ALIVE
)

CAME_IN = (
    sa.update(accounts)
    .where(
        accounts.c.account_id == _ACCOUNT_ID,
        accounts.c.best_units < sa.bindparam("available", type_=sa.BigInteger),
    )
    .values(
        version=accounts.c.version + 1,
        best_units=sa.bindparam("available", type_=sa.BigInteger),
        moved_at=NOW,
    )
)
# Updates no row if something has moved since the note.
LOCK_UNMOVED = (
    sa.update(accounts)
    .where(
        accounts.c.account_id == _ACCOUNT_ID,
        accounts.c.moved_at == sa.bindparam("moved", type_=sa.BigInteger),
    )
    .values(version=accounts.c.version + 1)
)
_HALF_OF_LARGEST = line_rule.LARGEST_PATIENCE // 2
_OPENED = sa.select(accounts.c.opened_units).where(accounts.c.account_id == _ACCOUNT_ID).scalar_subquery()
STILL_HELD = sa.select(line.c.holder_key).where(
    line.c.account_id == _ACCOUNT_ID, line.c.holder_key.in_(_KEYS), line_rule.is_held(line.c, _OPENED)
)
START_OVER = (
    sa.update(line)
    .where(
        line.c.account_id == _ACCOUNT_ID,
        sa.or_(
            line.c.holder_key.in_(_KEYS),
            sa.and_(
                line.c.amount_units >= sa.bindparam("least", type_=sa.BigInteger),
                sa.not_(line_rule.is_held(line.c, _OPENED)),
            ),
        ),
    )
    .values(
        patience=sa.case(
            (line.c.patience > _HALF_OF_LARGEST, line_rule.LARGEST_PATIENCE), else_=2 * line.c.patience
        ),
        opened_before=_OPENED,
    )
)
# Those whose holds have been in vain.
PUT_OFF = (
    sa.select(line.c.amount_units, sa.func.max(line.c.patience).label("patience"))
    .where(line.c.account_id == _ACCOUNT_ID, line.c.patience > line_rule.FIRST_PATIENCE)
    .group_by(line.c.amount_units)
)
# An amount that has been paid was not in vain after all.
FIRST_PATIENCE_AGAIN = (
    sa.update(line)
    .where(
        line.c.account_id == _ACCOUNT_ID,
        line.c.amount_units <= sa.bindparam("amount", type_=sa.BigInteger),
        line.c.patience > line_rule.FIRST_PATIENCE,
    )
    .values(patience=line_rule.FIRST_PATIENCE)
)
ACCOUNTS_OF_THE_GONE = sa.select(line.c.account_id).where(IS_GONE).distinct()
