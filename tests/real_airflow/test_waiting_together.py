"""Gates on one connection share one poll, and use its current key."""

from __future__ import annotations

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.real_airflow.conftest import hold, minor_version

pytestmark = pytest.mark.real_airflow


def test_many_gates_share_one_poll(airflow: LocalAirflow, you_com: Sandbox) -> None:
    if minor_version(airflow) < (3, 3):
        pytest.skip("below Airflow 3.3 each trigger polls for itself")
    hold(you_com, "youcom_waiting", "3.20")
    airflow.wait_for_dag("crowd")
    requests_before = you_com.request_count
    run_id = airflow.trigger("crowd")

    def checks() -> list[int]:
        logs = [airflow.task_log("crowd", run_id, f"gate_{number}") for number in range(20)]
        return [log.count("(account 4f1c)") for log in logs]

    airflow.wait_until("five checks of each gate", checks, lambda counts: min(counts) >= 5)
    you_com.top_up(100, "youcom_waiting")
    airflow.wait_for_run("crowd", run_id, "success")

    requests = you_com.request_count - requests_before
    late_and_last = 2
    assert requests <= max(checks()) + late_and_last


def test_the_next_check_uses_a_rotated_key(airflow: LocalAirflow, you_com: Sandbox) -> None:
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
    assert "Open: $100.00 is enough" in airflow.task_log("rotated_key", run_id, "deferred")


def wait_until_deferred(airflow: LocalAirflow, dag_id: str, run_id: str, count: int) -> None:
    airflow.wait_until(
        "all gates deferred",
        lambda: list(airflow.task_states(dag_id, run_id).values()),
        lambda states: states == ["deferred"] * count,
    )
