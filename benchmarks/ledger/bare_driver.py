"""What a ledger sends to its database, recorded, and sent again by the bare driver."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa


@dataclass
class Recording:
    """
    Statements and their parameters, by transaction, as the driver got them.

    :param driver: the name of the driver, as SQLAlchemy calls it.
    """

    driver: str = ""
    transactions: list[list[tuple[str, Any]]] = field(default_factory=list)

    def texts(self) -> set[str]:
        """Return all parameters that are text."""
        return {
            value
            for statements in self.transactions
            for _, parameters in statements
            for value in (parameters.values() if isinstance(parameters, dict) else parameters)
            if isinstance(value, str)
        }

    def replay(self, connection: Any, renamed: Mapping[Any, str]) -> None:
        """
        Send everything again, without SQLAlchemy.

        :param connection: the driver's connection.
        :param renamed: other values for some of the parameters.
        """
        for statements in self.transactions:
            cursor = connection.cursor()
            for statement, parameters in statements:
                cursor.execute(statement, _rename(parameters, renamed))
                if cursor.description:
                    cursor.fetchall()
            connection.commit()


def record(work: Callable[[], None]) -> Recording:
    """
    Return what SQLAlchemy sends while something is done, on any engine.

    :param work: what is done.
    """
    recording = Recording()

    def begun(connection: Any) -> None:
        recording.driver = connection.dialect.driver
        recording.transactions.append([])

    def sent(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        recording.transactions[-1].append((statement, parameters))

    sa.event.listen(sa.engine.Engine, "begin", begun)
    sa.event.listen(sa.engine.Engine, "before_cursor_execute", sent)
    try:
        work()
    finally:
        sa.event.remove(sa.engine.Engine, "begin", begun)
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", sent)
    return recording


def connect(url: str, driver: str) -> Any:
    """
    Return a connection of the bare driver.

    :param url: SQLAlchemy's URL of the database.
    :param driver: ``pysqlite``, ``psycopg2`` or ``psycopg``.
    """
    parts = sa.engine.make_url(url)
    if driver == "pysqlite":
        return sqlite3.connect(str(parts.database), isolation_level=None)
    login = {"host": parts.host, "port": parts.port, "user": parts.username, "dbname": parts.database}
    connection = importlib.import_module(driver).connect(**login)
    if driver == "psycopg":
        # As the ledger does, which must work behind PgBouncer.
        connection.prepare_threshold = None
    return connection


def _rename(parameters: Any, renamed: Mapping[Any, str]) -> Any:
    if isinstance(parameters, dict):
        return {name: renamed.get(value, value) for name, value in parameters.items()}
    return tuple(renamed.get(value, value) for value in parameters)
