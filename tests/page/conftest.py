"""Airflow's own API server with the page in it, in this process, and a ledger with something to show."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_youcom._plugin import YouComPlugin
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Reservation
from airflow_provider_youcom.sandbox import Sandbox

DEPLOYMENT = "this-deployment"
READABLE_DAG = "nightly_research"
DAGS = (READABLE_DAG, "secret_dag", "<b>bold</b>")


class Browser:
    """
    Asks Airflow's API server as one user.

    :param client: a client of the server.
    :param token: the user's token; empty for nobody.
    """

    def __init__(self, client: Any, token: str) -> None:
        self._client = client
        self._headers = {"Cookie": f"_token={token}"} if token else {}

    def ask(self, path: str = "", method: str = "GET") -> Any:
        """Return the answer to a request for a path below the page."""
        return self._client.request(method, f"/youcom/{path}", headers=self._headers, follow_redirects=False)

    def page(self) -> str:
        """Return the page."""
        answer = self.ask()
        assert answer.status_code == 200, answer.text
        return str(answer.text)


@pytest.fixture(scope="session")
def api_server(airflow_database: None) -> Iterator[Any]:
    """A client of Airflow's API server, whose auth manager restricts a user."""
    if not YouComPlugin.fastapi_apps:
        pytest.skip("the page needs Airflow 3.1.1 or newer")
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from starlette.testclient import TestClient

    manager = "tests.page.restricting_auth_manager.RestrictingAuthManager"
    with _environment(AIRFLOW__CORE__AUTH_MANAGER=manager):
        _add_dags()
        with TestClient(create_app(apps="core"), raise_server_exceptions=False) as client:
            yield client
        purge_cached_app()


@pytest.fixture
def ledgers(api_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the page knows of the ledgers: nothing yet."""
    from airflow_provider_youcom._page import app
    from airflow_provider_youcom._page.ledgers import Ledgers

    monkeypatch.setenv("AIRFLOW_VAR_YOUCOM_DEPLOYMENT_ID", DEPLOYMENT)
    # On a busy machine, a ledger takes seconds to answer.
    wait_for(300.0, monkeypatch)
    fresh = Ledgers()
    monkeypatch.setattr(app, "_ledgers", fresh)
    return fresh


def wait_for(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let viewers wait for a ledger for so long."""
    from airflow_provider_youcom._page import ledgers, shared_read

    for module in (ledgers, shared_read):
        monkeypatch.setattr(module, "PATIENCE", seconds)


def _browser(api_server: Any, username: str, role: str | None) -> Browser:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    user = SimpleAuthManagerUser(username=username, role=role)
    return Browser(api_server, get_auth_manager().generate_jwt(user))


@pytest.fixture
def viewer(api_server: Any, ledgers: Any) -> Browser:
    """A user who may see everything."""
    return _browser(api_server, "viewer", "viewer")


@pytest.fixture
def operator(api_server: Any, ledgers: Any) -> Browser:
    """A user who may read connections, too."""
    return _browser(api_server, "operator", "op")


@pytest.fixture
def restricted(api_server: Any, ledgers: Any) -> Browser:
    """A user who may read one DAG."""
    return _browser(api_server, "restricted", "viewer")


@pytest.fixture
def without_runs(api_server: Any, ledgers: Any) -> Browser:
    """A user who may read every DAG, and no runs."""
    return _browser(api_server, "without_runs", "viewer")


@pytest.fixture
def roleless(api_server: Any, ledgers: Any) -> Browser:
    """A user without a role."""
    return _browser(api_server, "roleless", None)


@pytest.fixture
def nobody(api_server: Any, ledgers: Any) -> Browser:
    """Somebody who is not signed in."""
    return Browser(api_server, "")


def hold(
    ledger: Ledger,
    sandbox: Sandbox,
    usd: int,
    dag_id: str = READABLE_DAG,
    run_id: str = "scheduled__2026-11-27T02:00:00+00:00",
    deployment: str = DEPLOYMENT,
) -> Reservation:
    """Let a run hold credits."""
    from airflow_provider_youcom.hooks.youcom import YouComHook

    holder = Holder(deployment, dag_id, run_id, "enough_credit")
    claim = Claim(Attempt(holder, holder.key, order="1", try_number=1), Decimal(usd))
    reservation = ledger.reserve(claim, YouComHook().get_balance).reservation
    assert reservation is not None
    return reservation


def wait(
    ledger: Ledger,
    sandbox: Sandbox,
    usd: int,
    dag_id: str = READABLE_DAG,
    run_id: str = "scheduled__2026-11-27T03:00:00+00:00",
    deployment: str = DEPLOYMENT,
) -> None:
    """Let a gate wait in line."""
    holder = Holder(deployment, dag_id, run_id, "enough_credit")
    claim = Claim(Attempt(holder, holder.key, order="1", try_number=1), Decimal(usd))
    account_id = sandbox.accounts[sandbox.api_key].account_id
    assert ledger.line.join(claim, account_id, pause_seconds=3600)


def name_ledger(monkeypatch: pytest.MonkeyPatch, conn_id: str, file: Path) -> None:
    """Add a connection to a ledger in a file."""
    connection = {"conn_type": "sqlite", "host": str(file)}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _add_dags() -> None:
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.merge(DagBundleModel(name="dags-folder"))
        session.flush()
        for dag_id in DAGS:
            session.merge(DagModel(dag_id=dag_id, bundle_name="dags-folder", fileloc="/dags/dag.py"))
