"""Make an engine of SQLAlchemy fit for the ledger, or refuse it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from airflow_provider_youcom.ledger.login_code import add_login_code

DIALECTS = ("sqlite", "postgresql")
POSTGRESQL_DRIVERS = ("psycopg2", "psycopg")


def engine_for(driver: str, connect: Callable[[], Any], answer_within: float) -> sa.engine.Engine:
    """
    Return an engine for a PostgreSQL that a function connects to.

    :param driver: ``psycopg2`` or ``psycopg``, which the function uses.
    :param connect: returns a new connection of this driver.
    :param answer_within: seconds to wait for a free connection, when all are used by other threads.
    """
    # Support for hstore would ask the server for its types at each new connection.
    return sa.create_engine(
        f"postgresql+{driver}://", creator=connect, pool_timeout=answer_within, use_native_hstore=False
    )


def bounds_of_connecting(seconds: float) -> dict[str, int]:
    """
    Return the options of libpq that bound how long it takes to connect, and to notice that a server is gone.

    :param seconds: how long that may take.
    """
    half = max(2, round(seconds / 2))
    # https://www.postgresql.org/docs/current/libpq-connect.html; a connect_timeout of 1 would count as 2.
    return {
        "connect_timeout": max(2, round(seconds)),
        "keepalives_idle": half,
        "keepalives_interval": 1,
        "keepalives_count": half,
    }


def what_is_wrong(engine: sa.engine.Engine) -> str | None:
    """
    Return why no ledger can be in an engine's database, as the rest of a sentence; None if one can.

    :param engine: an engine.
    """
    if engine.dialect.name not in DIALECTS:
        return (
            f"is a {engine.dialect.name} database; reservations need SQLite, for one machine, or PostgreSQL"
        )
    if engine.dialect.name == "sqlite":
        return wrong_file(engine.url)
    if engine.dialect.driver not in POSTGRESQL_DRIVERS:
        return (
            f"uses the driver {engine.dialect.driver}; the ledger needs psycopg2 or psycopg, so write "
            "postgresql+psycopg2 or postgresql+psycopg instead"
        )
    return None


def wrong_file(url: sa.engine.URL) -> str | None:
    """
    Return why no ledger can be in a database of SQLite, as the rest of a sentence; None if one can.

    :param url: where it is.
    """
    path = url.database or ""
    if path in {"", ":memory:"} or url.query.get("mode") == "memory":
        return f"is in memory, where no other process sees it; {_NAME_A_FILE}"
    if url.query:
        options = ", ".join(sorted(url.query))
        return (
            f"has options ({options}) with which SQLite may open another database, or lock none: remove "
            "them, and leave the extra of its connection empty"
        )
    if "file:" in path or ":memory:" in path:
        return f"is not the path of a file, but an instruction to SQLite; {_NAME_A_FILE}"
    if not Path(path).is_absolute():
        return f"is a relative path, which each process resolves from a folder of its own; {_NAME_A_FILE}"
    return None


_NAME_A_FILE = "name a file by its absolute path, such as /var/lib/airflow/youcom-ledger.db"


def prepare_connections(engine: sa.engine.Engine, answer_within: float, seen: Callable[[Any], None]) -> None:
    """
    Prepare each new connection to a PostgreSQL, before anything is sent on it.

    :param engine: the engine.
    :param answer_within: seconds to wait for the server while connecting.
    :param seen: called with the new connection of the driver.
    """

    def connect(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> Any:
        bounded = {**bounds_of_connecting(answer_within), **parameters}
        try:
            return dialect.connect(*arguments, **bounded)
        except Exception as error:
            add_login_code(error, parameters, answer_within)
            raise

    def prepare(connection: Any, record: Any) -> None:
        if engine.dialect.driver == "psycopg":
            # Behind PgBouncer, the next transaction may be sent to a server that does not know what another
            # one has prepared.
            connection.prepare_threshold = None
        seen(connection)

    # An engine with a function that connects does not send this event: its function does the same.
    event.listen(engine, "do_connect", connect)
    # First of all listeners: others send queries.
    event.listen(engine, "connect", prepare, insert=True)
