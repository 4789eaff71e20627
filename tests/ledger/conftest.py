"""A ledger in each database: a new SQLite file, and a new database of a private PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.ledger.ledger import Ledger

if TYPE_CHECKING:
    from dev.private_postgres import PrivatePostgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """A private PostgreSQL, if this machine has one."""
    pytest.importorskip("psycopg2")
    from dev.private_postgres import PrivatePostgres, installed_binaries

    if installed_binaries() is None:
        pytest.skip("there is no PostgreSQL server on this machine")
    with PrivatePostgres() as server:
        yield server


def new_postgres_database(server: PrivatePostgres) -> str:
    """Make a database whose time zone is not UTC, nor a whole number of hours from it."""
    name = f"ledger_{next(_numbers)}"
    server.create_database(name)
    with closing(server.connect("postgres")) as connection:
        cursor = connection.cursor()
        cursor.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    return server.url_of(name)


@pytest.fixture(scope="session")
def used_database(postgres: PrivatePostgres) -> str:
    """The URL of a database that each test empties: a new one takes a tenth of a second of computing."""
    return new_postgres_database(postgres)


def empty(server: PrivatePostgres, database: str) -> None:
    """Drop what a test has left in a database, and end its connections."""
    with closing(server.connect(database)) as connection:
        cursor = connection.cursor()
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        cursor.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        cursor.execute("DROP SCHEMA public CASCADE")
        cursor.execute("CREATE SCHEMA public")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("used_database")
    empty(request.getfixturevalue("postgres"), url.rpartition("/")[2])
    return url


@pytest.fixture
def engine(url: str) -> Iterator[sa.engine.Engine]:
    """An engine on an empty database."""
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(engine: sa.engine.Engine) -> Ledger:
    """An empty ledger, which waits longer than users' ones do: a busy machine may answer late."""
    return Ledger(engine, answer_within=60)
