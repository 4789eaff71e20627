"""Databases for ledgers: SQLite files, and databases of a private PostgreSQL."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.ledger import Ledger
from dev.private_postgres import PrivatePostgres


@dataclass(frozen=True)
class Database:
    """
    An empty database.

    :param name: unique among the databases.
    :param url: its URL for SQLAlchemy.
    :param connection: the JSON for an ``AIRFLOW_CONN_…`` variable.
    """

    name: str
    url: str
    connection: str

    def ledger(self) -> Ledger:
        """Return the ledger in this database, connected as gates connect it."""
        you_com = {
            "conn_type": "youcom",
            "password": "benchmark-key",
            "extra": {"ledger_conn_id": f"ledger_{self.name}"},
        }
        os.environ[f"AIRFLOW_CONN_LEDGER_{self.name}".upper()] = self.connection
        os.environ[f"AIRFLOW_CONN_YOUCOM_{self.name}".upper()] = json.dumps(you_com)
        return YouComHook(f"youcom_{self.name}").ledger


@contextmanager
def databases(*uses: str) -> Iterator[dict[str, dict[str, Database]]]:
    """
    Make empty databases, by what they are for, in both kinds; PostgreSQL's time zone is not UTC.

    :param uses: what they are for.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-ledgers-") as folder, PrivatePostgres() as server:
        yield {
            "sqlite": {use: _sqlite_file(Path(folder), use) for use in uses},
            "postgresql": {use: _postgres_database(server, use) for use in uses},
        }


def _sqlite_file(folder: Path, use: str) -> Database:
    path = folder / f"{use}.db"
    return Database(
        f"sqlite_{use}", f"sqlite:///{path}", json.dumps({"conn_type": "sqlite", "host": str(path)})
    )


def _postgres_database(server: PrivatePostgres, use: str) -> Database:
    server.create_database(use)
    with closing(server.connect("postgres")) as connection:
        connection.cursor().execute(f"ALTER DATABASE {use} SET timezone = 'Asia/Kathmandu'")
    return Database(f"postgres_{use}", server.url_of(use), server.airflow_connection(use))
