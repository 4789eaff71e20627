"""
Airflow Variables, read and saved with every error raised.

``Variable.get`` swallows what a secrets backend or Airflow's API raises, and then says that there is no such
Variable.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from airflow.providers.common.compat.sdk import Variable

log = logging.getLogger(__name__)

_DENIED = (401, 403)


class VariableUnavailableError(Exception):
    """Airflow did not answer, so nothing is known about the Variable; waiting helps."""


class VariableDeniedError(Exception):
    """Airflow does not let this task read or save the Variable; someone must act."""


def read_variable(key: str) -> str | None:
    """
    Return what a Variable holds; None if Airflow says that there is none.

    An API server of Airflow 3 also says so while its database or its secrets backend does not answer.

    :raises VariableUnavailableError: if a secrets backend or Airflow's API fails.
    :raises VariableDeniedError: if this task may not read it.
    """
    for backend in _secrets_backends():
        with _translating(f"read {key}"):
            text: str | None = backend.get_variable(key=key)
        if text is not None:
            return text
    # From Airflow 3.1 on, one of these backends asks the API, and returns None for an error too.
    return None if tasks_have_the_database() else _read_from_api(key)


def read_variable_on_the_server(key: str) -> str | None:
    """
    Return what a Variable holds, in a process that has Airflow's database; None if there is none.

    :raises VariableUnavailableError: if a secrets backend or the database fails.
    """
    from airflow.configuration import ensure_secrets_loaded

    for backend in ensure_secrets_loaded():
        with _translating(f"read {key}"):
            text: str | None = backend.get_variable(key=key)
        if text is not None:
            return text
    return None


def save_variable(key: str, text: str, description: str) -> None:
    """
    Save a Variable, whatever it holds.

    :param description: what users are told about it.
    :raises VariableUnavailableError: if Airflow does not answer. It may save the text all the same, and late.
    :raises VariableDeniedError: if this task may not save it.
    """
    with _translating(f"save {key}"):
        Variable.set(key, text, description)


def insert_variable(key: str, text: str, description: str) -> None:
    """
    Save a Variable, unless there is one with this key. This needs Airflow's database.

    :param description: what users are told about it.
    :raises VariableUnavailableError: if the database does not answer.
    """
    from airflow.models.variable import Variable as VariableRow
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    with _translating(f"save {key}"):
        try:
            with create_session() as session:
                session.add(VariableRow(key=key, val=text, description=description))
        except IntegrityError:
            log.info("Another task has just saved the Variable %s.", key)


def delete_variable(key: str) -> None:
    """Delete a Variable, or leave it if Airflow does not answer."""
    try:
        with _translating(f"delete {key}"):
            Variable.delete(key)
    except (VariableUnavailableError, VariableDeniedError) as error:
        log.warning("The Variable %s is not needed any more: delete it by hand (%s)", key, error)


def is_listed(key: str) -> bool:
    """
    Return whether a Variable is in Airflow's database. False where Airflow cannot tell, below 3.3.

    :raises VariableUnavailableError: if Airflow does not answer.
    """
    if not hasattr(Variable, "keys"):
        return False
    with _translating(f"list {key}"):
        return key in list(Variable.keys(prefix=key))


def tasks_have_the_database() -> bool:
    """Return whether tasks use Airflow's database, as on 2.11, and not its API."""
    return find_spec("airflow.sdk") is None


def _secrets_backends() -> list[Any]:
    if tasks_have_the_database():
        from airflow.configuration import ensure_secrets_loaded

        return list(ensure_secrets_loaded())
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    return list(ensure_secrets_backend_loaded())


def _read_from_api(key: str) -> str | None:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    with _translating(f"read {key}"):
        answer: Any = SUPERVISOR_COMMS.send(GetVariable(key=key))
        if not isinstance(answer, ErrorResponse):
            text: str | None = answer.value
            return text
        if answer.error is ErrorType.VARIABLE_NOT_FOUND:
            return None
        raise AirflowRuntimeError(answer)


@contextmanager
def _translating(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - it differs with the backend, the Airflow version and the reason
        kind = VariableDeniedError if _is_denial(error) else VariableUnavailableError
        raise kind(f"could not {what}: {type(error).__name__}: {error}") from None


def _is_denial(error: Exception) -> bool:
    # From Airflow 3.2 on, a Variable that this task may not read is a PermissionError.
    if isinstance(error, PermissionError):
        return True
    response = getattr(error, "response", None)
    detail = getattr(getattr(error, "error", None), "detail", None) or {}
    return getattr(response, "status_code", detail.get("status_code")) in _DENIED
