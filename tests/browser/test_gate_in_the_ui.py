"""A gate in the UI waits, and opens when the account is topped up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow

pytestmark = pytest.mark.browser

DAG_ID = "example_youcom_preflight_gate"
GATE = "enough_credit"


@contextmanager
def new_run(airflow: LocalAirflow) -> Iterator[list[str]]:
    """Yield a list that afterwards holds the ids of the runs that have started."""
    path = f"/dags/{DAG_ID}/dagRuns"

    def run_ids() -> set[str]:
        return {run["dag_run_id"] for run in airflow.request("GET", path).json()["dag_runs"]}

    before = run_ids()
    started: list[str] = []
    yield started
    started += airflow.wait_until("the new run", lambda: run_ids() - before, bool)


def test_a_gate_waits_until_the_account_is_topped_up_and_its_pages_show_it(
    ui: Any, airflow: LocalAirflow, you_com: Sandbox, screenshot: Callable[[str], None]
):
    ui.open_new_connection("youcom_default", "You.com")
    ui.field("Base URL").fill(you_com.base_url)
    ui.field("API key").fill(you_com.api_key)
    # The sandbox posts charges at once, and the report of the example waits this long for them.
    ui.field("Settle time (seconds)").fill("0")
    ui.save()
    airflow.wait_for_dag(DAG_ID)
    with new_run(airflow) as started:
        ui.trigger(DAG_ID)
    (run_id,) = started
    task = (DAG_ID, run_id, GATE)
    account = f"(account {you_com.accounts[you_com.api_key].account_id[:8]}…)."
    waiting = f"Waiting: $21.80 short of $25.00. The balance is $3.20 {account}"

    airflow.wait_for_task(*task, "deferred")
    ui.read_log(*task, waiting)
    screenshot("gate-waiting-log")
    ui.open_details(*task)
    ui.shows_state("Deferred")
    assert ui.link("Top up credits") == "https://you.com/platform"
    screenshot("gate-waiting-link")

    you_com.top_up(50)
    airflow.wait_for_task(*task, "success")
    log = ui.read_log(*task, f"Open: $53.20 is enough for $25.00 {account}")
    assert "WARNING" not in log
    screenshot("gate-open-log")
    ui.open_details(*task)
    ui.shows_state("Success")
    assert ui.link("Top up credits") == "https://you.com/platform"
    screenshot("gate-open-link")

    ui.open_rendered_templates(*task)
    assert ui.rendered("min_usd") == "25"
    screenshot("gate-rendered-template")
    airflow.wait_for_run(DAG_ID, run_id, "success")
