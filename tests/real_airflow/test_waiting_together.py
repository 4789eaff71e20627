"""Gates on one connection share what they see of it: one poll, and the key of today."""

from __future__ import annotations

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.real_airflow.conftest import hold, minor_version

pytestmark = pytest.mark.real_airflow


def test_a_crowd_of_gates_costs_one_poll_a_look(airflow: LocalAirflow, you_com: Sandbox) -> None:
    if minor_version(airflow) < (3, 3):
        pytest.skip("below Airflow 3.3 every trigger polls for itself")
    hold(you_com, "youcom_waiting", "3.20")
    airflow.wait_for_dag("crowd")
    asked_before = you_com.request_count
    run_id = airflow.trigger("crowd")
    wait_until_deferred(airflow, "crowd", run_id, 20)
    all_wait = you_com.request_count
    airflow.wait_until("five more looks", lambda: you_com.request_count, lambda count: count >= all_wait + 5)
    you_com.top_up(100, "youcom_waiting")
    airflow.wait_for_run("crowd", run_id, "success")

    asked = you_com.request_count - asked_before
    looks = [
        airflow.task_log("crowd", run_id, f"gate_{number}").count("You.com account 4f1c holds")
        for number in range(20)
    ]
    assert min(looks) >= 5
    late_and_last = 2
    assert asked <= max(looks) + late_and_last


def test_a_key_that_is_rotated_counts_from_the_next_look_on(airflow: LocalAirflow, you_com: Sandbox) -> None:
    hold(you_com, "old-key", "3.20")
    hold(you_com, "new-key", "100")
    connection = {
        "connection_id": "youcom_rotated",
        "conn_type": "youcom",
        "host": you_com.base_url,
        "password": "old-key",
    }
    airflow.request("POST", "/connections", json=connection)
    airflow.wait_for_dag("rotated_key")
    run_id = airflow.trigger("rotated_key")
    wait_until_deferred(airflow, "rotated_key", run_id, 2)

    airflow.request(
        "PATCH",
        "/connections/youcom_rotated",
        params={"update_mask": "password"},
        json={**connection, "password": "new-key"},
    )

    airflow.wait_for_run("rotated_key", run_id, "success")
    assert "holds $100.00, enough" in airflow.task_log("rotated_key", run_id, "deferred")


def wait_until_deferred(airflow: LocalAirflow, dag_id: str, run_id: str, count: int) -> None:
    airflow.wait_until(
        "all gates deferred",
        lambda: list(airflow.task_states(dag_id, run_id).values()),
        lambda states: states == ["deferred"] * count,
        timeout=300,
    )
