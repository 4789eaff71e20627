"""Gates outlive the machines on which they wait, and a connection is read where it is used."""

from __future__ import annotations

import time

import pytest

from airflow_provider_youcom.sandbox import Fault, Sandbox
from tests.distributed.conftest import Deployment

pytest.importorskip("airflow.providers.celery", reason="make distributed installs the Celery provider")
pytestmark = pytest.mark.distributed

GATES = 12
INTERVAL = 5.0
SHARES = {"triggerer-1": 6, "triggerer-2": 6}
SLOTS_OF_A_WORKER = 4


def test_every_gate_opens_once_although_a_worker_and_a_triggerer_are_killed(
    deployment: Deployment, deferred_account: Sandbox, rescheduled_account: Sandbox
) -> None:
    machines, history = deployment.machines, deployment.history
    for name in ("worker-1", "worker-2", "triggerer-1"):
        machines[name].start()
    runs = {
        "deferred": deployment.start_gates("deferred", "youcom_deferred", GATES),
        "rescheduled": deployment.start_gates("rescheduled", "youcom_rescheduled", GATES),
    }
    # A triggerer takes all gates it has room for, so the second one starts when the first one is full.
    deployment.wait_until(
        "triggerer-1 is full",
        history.gates_by_host_of_triggerer,
        lambda held: held == {"triggerer-1": SHARES["triggerer-1"]},
    )
    machines["triggerer-2"].start()
    deployment.wait_until(
        "all gates wait",
        lambda: (
            history.gates_by_host_of_triggerer(),
            len(history.runs_that_were("rescheduled", "up_for_reschedule")),
        ),
        lambda seen: seen == (SHARES, GATES),
    )
    check_that_each_triggerer_polls_once_an_interval(2, deployment, deferred_account)

    let_checks_hang(deployment, rescheduled_account, SLOTS_OF_A_WORKER + 1)
    machines["worker-1"].kill()
    machines["triggerer-1"].kill()
    lost_checks = history.runs_with_a_gate_on("worker-1")
    rescheduled_account.heal()
    deployment.wait_until(
        "triggerer-2 holds all gates",
        history.gates_by_host_of_triggerer,
        lambda held: held == {"triggerer-2": GATES},
    )
    check_that_each_triggerer_polls_once_an_interval(1, deployment, deferred_account)
    deferred_account.set_balance(100)
    rescheduled_account.set_balance(100)
    deployment.wait_until(
        "all runs have ended",
        lambda: history.left_to_do("deferred") + history.left_to_do("rescheduled"),
        lambda left: not left,
    )

    lost = twice = 0
    for dag_id, run_ids in runs.items():
        final_states, endings = history.final_states(dag_id), history.endings(dag_id)
        lost += sum(final_states[run_id][0] != "success" for run_id in run_ids)
        twice += sum(endings[run_id] > 1 for run_id in run_ids)
    cut_off = lost_checks & history.runs_that_were("rescheduled", "up_for_retry")
    deployment.summary.append(
        f"{2 * GATES} gates, {SHARES['triggerer-1']} of them on the triggerer that was killed and "
        f"{len(cut_off)} at work on the worker that was killed: {lost} lost, {twice} twice"
    )
    assert (lost, twice) == (0, 0)
    assert cut_off, "the worker was killed while it did nothing"


def test_a_connection_in_the_environment_must_be_there_for_workers_and_triggerers(
    deployment: Deployment, environment_account: Sandbox
) -> None:
    airflow, history = deployment.airflow, deployment.history
    (found,) = deployment.start_gates("deferred", "on_workers_and_triggerers", 1)
    (not_found,) = deployment.start_gates("deferred", "on_the_api_server", 1)
    deployment.wait_until(
        "both gates wait", history.gates_by_host_of_triggerer, lambda held: sum(held.values()) == 2
    )
    deployment.wait_until(
        "the triggerer does not find one of the connections",
        lambda: airflow.task_log("deferred", not_found, "gate"),
        lambda log: "Airflow does not find connection 'on_the_api_server' any more" in log,
    )

    environment_account.set_balance(100)

    airflow.wait_for_run("deferred", found, "success")
    log = airflow.task_log("deferred", not_found, "gate")
    assert "The balance is $3.20" in log, "the worker reads what the api-server finds"
    assert airflow.task_states("deferred", not_found) == {("gate", -1): "deferred"}


def check_that_each_triggerer_polls_once_an_interval(
    triggerers: int, deployment: Deployment, account: Sandbox
) -> None:
    # The first check of a triggerer takes long, and the next one comes the sooner.
    wait_for_calls(2 * triggerers, deployment, account)
    began = time.monotonic()
    asked = wait_for_calls(4 * triggerers, deployment, account)
    seconds = time.monotonic() - began
    deployment.summary.append(
        f"{triggerers} triggerer(s), {GATES} deferred gates: {asked} API calls in {seconds:.1f} s"
    )
    assert asked <= triggerers * (seconds / INTERVAL + 1)


def let_checks_hang(deployment: Deployment, account: Sandbox, count: int) -> None:
    account.inject(Fault(delay=25), None)
    wait_for_calls(count, deployment, account)


def wait_for_calls(count: int, deployment: Deployment, account: Sandbox) -> int:
    before = account.request_count
    return deployment.wait_until(
        f"{count} calls", lambda: account.request_count - before, lambda asked: asked >= count
    )
