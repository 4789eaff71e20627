"""Run transactions on the ledger's database, with a time limit, retries where they help, and clear errors."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from airflow_provider_youcom.exceptions import (
    YouComLedgerRefusedError,
    YouComLedgerUnavailableError,
)
from airflow_provider_youcom.ledger._database_errors import Meaning, is_busy, meaning_of, words_of
from airflow_provider_youcom.ledger._watchdog import Watch, watchdog
from airflow_provider_youcom.ledger.engine import prepare_connections, what_is_wrong

T = TypeVar("T")

# A server that answers ends a late transaction by itself; after this time more, the connection is cut.
_CUT_AFTER_SECONDS = 1.0


class Database:
    """
    The ledger's database.

    :param engine: an engine that is used for the ledger only.
    :param name: the name of the ledger in errors.
    :param answer_within: seconds after which it counts as not answering.
    :raises YouComLedgerRefusedError: if no ledger can be in it.
    """

    def __init__(self, engine: sa.engine.Engine, name: str, answer_within: float) -> None:
        self.name = name
        self.dialect = engine.dialect.name
        self._answer_within = answer_within
        self._milliseconds = max(1, round(answer_within * 1000))
        wrong = what_is_wrong(engine)
        if wrong:
            raise self.refused(wrong)
        self._watched = threading.local()
        if self.dialect == "postgresql":
            prepare_connections(engine, answer_within, seen=self._follow)
            engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._engine = engine

    @property
    def lacks_file(self) -> bool:
        """Whether it is an SQLite file that does not exist; to connect to it would create it."""
        return self.dialect == "sqlite" and not Path(str(self._engine.url.database)).exists()

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

    def close(self) -> None:
        """Close the connections that no thread uses now."""
        self._engine.dispose()

    def _run(self, work: Callable[[sa.engine.Connection], T], begin_on_sqlite: str) -> T:
        started = time.monotonic()
        tries = 0
        with watchdog.watch(started + self._answer_within + _CUT_AFTER_SECONDS) as watch:
            while True:
                tries += 1
                try:
                    return self._transact(work, begin_on_sqlite, watch)
                except (exc.SQLAlchemyError, UnicodeDecodeError) as error:
                    failure: Exception = error
                # Outside of the except clause, so that the next error has no context: SQLAlchemy's own
                # message holds every parameter.
                self._raise_if_final(failure, watch, tries, time.monotonic() - started)

    def _transact(self, work: Callable[[sa.engine.Connection], T], begin_on_sqlite: str, watch: Watch) -> T:
        watch.is_connected = False
        self._watched.now = watch
        with self._engine.connect() as connection:
            if self.dialect == "postgresql":
                watch.follow(_driver_connection(connection))
            with connection.begin():
                self._begin(connection, begin_on_sqlite)
                return work(connection)

    def _follow(self, connection: Any) -> None:
        # While connecting, SQLAlchemy asks a new server what it is.
        self._watched.now.follow(connection)

    def _raise_if_final(self, error: Exception, watch: Watch, tries: int, seconds: float) -> None:
        if watch.has_cut:
            raise self._unavailable(f"did not answer within {self._answer_within:g} s")
        meaning = meaning_of(error)
        if meaning is Meaning.CONNECT_ANEW and tries == 1:
            self._engine.dispose()
            return
        if meaning is Meaning.TRY_AGAIN and seconds < self._answer_within:
            # At once, but for a server that goes on closing its connections.
            time.sleep(min(0.25, 0.01 * (tries - 1)))
            return
        raise self._translate(error, meaning, seconds, watch.is_connected)

    def _begin(self, connection: sa.engine.Connection, begin_on_sqlite: str) -> None:
        if self.dialect == "postgresql":
            # For this transaction only: a setting of the session would leak through PgBouncer. A process that
            # is stopped between two statements locks the account for half as long as others wait for it.
            connection.exec_driver_sql(
                f"SELECT set_config('statement_timeout', '{self._milliseconds}', true), set_config("
                f"'idle_in_transaction_session_timeout', '{max(1, self._milliseconds // 2)}', true)"
            )
            return
        # The driver's own BEGIN comes too late: before the first write, not before the first read.
        _driver_connection(connection).isolation_level = None
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {self._milliseconds}")
        connection.exec_driver_sql(begin_on_sqlite)

    def switch_to_wal(self) -> None:
        """Turn on SQLite's WAL mode, in which readers and the writer do not wait; the file keeps it."""
        if self.dialect != "sqlite":
            return
        started = time.monotonic()
        while True:
            try:
                with self._engine.connect() as connection:
                    _driver_connection(connection).execute("PRAGMA journal_mode = WAL")
                return
            except (sqlite3.Error, exc.SQLAlchemyError) as error:
                # If several processes switch at once, SQLite reports at once that the file is locked.
                seconds = time.monotonic() - started
                if not is_busy(error) or seconds >= self._answer_within:
                    raise self._translate(error, meaning_of(error), seconds, is_connected=True) from None
            time.sleep(0.01)

    def _translate(
        self, error: Exception, meaning: Meaning, seconds: float, is_connected: bool
    ) -> YouComLedgerUnavailableError | YouComLedgerRefusedError:
        said = words_of(error)
        if meaning is Meaning.ACT:
            return self.refused(f"cannot be used, so check its connection and its rights: {said}")
        if meaning is Meaning.CONNECT_ANEW:
            return self.refused(
                "is read-only, also after connecting anew, so let its connection lead to the primary server, "
                f"for example by target_session_attrs=read-write in its extra: {said}"
            )
        if seconds >= self._answer_within:
            return self._unavailable(f"did not answer within {self._answer_within:g} s: {said}")
        return self._unavailable(f"{'reported an error' if is_connected else 'could not be reached'}: {said}")

    def _unavailable(self, what: str) -> YouComLedgerUnavailableError:
        return YouComLedgerUnavailableError(
            f"What is reserved is unknown, since the ledger {self.name!r} {what}."
        )


def _driver_connection(connection: sa.engine.Connection) -> Any:
    return connection.connection.dbapi_connection
