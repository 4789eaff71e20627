"""The row of an account. Each transaction that reserves, ends or writes the line writes this row first."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_youcom.ledger import _statements as statements


def lock(connection: sa.engine.Connection, account_id: str) -> None:
    """Write the account's row, and add it if it is missing."""
    account = {"this_account": account_id}
    if connection.execute(statements.LOCK, account).rowcount == 0:
        connection.execute(statements.ADD_ACCOUNT, account)
        connection.execute(statements.LOCK, account)
