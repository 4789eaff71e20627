"""
A pytest plugin for the tests of your DAGs. It has fixtures, and does nothing until a test requests them.

pytest loads it with the package. Airflow and the sandbox are imported when a test needs them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_youcom.sandbox import Sandbox


@pytest.fixture
def youcom_conn_id() -> str:
    """Return the connection that ``youcom_sandbox`` sets. Override this fixture to name another one."""
    return "youcom_default"


@pytest.fixture
def youcom_sandbox(youcom_conn_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """
    Start a You.com sandbox that holds $100, and make it the connection ``youcom_default``.

    The connection is set in the environment, and stays there if the test undoes its ``monkeypatch``. After
    the test, the sandbox is stopped and the environment is restored. The test fails before it starts if
    Airflow reads the connection from another place.
    """
    from airflow_provider_youcom.sandbox import Sandbox

    name = f"AIRFLOW_CONN_{youcom_conn_id.upper()}"
    with Sandbox() as sandbox, _Variable(name, sandbox.connection(), monkeypatch):
        _require_sandbox(sandbox, youcom_conn_id)
        yield sandbox


class _Variable:
    """
    A variable of the environment that the test's ``monkeypatch`` does not undo.

    A test shares its ``monkeypatch`` with its fixtures. ``undo`` in the test would bring back a connection to
    the real You.com, even one that an earlier fixture had replaced. At the end, pytest undoes it after this
    variable is restored: a value that the test has replaced would come back, although its sandbox is gone.
    """

    def __init__(self, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._name = name
        self._value = value
        self._value_outside: str | None = None
        self._is_set = False
        self._undo = monkeypatch.undo
        monkeypatch.undo = self._undo_the_rest  # type: ignore[method-assign]

    def __enter__(self) -> None:
        self._value_outside = os.environ.get(self._name)
        self._is_set = True
        self._write()

    def __exit__(self, *_: object) -> None:
        self._is_set = False
        self._write()

    def _undo_the_rest(self) -> None:
        self._undo()
        found = os.environ.get(self._name)
        if found != self._value:
            self._value_outside = found
        self._write()

    def _write(self) -> None:
        value = self._value if self._is_set else self._value_outside
        if value is None:
            os.environ.pop(self._name, None)
        else:
            os.environ[self._name] = value


def _require_sandbox(sandbox: Sandbox, conn_id: str) -> None:
    # A secrets backend goes before the environment, and a test must not spend real credits.
    if any(host != sandbox.base_url for host in _hosts_that_airflow_reads(conn_id)):
        pytest.fail(
            f"Airflow does not read connection {conn_id!r} from the environment, where youcom_sandbox set "
            "it: run the tests without a secrets backend that has this connection ([secrets] backend or "
            "[workers] secrets_backend), so that they cannot spend real credits.",
            pytrace=False,
        )


def _hosts_that_airflow_reads(conn_id: str) -> Iterator[str | None]:
    from airflow.providers.common.compat.sdk import BaseHook, Connection

    yield BaseHook.get_connection(conn_id).host
    # On Airflow 3.0, a hook asks [workers] secrets_backend inside a task only; this asks it here.
    if hasattr(Connection, "get"):
        yield Connection.get(conn_id).host
