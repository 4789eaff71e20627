"""Explain why Airflow did not return a connection."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComRefusedError,
    YouComUnavailableError,
)


def explain(error: Exception, key_name: str, to_add: str) -> YouComError | None:
    """
    Return the error that says why Airflow did not return a connection; None if it was not Airflow's.

    :param error: what Airflow raised.
    :param key_name: the name of the connection in error messages.
    :param to_add: what to add if there is none.
    """
    if isinstance(error, AirflowNotFoundException):
        return YouComConnectionNotFoundError(f"There is no {key_name} that Airflow can read: add {to_add}.")
    if isinstance(error, PermissionError):
        return YouComRefusedError(
            f"Airflow denied access to {key_name}: ask whoever manages its secrets to allow it."
        )
    if _is_airflows_own(error):
        return YouComUnavailableError(
            f"Airflow could not read {key_name} ({type(error).__name__}); this usually passes, and "
            "if it does not, check Airflow's database, API server and secrets backend."
        )
    return None


def _is_airflows_own(error: Exception) -> bool:
    # By module name: AirflowRuntimeError exists in Airflow 3 only, and the other packages may be missing.
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, (AirflowException, OSError)) or package in ("airflow", "sqlalchemy", "httpx")
