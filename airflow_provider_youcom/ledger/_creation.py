"""Create the ledger's tables at the first use, even in several processes at once; refuse other versions."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger._schema import VERSION, ledgers, metadata

# Any number that no other application uses for an advisory lock on this database.
_ADVISORY_LOCK = 0x796F75636F6D


def prepare(database: Database) -> str:
    """
    Create the tables if they do not exist, and return the id of the ledger.

    :raises YouComLedgerRefusedError: if they are of another version, or cannot be created.
    :raises YouComLedgerUnavailableError: if the database does not answer in time.
    """
    found = database.read(_find)
    if found is None:
        database.switch_to_wal()
        found = database.write(_make)
    version = found.schema_version
    if version == VERSION:
        return str(found.ledger_id)
    if version < VERSION:
        raise database.refused(
            f"has tables of the older version {version}, where this provider needs {VERSION}: name another "
            "database, or empty this one once nothing is reserved in it"
        )
    raise database.refused(
        f"has tables of the newer version {version}, where this provider knows {VERSION}: upgrade "
        "airflow-provider-youcom here as well"
    )


def exists(database: Database) -> bool:
    """
    Return whether the tables exist, and make neither them nor a file.

    :raises YouComLedgerUnavailableError: if the database does not answer in time.
    """
    return not database.lacks_file and database.read(_find) is not None


def _make(connection: sa.engine.Connection) -> Any:
    if connection.dialect.name == "postgresql":
        # CREATE TABLE IF NOT EXISTS fails when two processes run it at once.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    found = _find(connection)
    if found is not None:
        return found
    metadata.create_all(connection)
    connection.execute(sa.insert(ledgers), {"schema_version": VERSION, "ledger_id": uuid.uuid4().hex})
    return _find(connection)


def _find(connection: sa.engine.Connection) -> Any:
    """Return the newest row of the table that tells the version, or None if there is no table."""
    if not sa.inspect(connection).has_table(ledgers.name):
        return None
    newest = sa.select(ledgers.c.schema_version, ledgers.c.ledger_id).order_by(
        ledgers.c.schema_version.desc()
    )
    return connection.execute(newest.limit(1)).one()
