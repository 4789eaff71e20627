"""Ended reservations by the hundred thousand, as a month of runs leaves them in a ledger."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

# The ledger keeps what has ended for 30 days, so that nothing is due.
KEPT_FOR = 29 * 24 * 60 * 60 * 1_000_000
NAMES = ("id", "run_id", "holder_key", "run_key", "attempt_id", "attempt_order", "newest_order")
TIMES = ("reserved_at", "ended_at", "counts_until", "newest_at")


def add_ended_rows(url: str, count: int) -> None:
    """
    Copy the one reservation in a ledger, which has ended, and its holder.

    :param url: SQLAlchemy's URL of the ledger's database.
    :param count: how many copies to add.
    """
    engine = sa.create_engine(url)
    tables = sa.MetaData()
    tables.reflect(engine, only=["youcom_accounts", "youcom_holders", "youcom_reservations"])
    accounts = tables.tables["youcom_accounts"]
    with engine.begin() as connection:
        for name in ("youcom_reservations", "youcom_holders"):
            connection.execute(_copies(tables.tables[name], count))
        connection.execute(sa.update(accounts).values(counter=accounts.c.counter + count))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # PostgreSQL does so by itself, but not at once.
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def _copies(table: sa.Table, count: int) -> Any:
    number = sa.select(sa.cast(1, sa.BigInteger).label("number")).cte("numbers", recursive=True)
    number = number.union_all(sa.select(number.c.number + 1).where(number.c.number < count))
    return sa.insert(table).from_select(
        [column.name for column in table.c],
        sa.select(*[_copied(column, number.c.number, count) for column in table.c]).select_from(
            table.join(number, sa.true())
        ),
    )


def _copied(column: Any, number: Any, count: int) -> Any:
    if column.name in NAMES:
        return sa.literal("ended-", sa.Text) + sa.cast(number, sa.Text)
    if column.name in TIMES:
        return column - (count - number) * (KEPT_FOR // count)
    if column.name == "end_number":
        return column + number
    return column
