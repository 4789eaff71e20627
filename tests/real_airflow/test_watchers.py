"""A watcher fires once for each crossing, through a crash too, and ends with its DAG."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.real_airflow.conftest import minor_version

pytestmark = pytest.mark.real_airflow

DAG_ID = "watched_account"


class WatchedAccount:
    """An account of its own, whose checks are those of one watcher."""

    def __init__(self, airflow: LocalAirflow, sandbox: Sandbox) -> None:
        self._airflow = airflow
        self._sandbox = sandbox

    def holds(self, usd: object) -> None:
        """Let the account hold this much, and wait until the watcher knows."""
        self._sandbox.set_balance(usd)
        self.is_checked(2)

    def is_checked(self, times: int) -> None:
        wanted = self._sandbox.request_count + times
        self._airflow.wait_until("checks", lambda: self._sandbox.request_count, lambda seen: seen >= wanted)

    def is_left_alone(self) -> None:
        """Wait until nobody has checked it for a while."""
        self._last = (self._sandbox.request_count, time.monotonic())
        self._airflow.wait_until("the end of the checks", self._quiet_seconds, lambda seconds: seconds > 5)

    def _quiet_seconds(self) -> float:
        if self._sandbox.request_count != self._last[0]:
            self._last = (self._sandbox.request_count, time.monotonic())
        return time.monotonic() - self._last[1]


@pytest.fixture
def account(airflow: LocalAirflow) -> Iterator[WatchedAccount]:
    if minor_version(airflow) < (3, 0):
        pytest.skip("Airflow 2 has no asset watchers")
    with Sandbox(10) as sandbox:
        connection = json.loads(sandbox.connection())
        airflow.request("POST", "/connections", json={"connection_id": "youcom_watched", **connection})
        yield WatchedAccount(airflow, sandbox)
    airflow.start()


def test_a_watcher_fires_once_for_each_crossing_through_a_crash_and_ends_with_its_dag(
    airflow: LocalAirflow, account: WatchedAccount
) -> None:
    airflow.wait_for_dag(DAG_ID)
    account.is_checked(1)

    account.holds(4)
    for usd in ("5.10", "4.90") * 5:
        account.holds(usd)
    (first,) = wait_for_events(airflow, 1)
    account.holds(10)
    account.holds(3)
    _, second = wait_for_events(airflow, 2)
    account.is_checked(1)

    airflow.kill("triggerer")
    airflow.restart("triggerer")
    account.is_checked(3)
    # Below Airflow 3.3 a new triggerer does not know what the last one fired.
    repeated = 0 if minor_version(airflow) >= (3, 3) else 1
    account.holds(10)
    account.holds(2)
    *_, last = wait_for_events(airflow, 3 + repeated)

    balances = [event["balance"]["balance_usd"] for event in (first, second, last)]
    assert balances == [4, 3, 2]
    assert first["happened_at"] < second["happened_at"] < last["happened_at"]

    airflow.request("PATCH", f"/dags/{DAG_ID}", json={"is_paused": True})
    airflow.wait_until("no trigger", lambda: count_triggers(airflow), lambda count: count == 0)
    account.is_left_alone()
    assert len(wait_for_events(airflow, 3 + repeated)) == 3 + repeated


def wait_for_events(airflow: LocalAirflow, count: int) -> list[dict[str, Any]]:
    """Wait for as many runs as events, and return what they were told."""
    runs = airflow.wait_until(
        f"{count} runs",
        lambda: airflow.request("GET", f"/dags/{DAG_ID}/dagRuns").json()["dag_runs"],
        lambda runs: len(runs) >= count and all(run["state"] == "success" for run in runs),
    )
    told = [airflow.xcom(DAG_ID, run["dag_run_id"], "note") for run in runs]
    assert [len(events) for events in told] == [1] * count
    return sorted((events[0] for events in told), key=lambda event: event["happened_at"])


def count_triggers(airflow: LocalAirflow) -> int:
    engine = create_engine(airflow.database_url)
    query = text("select count(*) from trigger where classpath like '%BalanceEventTrigger'")
    try:
        with engine.connect() as connection:
            return connection.execute(query).scalar_one()
    finally:
        engine.dispose()
