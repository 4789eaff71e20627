"""
Ask a PostgreSQL for the code with which it refuses a login.

The drivers that are built on libpq report the server's words alone, which may be in any language. asyncpg,
which comes with Airflow's provider for PostgreSQL, reports the code.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlencode

from airflow_provider_youcom.ledger._database_errors import is_in_unknown_words

# What libpq and asyncpg know under the same name; asyncpg would send others to the server as settings.
_KNOWN = (
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "passfile",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "target_session_attrs",
)


def add_login_code(error: Exception, arguments: Mapping[str, Any], seconds: float) -> None:
    """
    Add the code to the error of a driver that could not connect, if its words do not tell what it means.

    :param error: what the driver has raised; it gets an attribute ``login_sqlstate``.
    :param arguments: what the driver has connected with.
    :param seconds: how long to wait for the code.
    """
    if not is_in_unknown_words(error):
        return
    answer: Future[str | None] = Future()
    # A thread of its own, since this one may run an event loop.
    threading.Thread(target=_ask, args=(answer, arguments, seconds), daemon=True).start()
    error.login_sqlstate = answer.result()  # type: ignore[attr-defined]


def _ask(answer: Future[str | None], arguments: Mapping[str, Any], seconds: float) -> None:
    try:
        answer.set_result(asyncio.run(_code(arguments, seconds)))
    except Exception:  # noqa: BLE001 - it only helps to explain another error
        answer.set_result(None)


async def _code(arguments: Mapping[str, Any], seconds: float) -> str | None:
    import asyncpg  # type: ignore[import-untyped]

    known = {name: arguments[name] for name in _KNOWN if arguments.get(name) is not None}
    try:
        async with asyncio.timeout(seconds):
            connection = await asyncpg.connect(f"postgresql://?{urlencode(known)}", timeout=seconds)
    except asyncpg.PostgresError as error:
        return str(error.sqlstate) if error.sqlstate else None
    await connection.close(timeout=seconds)
    return None
