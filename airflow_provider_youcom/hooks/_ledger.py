"""The ledger that a connection names."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_youcom._off_the_loop import call_airflow
from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComLedgerUnavailableError,
    YouComRefusedError,
)
from airflow_provider_youcom.hooks._lookup import lookup_error

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_youcom.ledger.ledger import Ledger

_PROVIDERS = {
    "sqlite": "apache-airflow-providers-sqlite",
    "postgres": "apache-airflow-providers-postgres",
}


def open_ledger(ledger_conn_id: str, conn_name: str) -> Ledger:
    """
    Return the ledger, the same for each call in this process.

    :param ledger_conn_id: a connection to SQLite or PostgreSQL.
    :param conn_name: how errors name the You.com connection.
    :raises YouComRefusedError: if none is named, or it cannot be used.
    :raises YouComUnavailableError: if Airflow cannot read the connection now.
    """
    if not ledger_conn_id:
        raise YouComRefusedError(
            f"Reserving credits needs a ledger, and {conn_name} names none: put the id of a connection to "
            'SQLite or PostgreSQL into its field "Ledger connection" (extra ledger_conn_id).'
        )
    try:
        connection = BaseHook.get_connection(ledger_conn_id)
    except Exception as error:  # noqa: BLE001 - raised again
        name = f"connection {ledger_conn_id!r}"
        raise lookup_error(error, name, f"it, or correct ledger_conn_id in {conn_name}") or error from None
    _check_type(connection, ledger_conn_id)
    return _ledger(ledger_conn_id, connection.get_uri())


async def aopen_ledger(ledger_conn_id: str, conn_name: str) -> Ledger:
    """
    Return the ledger, without blocking the event loop of the triggerer.

    :param ledger_conn_id: a connection to SQLite or PostgreSQL.
    :param conn_name: how errors name the You.com connection.
    :raises YouComRefusedError: if it cannot be used.
    :raises YouComUnavailableError: if Airflow cannot read the connection now.
    """
    try:
        return await call_airflow(lambda: open_ledger(ledger_conn_id, conn_name))
    except YouComConnectionNotFoundError as error:
        # The worker that deferred has found it, so a secrets backend does not answer now.
        raise YouComLedgerUnavailableError(str(error)) from None


def _check_type(connection: Connection, ledger_conn_id: str) -> None:
    if connection.conn_type not in _PROVIDERS:
        raise YouComRefusedError(
            f"The ledger {ledger_conn_id!r} is a connection of type {connection.conn_type!r}: use one of "
            "type sqlite, for one machine, or postgres."
        )


@cache
def _ledger(ledger_conn_id: str, uri: str) -> Ledger:
    from airflow_provider_youcom.ledger.ledger import Ledger

    connection = BaseHook.get_connection(ledger_conn_id)
    try:
        engine = connection.get_hook().get_sqlalchemy_engine()
    except Exception as error:  # noqa: BLE001 - whatever a provider or a driver raises
        raise YouComRefusedError(
            f"The ledger {ledger_conn_id!r} cannot be opened ({type(error).__name__}): install "
            f"{_PROVIDERS[str(connection.conn_type)]} and its driver here, and check the connection."
        ) from None
    return Ledger(engine, ledger_conn_id)


# A forked process must not use its parent's database connections.
os.register_at_fork(after_in_child=_ledger.cache_clear)
