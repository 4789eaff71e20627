"""Runs share an account that can pay for one at a time, and no payment is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_youcom.ledger.rule import EndReason
from tests.real_airflow.reserved_runs import ReservedRuns

pytestmark = [pytest.mark.real_airflow, pytest.mark.scenario, pytest.mark.on_the_ends]

DAG_ID = "scarce_run"
KEY = "youcom_reserving_scarce"
RELEASED = ("released", "release_gate")
ONE_SHORT = "$1.00 short of $5.00. The balance is $9.00, of which 1 run has reserved $5.00"
SIX_SHORT = "$6.00 short of $5.00. The balance is $4.00, of which 1 run has reserved $5.00"


@pytest.fixture(autouse=True)
def nobody_was_refused(runs: ReservedRuns) -> Iterator[None]:
    """Start each test with an account of $9, of which nothing is reserved."""
    runs.set_balance(KEY, 9)
    yield
    assert runs.no_payment_was_refused()


def test_credits_are_kept_for_a_task_that_still_pays_after_its_run_was_marked_failed(
    runs: ReservedRuns,
) -> None:
    dying = runs.start(DAG_ID, "dies", work=["hold"])
    runs.wait_until_held(dying, "work")
    runs.mark(DAG_ID, dying, "failed")
    runs.wait_for_ends(dying, ("cut short", "release_gate"))

    following = runs.start(DAG_ID, "follows")
    the_dying_task_pays_while_a_gate_waits(runs, dying, following)
    assert runs.ends(following) == [RELEASED]


def test_a_run_that_is_deleted_and_created_again_waits_until_its_predecessor_has_paid(
    runs: ReservedRuns,
) -> None:
    run_id = runs.start(DAG_ID, "is_made_again", work=["hold"])
    (process_id,) = runs.wait_until_held(run_id, "work")
    # Its teardown is skipped, so that its reservation stands.
    runs.let_the_run_time_out(DAG_ID, run_id)
    runs.airflow.wait_for_run(DAG_ID, run_id, "failed")
    # Airflow's executor would mistake the end of this process for that of the same task in the new run.
    runs.wait_until_dead(process_id)
    runs.airflow.request("DELETE", f"/dags/{DAG_ID}/dagRuns/{run_id}")

    runs.start(DAG_ID, run_id)
    superseded = ("superseded", f"{DAG_ID}.gate of {run_id}")
    runs.wait_for_ends(run_id, superseded)
    the_dying_task_pays_while_a_gate_waits(runs, run_id, run_id)
    assert runs.ends(run_id) == [superseded, RELEASED]


def test_a_run_that_is_cleared_half_way_waits_until_its_task_has_paid(runs: ReservedRuns) -> None:
    run_id = runs.start(DAG_ID, "is_cleared", work=["hold"])
    runs.wait_until_held(run_id, "work")
    runs.clear(DAG_ID, run_id, ["gate", "work"])
    # Airflow 2.11 does not kill a task that has only just started.
    runs.let_go(run_id, "work")
    superseded = ("superseded", f"{DAG_ID}.gate of {run_id}")
    runs.wait_for_ends(run_id, superseded)

    the_dying_task_pays_while_a_gate_waits(runs, run_id, run_id, try_number=2)
    assert runs.ends(run_id) == [superseded, RELEASED]


def test_the_same_run_in_another_airflow_has_its_own_reservation(runs: ReservedRuns) -> None:
    elsewhere = runs.reserve_elsewhere(KEY, DAG_ID, "twin", 5)
    runs.start(DAG_ID, "twin")
    runs.wait_for_log(DAG_ID, "twin", "gate", ONE_SHORT)
    runs.let_a_minute_pass("twin")
    runs.add_credits(KEY, 1)
    runs.airflow.wait_for_run(DAG_ID, "twin", "success")

    assert runs.ends("twin") == [(None, None), RELEASED]
    runs.end(elsewhere, EndReason.RELEASED)


def the_dying_task_pays_while_a_gate_waits(
    runs: ReservedRuns, dying: str, waiting: str, try_number: int = 1
) -> None:
    """Pay in the place of a task that Airflow has given up, and expect the next gate to open afterwards."""

    def wait_for_gate(words: str) -> None:
        runs.wait_for_log(DAG_ID, waiting, "gate", words, try_number=try_number)

    wait_for_gate(ONE_SHORT)
    assert runs.pay(KEY, 5)
    wait_for_gate(SIX_SHORT)
    runs.add_credits(KEY, 1)
    runs.let_the_grace_pass(dying)
    runs.airflow.wait_for_run(DAG_ID, waiting, "success")
