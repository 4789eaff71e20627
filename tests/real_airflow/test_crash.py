"""Gates survive a crash of the component that they wait in, and open once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_youcom.sandbox import Account, Sandbox
from dev.local_airflow import LocalAirflow
from tests.real_airflow.conftest import end_reschedule_intervals, hold

pytestmark = [pytest.mark.real_airflow, pytest.mark.scenario, pytest.mark.on_the_ends]

DAG_ID = "waiting_gates"
KEY = "youcom_waiting"
GATES = [f"{mode}_{number}" for mode in ("reschedule", "deferred", "triggerer") for number in (1, 2)]


@pytest.fixture
def short_account(you_com: Sandbox) -> Account:
    hold(you_com, KEY, "3.20")
    return you_com.accounts[KEY]


@pytest.fixture
def whole_airflow(airflow: LocalAirflow) -> Iterator[LocalAirflow]:
    yield airflow
    airflow.start()


@pytest.mark.parametrize("crashes", ["scheduler", "triggerer"])
def test_gates_that_wait_through_a_crash_open_once(
    crashes: str, whole_airflow: LocalAirflow, you_com: Sandbox, short_account: Account
) -> None:
    airflow = whole_airflow
    airflow.wait_for_dag(DAG_ID)
    run_id = airflow.trigger(DAG_ID)
    airflow.wait_until(
        "all gates wait",
        lambda: [airflow.task_states(DAG_ID, run_id).get((gate, -1)) for gate in GATES],
        lambda states: all(state in ("deferred", "up_for_reschedule") for state in states),
    )

    airflow.kill(crashes)
    you_com.top_up(100, KEY)
    airflow.restart(crashes)
    end_reschedule_intervals(airflow)
    airflow.wait_for_run(DAG_ID, run_id, "success")

    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances"
    tries = {
        each["task_id"]: each["try_number"] for each in airflow.request("GET", path).json()["task_instances"]
    }
    assert {gate: tries[gate] for gate in GATES} == dict.fromkeys(GATES, 1)
    spent_cents = 10_320 - short_account.balance_cents
    assert spent_cents == 100 * len(GATES), "each gate lets through one task that spends a dollar"
