"""The ledger that a connection names."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import closing
from decimal import ROUND_CEILING
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_youcom._off_the_loop import call_airflow
from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComLedgerUnavailableError,
    YouComRefusedError,
)
from airflow_provider_youcom.hooks._lookup import lookup_error
from airflow_provider_youcom.money import format_usd

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_youcom.balance import AccountBalance
    from airflow_provider_youcom.hooks._connection import Settings
    from airflow_provider_youcom.hooks.youcom import YouComHook
    from airflow_provider_youcom.ledger.ledger import Ledger

log = logging.getLogger(__name__)

_TYPES = ("sqlite", "postgres")


class _Opened:
    """The ledgers of this process, each with the text of the connection that it was opened with."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ledgers: dict[str, tuple[str, Ledger]] = {}


_opened = _Opened()


def open_ledger(ledger_conn_id: str, conn_name: str) -> Ledger:
    """
    Return the ledger, the same for each call in this process until its connection changes.

    :param ledger_conn_id: a connection to SQLite or PostgreSQL.
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
        raise (
            lookup_error(error, ledger_conn_id, name, f"add it, or correct ledger_conn_id in {conn_name}")
            or error
        ) from None
    if connection.conn_type not in _TYPES:
        raise YouComRefusedError(
            f"The ledger {ledger_conn_id!r} is a connection of type {connection.conn_type!r}: use one of "
            "type sqlite, for one machine, or postgres."
        )
    return _ledger_of(connection, ledger_conn_id)


async def aopen_ledger(ledger_conn_id: str, conn_name: str) -> Ledger:
    """
    Return the ledger, without blocking the event loop of the triggerer.

    :param ledger_conn_id: a connection to SQLite or PostgreSQL.
    :raises YouComRefusedError: if it cannot be used.
    :raises YouComUnavailableError: if Airflow cannot read the connection now.
    """
    try:
        return await call_airflow(lambda: open_ledger(ledger_conn_id, conn_name))
    except YouComConnectionNotFoundError as error:
        # The worker that deferred has found it, so a secrets backend does not answer now.
        raise YouComLedgerUnavailableError(str(error)) from None


def get_and_store_balance(hook: YouComHook) -> AccountBalance:
    """Return what the account holds, and store it. A ledger that fails is logged, and raises nothing."""
    try:
        ledger = hook.ledger
        note = ledger.note()
    except YouComError as error:
        log.info("The ledger's history of balances is not complete: %s", error)
        return hook.client.get_balance()
    balance = hook.client.get_balance()
    ledger.accounts.store(balance, note)
    return balance


def describe(settings: Settings) -> str:
    """Return what an account holds, and how much of it is reserved, for the "Test" button."""
    with closing(settings.client) as client:
        balance = client.get_balance()
    if not settings.ledger_conn_id:
        return str(balance)
    account = open_ledger(settings.ledger_conn_id, "this connection").note().of(balance.account_id)
    return f"{balance}, {format_usd(account.reserved_usd, ROUND_CEILING)} of it reserved"


def forget_ledgers() -> None:
    """Open each ledger anew at its next use."""
    _opened.__init__()  # type: ignore[misc]  # with a lock that nobody holds


def _ledger_of(connection: Connection, ledger_conn_id: str) -> Ledger:
    from airflow_provider_youcom.hooks._ledger_engine import engine_of
    from airflow_provider_youcom.ledger.ledger import DEFAULT_ANSWER_WITHIN_SECONDS, Ledger

    uri = connection.get_uri()
    with _opened.lock:
        known_uri, known = _opened.ledgers.get(ledger_conn_id, ("", None))
        if known is not None and known_uri == uri:
            return known
        engine = engine_of(connection, ledger_conn_id, DEFAULT_ANSWER_WITHIN_SECONDS)
        ledger = Ledger(engine, ledger_conn_id)
        _opened.ledgers[ledger_conn_id] = (uri, ledger)
    if known is not None:
        # Its password or its server has changed.
        known.close()
    return ledger


# A forked process must not use its parent's database connections.
os.register_at_fork(after_in_child=forget_ledgers)
