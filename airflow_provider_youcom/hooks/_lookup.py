"""Wait for a connection, and explain why Airflow did not return it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from airflow_provider_youcom._connection_form import CONNECTION_TYPE_NAME
from airflow_provider_youcom._off_the_loop import call_airflow
from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComRefusedError,
    YouComUnavailableError,
)
from airflow_provider_youcom.hooks._written import problem_in_environment

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseHook, Connection

Result = TypeVar("Result")

# The longest that a trigger waits for a connection.
CONNECTION_SECONDS = 60.0
_ADD_ONE = (
    f"add one of type {CONNECTION_TYPE_NAME} with your API key as its password, or, if there is one, check "
    "how it is written (in a URI, percent-encode the key; in JSON, put it in quotation marks)"
)


def checked_conn_id(conn_id: object) -> str:
    """
    Return the id of a connection.

    :param conn_id: as a DAG's author wrote it, or as a template has rendered it.
    :raises YouComRefusedError: if it is not a name.
    """
    if isinstance(conn_id, bool) or not isinstance(conn_id, (str, int)):
        raise YouComRefusedError(
            f"youcom_conn_id={conn_id!r} is {type(conn_id).__name__}, not the name of a connection: "
            "use a str, or a template of one (render_template_as_native_obj may change its type)."
        )
    # An int is what a native template makes of a name such as "1234".
    return str(conn_id)


async def aread_connection(hook: BaseHook, conn_id: str) -> Connection:
    """
    Return a connection, without blocking the event loop.

    :param hook: the hook that needs it.
    :param conn_id: the connection.
    """
    if _airflow_answers_blocking_calls_only():
        return await call_airflow(lambda: hook.get_connection(conn_id))
    return await get_async_connection(conn_id, hook=hook)


async def wait_for_connection(reading: Coroutine[Any, Any, Result], conn_name: str) -> Result:
    """
    Return a connection that is being read, without interrupting that if the trigger is cancelled.

    The triggerer of Airflow 3.0 and 3.1 dies if a trigger is cancelled between a request to the supervisor
    and the response.

    :param reading: reads the connection.
    :param conn_name: how errors name the connection.
    :raises YouComUnavailableError: if it takes too long.
    """
    try:
        async with asyncio.timeout(CONNECTION_SECONDS):
            return await asyncio.shield(reading)
    except TimeoutError:
        raise YouComUnavailableError(
            f"Airflow did not return {conn_name} within {CONNECTION_SECONDS:g} s; this usually passes, and "
            "if it does not, check Airflow's API server and secrets backend."
        ) from None


def lookup_error(
    error: Exception, conn_id: object, conn_name: str, remedy: str | None = None
) -> YouComError | None:
    """
    Return the error that says why Airflow did not return a connection; None if Airflow did not raise it.

    :param error: what Airflow raised.
    :param conn_id: the connection.
    :param conn_name: how errors name the connection.
    :param remedy: what to do if there is none. Default: add a connection to You.com.
    """
    if isinstance(error, AirflowNotFoundException):
        remedy = remedy or problem_in_environment(conn_id) or _ADD_ONE
        return YouComConnectionNotFoundError(f"There is no {conn_name} that Airflow can read: {remedy}.")
    if isinstance(error, PermissionError):
        return YouComRefusedError(
            f"Airflow denied access to {conn_name}: ask whoever manages its secrets to allow it."
        )
    if _is_airflows_own(error):
        return YouComUnavailableError(
            f"Airflow could not read {conn_name} ({type(error).__name__}); this usually passes, and "
            "if it does not, check Airflow's database, API server and secrets backend."
        )
    return None


def _airflow_answers_blocking_calls_only() -> bool:
    # So does what dag.test of Airflow 3.1 to 3.3 puts in place of the supervisor. Airflow takes the error of
    # its missing asend for a connection that does not exist.
    task_runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return supervisor is not None and not hasattr(supervisor, "asend")


def _is_airflows_own(error: Exception) -> bool:
    # By module name: AirflowRuntimeError exists in Airflow 3 only, and the other packages may be missing.
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, (AirflowException, OSError)) or package in ("airflow", "sqlalchemy", "httpx")
