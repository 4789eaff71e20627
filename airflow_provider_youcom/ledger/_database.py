"""Run transactions on the ledger's database, with a time limit, retries where they help, and clear errors."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc

from airflow_provider_youcom.exceptions import (
    YouComLedgerRefusedError,
    YouComLedgerUnavailableError,
)

T = TypeVar("T")

DIALECTS = ("sqlite", "postgresql")

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SERIALIZATION_FAILURE = "40001"
_DEADLOCK_DETECTED = "40P01"
# Another process has added the same account, gate or attempt; the next try sees it.
_UNIQUE_VIOLATION = "23505"
_TRY_AGAIN = {_SERIALIZATION_FAILURE, _DEADLOCK_DETECTED, _UNIQUE_VIOLATION}
# Rights, a wrong password, a missing table or database: waiting does not help.
_ACT = ("28", "3D", "3F", "42")

# https://www.sqlite.org/rescode.html
_ACT_ON_SQLITE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
}

# While connecting, PostgreSQL's drivers report errors as text, without a code.
_ACT_TO_CONNECT = re.compile(r"FATAL: .*(authentication failed|does not exist|no pg_hba\.conf entry)")

_POSTGRESQL_DRIVERS = {"psycopg2", "psycopg"}


class Database:
    """
    The ledger's database.

    :param engine: an engine that is used for the ledger only.
    :param name: the name of the ledger in errors.
    :param answer_within: seconds after which it counts as not answering.
    :raises YouComLedgerRefusedError: if it is neither SQLite nor PostgreSQL.
    """

    def __init__(self, engine: sa.engine.Engine, name: str, answer_within: float) -> None:
        self.name = name
        self.dialect = engine.dialect.name
        self._answer_within = answer_within
        self._milliseconds = max(1, round(answer_within * 1000))
        if self.dialect not in DIALECTS:
            raise self.refused(
                f"is a {self.dialect} database; reservations need SQLite, for one machine, or PostgreSQL"
            )
        if self.dialect == "sqlite" and engine.url.database in {None, "", ":memory:"}:
            raise self.refused("is in memory, where no other process sees it; name a file")
        if self.dialect == "postgresql":
            engine = engine.execution_options(isolation_level="READ COMMITTED")
            _bound_connecting(engine, answer_within)
        self._engine = engine

    def read(self, work: Callable[[sa.engine.Connection], T]) -> T:
        """
        Run a transaction that only reads.

        :param work: what to do in the transaction; it may be called several times.
        :raises YouComLedgerUnavailableError: if the database does not answer in time.
        :raises YouComLedgerRefusedError: if someone must act.
        """
        return self._run(work, "BEGIN")

    def write(self, work: Callable[[sa.engine.Connection], T]) -> T:
        """
        Run a transaction that writes.

        :param work: what to do in the transaction; it may be called several times, also after a commit whose
            answer was lost.
        :raises YouComLedgerUnavailableError: if the database does not answer in time.
        :raises YouComLedgerRefusedError: if someone must act.
        """
        return self._run(work, "BEGIN IMMEDIATE")

    def refused(self, what: str) -> YouComLedgerRefusedError:
        """
        Return the error for a ledger that cannot be used as it is.

        :param what: the rest of the sentence.
        """
        return YouComLedgerRefusedError(f"The ledger {self.name!r} {what}.")

    def _run(self, work: Callable[[sa.engine.Connection], T], begin_on_sqlite: str) -> T:
        deadline = time.monotonic() + self._answer_within
        while True:
            try:
                with self._engine.connect() as connection, connection.begin():
                    self._begin(connection, begin_on_sqlite)
                    return work(connection)
            except exc.SQLAlchemyError as error:
                if not _is_worth_trying_again(error) or time.monotonic() >= deadline:
                    # Without the chain: SQLAlchemy's own message holds every parameter.
                    raise self._translate(error) from None

    def _begin(self, connection: sa.engine.Connection, begin_on_sqlite: str) -> None:
        if self.dialect == "postgresql":
            # For this transaction only: a setting of the session would leak through PgBouncer.
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {self._milliseconds}")
            return
        # The driver's own BEGIN comes too late: before the first write, not before the first read.
        _driver_connection(connection).isolation_level = None
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {self._milliseconds}")
        connection.exec_driver_sql(begin_on_sqlite)

    def switch_to_wal(self) -> None:
        """Turn on SQLite's WAL mode, in which readers and the writer do not wait; the file keeps it."""
        if self.dialect != "sqlite":
            return
        deadline = time.monotonic() + self._answer_within
        while True:
            try:
                with self._engine.connect() as connection:
                    _driver_connection(connection).execute("PRAGMA journal_mode = WAL")
                return
            except (sqlite3.Error, exc.SQLAlchemyError) as error:
                # If several processes switch at once, SQLite reports at once that the file is locked.
                if _sqlite_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise self._translate(error) from None
            time.sleep(0.01)

    def _translate(self, error: Exception) -> YouComLedgerUnavailableError | YouComLedgerRefusedError:
        said = _first_line(error)
        if _someone_must_act(error):
            return self.refused(f"cannot be used, so check its connection and its rights: {said}")
        return YouComLedgerUnavailableError(
            f"What is reserved is unknown, since the ledger {self.name!r} did not answer within "
            f"{self._answer_within:g} s: {said}."
        )


def _bound_connecting(engine: sa.engine.Engine, seconds: float) -> None:
    if engine.dialect.driver not in _POSTGRESQL_DRIVERS:
        return

    def bound(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
        # https://www.postgresql.org/docs/current/libpq-connect.html; 1 would count as 2.
        parameters.setdefault("connect_timeout", max(2, round(seconds)))
        # Notice a server that has vanished after about the same time.
        parameters.setdefault("keepalives_idle", max(1, round(seconds / 2)))
        parameters.setdefault("keepalives_interval", 1)
        parameters.setdefault("keepalives_count", max(2, round(seconds / 2)))

    event.listen(engine, "do_connect", bound)


def _driver_connection(connection: sa.engine.Connection) -> Any:
    return connection.connection.dbapi_connection


def _is_worth_trying_again(error: exc.SQLAlchemyError) -> bool:
    if not isinstance(error, exc.DBAPIError):
        return False
    return error.connection_invalidated or _postgresql_code(error) in _TRY_AGAIN


def _someone_must_act(error: Exception) -> bool:
    code = _postgresql_code(error)
    if code is not None:
        return code.startswith(_ACT)
    sqlite_code = _sqlite_code(error)
    if sqlite_code is not None:
        return sqlite_code in _ACT_ON_SQLITE
    if _ACT_TO_CONNECT.search(str(error)):
        return True
    return not isinstance(
        error, (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError)
    )


def _postgresql_code(error: Exception) -> str | None:
    original = getattr(error, "orig", None)
    # psycopg2 calls it pgcode, psycopg sqlstate.
    return getattr(original, "pgcode", None) or getattr(original, "sqlstate", None)


def _sqlite_code(error: Exception) -> int | None:
    original = getattr(error, "orig", error)
    code: int | None = getattr(original, "sqlite_errorcode", None)
    # An extended code holds the primary one in its lowest byte.
    return None if code is None else code & 0xFF


def _first_line(error: Exception) -> str:
    said = str(getattr(error, "orig", None) or error).strip()
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__
