"""Gates whose threshold or connection is known only at run time, in every mode."""

from __future__ import annotations

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.real_airflow.conftest import hold, minor_version, wait_until_logged

pytestmark = pytest.mark.real_airflow


ON_A_WORKER = "on a worker, although start_from_trigger is on"


@pytest.fixture(autouse=True)
def accounts(you_com: Sandbox) -> None:
    hold(you_com, "youcom_rich", "100")
    hold(you_com, "youcom_richer", "1000")
    hold(you_com, "youcom_poor", "5")


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [("threshold_from_params", {"min_usd": "7.50"}), ("threshold_from_a_task", {})],
)
def test_a_gate_needs_what_its_template_renders_to(
    dag_id: str, conf: dict[str, str], airflow: LocalAirflow
) -> None:
    airflow.wait_for_dag(dag_id)
    run_id = airflow.trigger(dag_id, conf)

    airflow.wait_for_run(dag_id, run_id, "success")

    gates = {task_id for task_id, _ in airflow.task_states(dag_id, run_id)} - {"price"}
    assert len(gates) >= 4
    for gate in gates:
        wait_until_logged("enough for $7.50", airflow, dag_id, run_id, gate)


def test_a_templated_gate_starts_in_the_triggerer_from_airflow_3_3_on(airflow: LocalAirflow) -> None:
    airflow.wait_for_dag("threshold_from_params")
    run_id = airflow.trigger("threshold_from_params")

    airflow.wait_for_run("threshold_from_params", run_id, "success")

    log = airflow.task_log("threshold_from_params", run_id, "triggerer")
    assert (ON_A_WORKER in log) == (minor_version(airflow) < (3, 3))


def test_a_gate_never_opens_if_its_threshold_cannot_be_rendered(airflow: LocalAirflow) -> None:
    airflow.wait_for_dag("threshold_of_nothing")
    run_id = airflow.trigger("threshold_of_nothing")

    airflow.wait_for_run("threshold_of_nothing", run_id, "failed")

    log = airflow.task_log("threshold_of_nothing", run_id, "gate")
    assert "enough for" not in log
    assert "has no attribute 'typo'" in log


def test_each_mapped_gate_checks_its_own_account(airflow: LocalAirflow) -> None:
    airflow.wait_for_dag("mapped_gates")
    run_id = airflow.trigger("mapped_gates")

    airflow.wait_for_run("mapped_gates", run_id, "success")

    logs = [airflow.task_log("mapped_gates", run_id, "gate", map_index=index) for index in range(3)]
    for log, balance in zip(logs, ("$100.00", "$1,000.00", "$5.00"), strict=True):
        assert f"Open: {balance} is enough" in log
        assert ON_A_WORKER in log
