"""The with block of a reservation: no task of it runs without its gate, in any shape of a DAG."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskGroup, setup, task, task_group, teardown

from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
from airflow_provider_youcom.reservations.ledger import Ledger
from airflow_provider_youcom.sandbox import Account, Sandbox
from airflow_provider_youcom.sensors.balance import BalanceSensor
from tests.operators.dags import shapes, trigger_rules
from tests.operators.dags.shapes import CONNECTIONS, SHAPES, START, empty, gate, pay_as

DAGS = Path(shapes.__file__).parent


def build(shape: Callable[[], Any], dag_id: str = "shape") -> DAG:
    """Return the DAG of a shape, as Airflow accepts it."""
    with DAG(dag_id, schedule=None, start_date=START) as dag:
        shape()
    dag.validate_setup_teardown()
    return dag


def label(task_id: str) -> str:
    return task_id.rpartition(".")[2]


@pytest.mark.parametrize("name", SHAPES)
def test_each_task_that_pays_is_behind_its_gate_and_in_front_of_the_release(name: str) -> None:
    with DAG("shape", schedule=None, start_date=START) as dag, warnings.catch_warnings():
        warnings.simplefilter("error")
        paid_for = SHAPES[name]()
    dag.validate_setup_teardown()
    releases = [each for each in dag.tasks if isinstance(each, ReleaseCreditsOperator)]
    pays = {each.task_id for each in dag.tasks if label(each.task_id).startswith("pay")}
    assert pays
    for release in releases:
        expected = set(paid_for[release.gate_task_id]) if paid_for else pays
        behind = dag.get_task(release.gate_task_id).get_flat_relative_ids(upstream=False)
        in_front = release.get_flat_relative_ids(upstream=True)
        assert expected - behind == set(), "not behind the gate"
        assert expected - in_front == set(), "not in front of the release"
        # No loop: Airflow would refuse the DAG.
        assert release.gate_task_id not in behind
        assert release.task_id not in in_front


@pytest.mark.parametrize("name", SHAPES)
def test_a_task_outside_the_block_does_not_wait_for_the_gate(name: str) -> None:
    dag = build(SHAPES[name])
    behind: set[str] = set()
    for each in dag.tasks:
        if isinstance(each, ReleaseCreditsOperator):
            behind |= dag.get_task(each.gate_task_id).get_flat_relative_ids(upstream=False)
    assert not [task_id for task_id in behind if label(task_id).startswith("outside")]


@pytest.fixture
def accounts(
    ledger: Ledger, sandbox: Sandbox, airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Airflow with the DAGs of this folder, and their accounts: one that holds enough, and an empty one."""
    bundle = {
        "name": "blocks",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(DAGS)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(DAGS))
    for name, cents in {"open": 100_000, "shut": 0}.items():
        sandbox.accounts[name] = Account(f"4f1c{name}", Decimal(cents))
        extra = {"ledger_conn_id": "ledger", "settle_seconds": 0}
        connection = {**json.loads(sandbox.connection(name)), "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTIONS[name].upper()}", json.dumps(connection))


def states_of(dag_id: str, file: Path) -> list[tuple[str, str]]:
    """Run a DAG, and return each task with its state; a mapped task has several."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 2.11 to 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(file)
    assert not bag.import_errors
    run = bag.dags[dag_id].test()
    return [(each.task_id, str(each.state)) for each in run.get_task_instances()]


def payments(states: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(task_id, state) for task_id, state in states if label(task_id).startswith("pay")]


def test_nobody_pays_while_a_gate_is_shut_in_any_shape(accounts: None, ledger: Ledger) -> None:
    states = states_of("all_shapes_shut", Path(shapes.__file__))
    paid = payments(states)
    assert {task_id.split(".")[0] for task_id, _ in paid} == set(SHAPES)
    assert [each for each in paid if each[1] != "skipped"] == []
    assert [each for each in states if label(each[0]).startswith("outside") and each[1] != "success"] == []
    assert ledger.history() == []


def test_everybody_pays_behind_open_gates_and_every_gate_is_released(accounts: None, ledger: Ledger) -> None:
    states = states_of("all_shapes_open", Path(shapes.__file__))
    assert [each for each in states if each[1] != "success"] == []
    assert ledger.standing() == []
    opened = {each.gate.task_id for each in ledger.history()}
    assert opened == {task_id for task_id, _ in states if label(task_id).endswith("gate")} - {
        task_id for task_id, _ in states if label(task_id).startswith("release")
    }


def test_a_task_that_would_run_although_its_gate_is_shut_is_warned_of(accounts: None) -> None:
    warned_of = {str(each.message).split("'")[1].split(".")[0] for each in trigger_rules.WARNINGS}
    for policy in ("skip", "fail"):
        states = states_of(f"trigger_rules_{policy}", Path(trigger_rules.__file__))
        assert len(payments(states)) == 4 * len(trigger_rules.RULES)
        runs = {task_id.split(".")[0] for task_id, state in payments(states) if state == "success"}
        assert runs == warned_of
