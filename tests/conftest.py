"""A private AIRFLOW_HOME, set before anything imports Airflow, and fixtures for all tests."""

from __future__ import annotations

import functools
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_youcom.ledger.ledger import Ledger

# A shell lets what it starts in the background ignore SIGINT, and what tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

_HOME = tempfile.TemporaryDirectory(prefix="airflow-home-")
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "AIRFLOW__"))]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(_HOME.name) / "dags")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"

from airflow_provider_youcom.sandbox import Sandbox  # noqa: E402 - Airflow's home comes first


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests recorded as their summary."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "summary" and report.when == "call":
                terminalreporter.write_line(f"\n{value}")


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A You.com that holds $100 and is the connection ``youcom_default``."""
    with Sandbox(100) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", sandbox.connection())
        yield sandbox


@pytest.fixture
def ledger(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ledger]:
    """The ledger that the connection ``youcom_default`` names: a file, with a settle time of 0."""
    pytest.importorskip("airflow.providers.sqlite", reason="the ledger needs Airflow's sqlite provider")
    from airflow_provider_youcom.hooks import _ledger
    from tests.connections import connect

    connect(monkeypatch, sandbox, ledger_conn_id="ledger", settle_seconds=0)
    file = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(file))
    yield _ledger.open_ledger("ledger", "connection 'youcom_default'")
    _ledger.forget_ledgers()


@pytest.fixture
def task_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What our operators and triggers log, in any version of Airflow."""
    from airflow_provider_youcom.operators.balance import GetBalanceOperator
    from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
    from airflow_provider_youcom.sensors.balance import BalanceSensor
    from airflow_provider_youcom.triggers.balance import BalanceTrigger

    for cls in (GetBalanceOperator, ReleaseCreditsOperator, BalanceSensor, BalanceTrigger):
        monkeypatch.setattr(cls, "log", logging.getLogger("task"))
    caplog.set_level(logging.INFO, logger="task")
    return caplog


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """For tests that reach the recursion limit: a finalizer that runs there fails, and pytest reports it."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """The metadata database in the private AIRFLOW_HOME."""
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, timeout=300
    )
    _share_the_api_of_dag_test()


def _share_the_api_of_dag_test() -> None:
    """Do as Airflow 3.3 does: before, ``dag.test`` makes an API for each task, which takes a second."""
    try:
        from airflow.sdk.execution_time import supervisor
    except ImportError:
        return
    supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)
