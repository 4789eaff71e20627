"""
A pytest plugin for the tests of your DAGs. It has fixtures, and does nothing until a test requests them.

pytest loads it with the package. Airflow and the sandbox are imported when a test needs them.
"""

from __future__ import annotations

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

    The connection is set in the environment. After the test, the sandbox is stopped and the environment is
    restored. The test fails before it starts if Airflow reads the connection from another place.
    """
    from airflow_provider_youcom.sandbox import Sandbox

    with Sandbox() as sandbox:
        monkeypatch.setenv(f"AIRFLOW_CONN_{youcom_conn_id.upper()}", sandbox.connection())
        _require_sandbox(sandbox, youcom_conn_id)
        yield sandbox


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
