"""The examples run in a whole Airflow, unchanged; those with a watcher are in ``test_watchers``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.examples import EXAMPLES, NEED_AIRFLOW_3

pytestmark = [pytest.mark.real_airflow, pytest.mark.scenario]

DAG_IDS = [file.stem for file in EXAMPLES if file not in NEED_AIRFLOW_3]
LEDGER = "ledger_of_the_examples"


@pytest.fixture
def account(airflow: LocalAirflow, tmp_path: Path) -> Iterator[Sandbox]:
    """The account of the connection ``youcom_default``; the other connections have their own."""
    with Sandbox(100, accounts={"research-key": 20, "support-key": 3}) as sandbox:
        extra = json.dumps({"ledger_conn_id": LEDGER, "settle_seconds": 0})
        connections = {
            "youcom_default": {**json.loads(sandbox.connection()), "extra": extra},
            "youcom_research": json.loads(sandbox.connection("research-key")),
            "youcom_support": json.loads(sandbox.connection("support-key")),
            LEDGER: {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")},
        }
        for conn_id, connection in connections.items():
            airflow.add_connection(conn_id, connection)
        yield sandbox
        for conn_id in connections:
            airflow.request("DELETE", f"/connections/{conn_id}")


def test_each_example_succeeds_on_this_airflow(airflow: LocalAirflow, account: Sandbox) -> None:
    for dag_id in DAG_IDS:
        airflow.wait_for_dag(dag_id)
    run_ids = {dag_id: airflow.trigger(dag_id) for dag_id in DAG_IDS}
    for dag_id, run_id in run_ids.items():
        airflow.wait_for_run(dag_id, run_id, "success")
    assert account.balance_usd() < 100, "the examples have paid for nothing"
