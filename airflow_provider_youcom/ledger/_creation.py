"""Create the ledger's tables at the first use, even in several processes at once; refuse other versions."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger._schema import VERSION, metadata, schema_versions

# Any number that no other application uses for an advisory lock on this database.
_ADVISORY_LOCK = 0x796F75636F6D


def prepare(database: Database) -> None:
    """
    Create the tables if they do not exist.

    :param database: the ledger's database.
    :raises YouComLedgerRefusedError: if they are of another version, or cannot be created.
    :raises YouComLedgerUnavailableError: if the database does not answer in time.
    """
    found = database.read(_found_version)
    if found is None:
        database.switch_to_wal()
        found = database.write(_make)
    if found == VERSION:
        return
    if found < VERSION:
        raise database.refused(
            f"has tables of the older version {found}, where this provider needs {VERSION}: name another "
            "database, or empty this one once nothing is reserved in it"
        )
    raise database.refused(
        f"has tables of the newer version {found}, where this provider knows {VERSION}: upgrade "
        "airflow-provider-youcom here as well"
    )


def _make(connection: sa.engine.Connection) -> int:
    if connection.dialect.name == "postgresql":
        # CREATE TABLE IF NOT EXISTS fails when two processes run it at once.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    found = _found_version(connection)
    if found is not None:
        return found
    metadata.create_all(connection)
    connection.execute(sa.insert(schema_versions), {"schema_version": VERSION})
    return VERSION


def _found_version(connection: sa.engine.Connection) -> int | None:
    if not sa.inspect(connection).has_table(schema_versions.name):
        return None
    version: int = connection.execute(sa.select(sa.func.max(schema_versions.c.schema_version))).scalar_one()
    return version
