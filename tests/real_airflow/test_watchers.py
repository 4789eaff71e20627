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

pytestmark = [pytest.mark.real_airflow, pytest.mark.scenario]

DAG_ID = "watched_account"
WARNING = "example_youcom_low_credits"
CRITICAL = f"{WARNING}_critical"
BACKLOG = "example_youcom_backlog"
ALERT_ONCE = "example_youcom_alert_once"
ALERT_ONCE_CRITICAL = f"{ALERT_ONCE}_critical"
RUNNING = "triggerer_id is not null"


class WatchedAccount:
    """An account that only one watcher checks."""

    def __init__(self, airflow: LocalAirflow, sandbox: Sandbox) -> None:
        self._airflow = airflow
        self._sandbox = sandbox

    def holds(self, usd: object) -> None:
        """Set the balance, and wait until the watcher has seen it."""
        self._sandbox.set_balance(usd)
        self.is_checked(2)

    def is_checked(self, times: int) -> None:
        wanted = self._sandbox.request_count + times
        self._airflow.wait_until("checks", lambda: self._sandbox.request_count, lambda seen: seen >= wanted)

    def is_left_alone(self) -> None:
        """Wait until nobody has checked the account for a while."""
        self._last = (self._sandbox.request_count, time.monotonic())
        self._airflow.wait_until("the end of the checks", self._quiet_seconds, lambda seconds: seconds > 3)

    def _quiet_seconds(self) -> float:
        if self._sandbox.request_count != self._last[0]:
            self._last = (self._sandbox.request_count, time.monotonic())
        return time.monotonic() - self._last[1]


@pytest.fixture(scope="module")
def accounts(airflow: LocalAirflow) -> Iterator[dict[str, Sandbox]]:
    """One You.com for each connection that is watched, with all watchers running."""
    if minor_version(airflow) < (3, 0):
        pytest.skip("Airflow 2 has no asset watchers")
    with Sandbox(10) as watched, Sandbox("3.20") as of_examples:
        accounts = {"youcom_watched": watched, "youcom_default": of_examples}
        for conn_id, sandbox in accounts.items():
            airflow.add_connection(conn_id, json.loads(sandbox.connection()))
        for dag_id in (DAG_ID, WARNING, CRITICAL, BACKLOG):
            airflow.wait_for_dag(dag_id)
        # The file of the warnings has both of them.
        for dag_id in (DAG_ID, WARNING, BACKLOG):
            airflow.parse_again(dag_id)
        yield accounts
        for dag_id in (WARNING, CRITICAL, BACKLOG, ALERT_ONCE, ALERT_ONCE_CRITICAL):
            airflow.request("PATCH", f"/dags/{dag_id}", json={"is_paused": True})
        for conn_id in accounts:
            airflow.request("DELETE", f"/connections/{conn_id}")


@pytest.fixture
def whole_airflow(airflow: LocalAirflow) -> Iterator[LocalAirflow]:
    yield airflow
    airflow.start()


@pytest.mark.on_the_ends
def test_the_examples_warn_of_low_credits_and_work_off_the_backlog(
    airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    account = accounts["youcom_default"]
    backlog = {"key": "youcom_backlog", "value": json.dumps(["One?", "Two?"])}
    airflow.request("POST", "/variables", json=backlog)

    (warning,) = wait_for_results(airflow, WARNING, "alert", 1)
    (critical,) = wait_for_results(airflow, CRITICAL, "alert", 1)
    # The last watcher fires only if it has seen a balance that is too low.
    airflow.wait_until("all watchers", lambda: count_triggers(airflow, RUNNING), lambda count: count == 4)
    polls = 1 if minor_version(airflow) >= (3, 3) else 3
    WatchedAccount(airflow, account).is_checked(2 * polls)
    account.set_balance(50)
    (answers,) = wait_for_results(airflow, BACKLOG, "work_off", 1)

    holds = f"You.com account {account.accounts['sandbox-key'].account_id} holds $3.20 and has fallen below"
    assert warning == [f"Warning: {holds} the line of $25.00."]
    assert critical == [f"Critical: {holds} the line of $5.00."]
    assert answers == ["All there is to know about: One?", "All there is to know about: Two?"]
    assert json.loads(airflow.request("GET", "/variables/youcom_backlog").json()["value"]) == []


@pytest.mark.on_the_ends
def test_two_lines_that_are_crossed_at_once_send_one_alert_each_also_when_the_event_is_repeated(
    airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    account = accounts["youcom_default"]
    account.set_balance(30)
    for dag_id in (ALERT_ONCE, ALERT_ONCE_CRITICAL):
        airflow.wait_for_dag(dag_id)
    # The file has both of them.
    airflow.parse_again(ALERT_ONCE)
    airflow.wait_until("all watchers", lambda: count_triggers(airflow, RUNNING), lambda count: count == 6)
    polls = 1 if minor_version(airflow) >= (3, 3) else 5
    WatchedAccount(airflow, account).is_checked(2 * polls)

    account.set_balance(3)
    (warning,) = wait_for_results(airflow, ALERT_ONCE, "alert", 1)
    (critical,) = wait_for_results(airflow, ALERT_ONCE_CRITICAL, "alert", 1)
    holds = f"You.com account {account.accounts['sandbox-key'].account_id} holds $3.00 and has fallen below"
    assert warning == [f"Warning: {holds} the line of $25.00."]
    assert critical == [f"Critical: {holds} the line of $5.00."]

    # As a triggerer that is killed after Airflow has saved its events.
    events = airflow.request("GET", "/assets/events", params={"limit": 100}).json()["asset_events"]
    of_alerts = [event for event in events if event["name"].startswith(ALERT_ONCE)]
    assert len(of_alerts) == 2
    for event in of_alerts:
        repeated = {"asset_id": event["asset_id"], "extra": {"payload": event["extra"]["payload"]}}
        airflow.request("POST", "/assets/events", json=repeated)
    assert sorted(wait_for_results(airflow, ALERT_ONCE, "alert", 2)) == [[], warning]
    assert sorted(wait_for_results(airflow, ALERT_ONCE_CRITICAL, "alert", 2)) == [[], critical]


def test_a_watcher_fires_once_for_each_crossing_through_a_crash_and_ends_with_its_dag(
    whole_airflow: LocalAirflow, accounts: dict[str, Sandbox]
) -> None:
    airflow = whole_airflow
    account = WatchedAccount(airflow, accounts["youcom_watched"])
    account.is_checked(1)

    account.holds(4)
    for usd in ("5.10", "4.90", "5.20", "4.80", "5"):
        account.holds(usd)
    (first,) = wait_for_events(airflow, 1)
    account.holds(10)
    account.holds(3)
    _, second = wait_for_events(airflow, 2)
    account.is_checked(1)

    airflow.kill("triggerer")
    airflow.restart("triggerer")
    account.is_checked(3)
    # Before Airflow 3.3, a new triggerer does not know which events the last one fired.
    repeated = 0 if minor_version(airflow) >= (3, 3) else 1
    account.holds(10)
    account.holds(2)
    *_, last = wait_for_events(airflow, 3 + repeated)

    balances = [event["balance"]["balance_usd"] for event in (first, second, last)]
    assert balances == [4, 3, 2]
    assert first["happened_at"] < second["happened_at"] < last["happened_at"]

    watchers = count_triggers(airflow)
    airflow.request("PATCH", f"/dags/{DAG_ID}", json={"is_paused": True})
    airflow.parse_again(DAG_ID)
    airflow.wait_until("one trigger less", lambda: count_triggers(airflow), lambda count: count < watchers)
    account.is_left_alone()
    assert len(wait_for_events(airflow, 3 + repeated)) == 3 + repeated


def wait_for_events(airflow: LocalAirflow, count: int) -> list[dict[str, Any]]:
    """Wait until this many runs have one event each, and return the events in the order they happened."""
    results_of_runs = wait_for_results(airflow, DAG_ID, "note", count)
    assert [len(events) for events in results_of_runs] == [1] * count
    return sorted((events[0] for events in results_of_runs), key=lambda event: event["happened_at"])


def wait_for_results(airflow: LocalAirflow, dag_id: str, task_id: str, count: int) -> list[Any]:
    """Wait until this many runs have succeeded, and return what a task of each returned."""
    return airflow.wait_until(
        f"{count} runs of {dag_id}",
        lambda: results(airflow, dag_id, task_id),
        lambda returned: len(returned) == count,
    )


def results(airflow: LocalAirflow, dag_id: str, task_id: str) -> list[Any]:
    """Return what a task returned in each run; empty until every run has succeeded."""
    runs = airflow.request("GET", f"/dags/{dag_id}/dagRuns").json()["dag_runs"]
    if any(run["state"] != "success" for run in runs):
        return []
    return [airflow.xcom(dag_id, run["dag_run_id"], task_id) for run in runs]


def count_triggers(airflow: LocalAirflow, condition: str = "true") -> int:
    engine = create_engine(airflow.database_url)
    query = text(f"select count(*) from trigger where classpath like '%BalanceEventTrigger' and {condition}")
    try:
        with engine.connect() as connection:
            return connection.execute(query).scalar_one()
    finally:
        engine.dispose()
