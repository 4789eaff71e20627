"""``dag.test``, ``airflow dags test`` and ``airflow tasks test`` end a gate as a triggerer does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator

from airflow_provider_youcom.sandbox import Account, Fault, Sandbox

# Its "tasks test" runs the trigger to its end, and does not resume the task.
AIRFLOW_3_0 = airflow.__version__.startswith("3.0.")
AIRFLOW_2 = BaseOperator.__module__.startswith("airflow.models")
DAGS = Path(__file__).parent / "dags"
BUNDLE = {
    "name": "shut_gates",
    "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
    "kwargs": {"path": str(DAGS)},
}
SETTINGS = {
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([BUNDLE]),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
}
STATES = {
    "timeout": "failed",
    "soft_fail": "skipped",
    "never_fail": "skipped",
    "ended_in_the_triggerer": "failed",
    "started_in_the_triggerer": "failed",
}
COMMANDS = {
    "dags test": ["dags", "test", "shut_gate"],
    "tasks test": ["tasks", "test", "shut_gate", "gate", "2026-01-01"],
    "tasks test, execution_timeout": [
        "tasks",
        "test",
        "shut_gate_with_execution_timeout",
        "gate",
        "2026-01-01",
    ],
}
# One process runs them all, since Airflow 3 takes ten seconds to prepare for its first task.
RUN_THE_COMMANDS = """
import json, sys, traceback
from airflow.__main__ import main

for name, arguments in json.loads(sys.argv[1]).items():
    print(f"=== {name}", flush=True)
    sys.argv = ["airflow", *arguments]
    try:
        main()
    except (Exception, SystemExit):
        traceback.print_exc()
"""
# Airflow drops the timeout of a deferral here. Without its own timeout, a gate would wait forever.
pytestmark = [pytest.mark.real_airflow, pytest.mark.scenario, pytest.mark.timeout(1200)]


@pytest.fixture(autouse=True)
def airflow(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


def parse(dag_id: str) -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 2.11 to 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(DAGS)
    assert not bag.import_errors
    return bag.dags[dag_id]


def states_of(dag_id: str, **conf: Any) -> dict[str, str]:
    run = parse(dag_id).test(run_conf=conf)
    return {task.task_id: str(task.state) for task in run.get_task_instances()}


@pytest.fixture(scope="module")
def said(airflow_database: None) -> dict[str, str]:
    """What each of the commands writes."""
    wanted = {name: arguments for name, arguments in COMMANDS.items() if not (AIRFLOW_2 and "_" in name)}
    with Sandbox(100) as sandbox:
        done = subprocess.run(
            [sys.executable, "-c", RUN_THE_COMMANDS, json.dumps(wanted)],
            env={**os.environ, **SETTINGS, "AIRFLOW_CONN_YOUCOM_DEFAULT": sandbox.connection()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1100,
            check=True,
        )
    parts = re.split(r"^=== (.+)\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_dag_test_ends_a_gate_that_stays_shut(sandbox: Sandbox):
    assert states_of("shut_gates") == STATES


@pytest.mark.on_the_ends
def test_airflow_dags_test_ends_a_gate_that_stays_shut(said: dict[str, str]):
    assert "The timeout of 1 s is over. Last seen: $" in said["dags test"]


def test_airflow_tasks_test_ends_a_gate_that_stays_shut(said: dict[str, str]):
    over = "Trigger completed" if AIRFLOW_3_0 else "The timeout of 1 s is over. Last seen: $"
    assert over in said["tasks test"]


@pytest.mark.on_the_ends
def test_dag_test_ends_a_gate_at_its_execution_timeout(sandbox: Sandbox):
    if AIRFLOW_2:
        # Its dag.test marks any task that takes too long as failed, and then stops itself.
        with pytest.raises(AirflowTaskTimeout, match="The execution_timeout of 5 s is over. Last seen: "):
            states_of("shut_gate_with_execution_timeout")
    else:
        assert states_of("shut_gate_with_execution_timeout") == {"gate": "failed"}


@pytest.mark.on_the_ends
@pytest.mark.skipif(AIRFLOW_2, reason="its tasks test defers no task that has an execution_timeout")
def test_airflow_tasks_test_ends_a_gate_at_its_execution_timeout(said: dict[str, str]):
    over = "Trigger completed" if AIRFLOW_3_0 else "The execution_timeout of 5 s is over. Last seen: "
    assert over in said["tasks test, execution_timeout"]


def test_a_balance_that_a_task_returns_fails_that_task(sandbox: Sandbox):
    assert states_of("balance_as_xcom") == {"return_the_balance": "failed"}


def test_a_native_template_may_turn_a_connection_id_or_a_threshold_into_a_number(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    short = {"data": {"type": "account", "id": "4f1c", "attributes": {"balance": 320}}}
    for conn_id in ("1001", "1002", "1003", "1004"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id}", sandbox.connection(conn_id))
        sandbox.accounts[conn_id] = Account("4f1c", Decimal(10_000))
        # Each gate has to wait, and the gates that can defer do so.
        sandbox.inject(Fault(body=json.dumps(short)), 1, conn_id)
    assert set(states_of("native_templates").values()) == {"success"}
