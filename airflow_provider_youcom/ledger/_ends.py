"""The transactions that end reservations, and those that find what may be ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.ledger import _statements as statements
from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger._amounts import US_PER_SECOND
from airflow_provider_youcom.ledger._rows import newest_age
from airflow_provider_youcom.ledger.rule import EndReason


def end(connection: sa.engine.Connection, ids: Sequence[str], reason: EndReason, by: str) -> list[str]:
    """End those that stand, and return the ids that this call has ended."""
    rows = connection.execute(statements.BY_IDS, {"ids": ids})
    # Always in the same order, so that two callers with several accounts do not wait for each other.
    standing = sorted({row.account_id for row in rows if row.ended_at is None})
    return [
        ended for account_id in standing for ended in _end_in_account(connection, account_id, ids, reason, by)
    ]


def _end_in_account(
    connection: sa.engine.Connection, account_id: str, ids: Sequence[str], reason: EndReason, by: str
) -> list[str]:
    account = {"this_account": account_id}
    connection.execute(statements.LOCK_TO_END, account)
    ending = connection.execute(statements.ENDING, {**account, "ids": ids}).all()
    by_reason = defaultdict(list)
    for row in ending:
        own_reason = rule.reason_of_end(reason, (row.attempt_order, row.try_number), newest_age(row))
        by_reason[own_reason].append(row)
    for own_reason, rows in by_reason.items():
        _write_end(connection, rows, own_reason, by)
    return [row.id for row in ending]


def _write_end(connection: sa.engine.Connection, rows: Sequence[Any], reason: EndReason, by: str) -> None:
    connection.execute(
        statements.END,
        {
            "ids": [row.id for row in rows],
            "number": rows[0].counter,
            "now": rows[0].now,
            "grace": reason.grace_seconds * US_PER_SECOND,
            "reason": reason.value,
            "by": by,
        },
    )


def end_and_return(
    connection: sa.engine.Connection, ids: Sequence[str], reason: EndReason, by: str
) -> Sequence[Any]:
    end(connection, ids, reason, by)
    return connection.execute(statements.BY_IDS, {"ids": ids}).all()


def end_expired(connection: sa.engine.Connection, by: str) -> Sequence[Any]:
    ids = connection.execute(statements.EXPIRED).scalars().all()
    # Another process may have ended some of them before this call wrote their accounts' rows.
    ended = end(connection, ids, EndReason.EXPIRED, by) if ids else []
    return connection.execute(statements.BY_IDS, {"ids": ended}).all() if ended else []


def mark_asked(connection: sa.engine.Connection, deployment: str, limit: int) -> Sequence[Any]:
    rows = connection.execute(statements.TO_ASK, {"deployment": deployment, "limit": limit}).all()
    if rows:
        connection.execute(statements.ASKED, {"ids": [row.id for row in rows]})
    return rows
