"""A reservation ends with the work behind its gate, whatever happens to the run."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.real_airflow.reserved_runs import ReservedRuns

pytestmark = [pytest.mark.real_airflow, pytest.mark.scenario, pytest.mark.on_the_ends]

RELEASED = ("released", "release_gate")
CUT_SHORT = ("cut short", "release_gate")
WAITING_GATE = "waiting_run.gate of keeper"


@pytest.fixture(scope="module", autouse=True)
def unattended(reserved_runs: ReservedRuns) -> None:
    """Start the runs that need no attention. The first one runs alone and gives this Airflow its id."""
    reserved_runs.start("reserved_run", "succeeds")
    reserved_runs.airflow.wait_for_run("reserved_run", "succeeds", "success")
    reserved_runs.start("retried_run", "fails", work=["fail", "pay"])
    reserved_runs.start("skipped_run", "is_skipped")
    reserved_runs.start("waiting_run", "fails_while_it_waits")
    reserved_runs.start("shapes", "shapes")
    reserved_runs.start("blocks_open", "blocks_open")
    reserved_runs.start("blocks_shut", "blocks_shut")


def test_a_teardown_releases_what_its_gate_has_reserved(runs: ReservedRuns) -> None:
    assert runs.ends("succeeds") == [RELEASED]
    assert "Released $5.00 after 0:" in runs.log("reserved_run", "succeeds", "release_gate")


def test_a_killed_task_is_retried_and_its_reservation_allows_for_the_first_try(
    runs: ReservedRuns,
) -> None:
    runs.start("retried_run", "is_killed", work=["hold", "pay"])
    runs.kill_task("is_killed", "work")
    runs.wait_until_held("is_killed", "work", try_number=2)
    assert runs.ends("is_killed") == [(None, None)]
    runs.let_go("is_killed", "work")
    runs.airflow.wait_for_run("retried_run", "is_killed", "success")
    # The task was retried at once, so the first try may still pay as far as Airflow knows.
    assert runs.ends("is_killed") == [CUT_SHORT]


def test_a_gate_that_is_skipped_reserves_nothing(runs: ReservedRuns) -> None:
    runs.airflow.wait_for_run("skipped_run", "is_skipped", "success")
    assert set(runs.airflow.task_states("skipped_run", "is_skipped").values()) == {"skipped"}
    assert runs.ends("is_skipped") == []


def test_a_run_marked_failed_while_its_gate_waits_reserves_nothing(runs: ReservedRuns) -> None:
    runs.airflow.wait_for_task("waiting_run", "fails_while_it_waits", "gate", "deferred")
    runs.mark("waiting_run", "fails_while_it_waits", "failed")
    runs.airflow.wait_for_task("waiting_run", "fails_while_it_waits", "release_gate", "upstream_failed")
    assert runs.ends("fails_while_it_waits") == []


def test_work_that_fails_after_its_retries_ends_its_reservation_with_a_grace(runs: ReservedRuns) -> None:
    runs.airflow.wait_for_run("retried_run", "fails", "failed")
    runs.wait_for_ends("fails", CUT_SHORT)
    (reservation,) = runs.reservations("fails")
    assert reservation.ended_at is not None
    assert reservation.counts_until == reservation.ended_at + timedelta(seconds=120)


def test_work_cleared_with_only_failed_pays_with_nothing_reserved(runs: ReservedRuns) -> None:
    runs.airflow.wait_for_run("retried_run", "fails", "failed")
    runs.let_succeed("fails", "work")
    runs.clear("retried_run", "fails", ["work"], only_failed=True)
    runs.airflow.wait_for_run("retried_run", "fails", "success")
    assert runs.ends("fails") == [CUT_SHORT]


def test_a_task_cleared_after_the_end_of_its_run_reserves_again(runs: ReservedRuns) -> None:
    runs.clear("reserved_run", "succeeds", ["work"])
    runs.airflow.wait_for_run("reserved_run", "succeeds", "success")
    assert runs.ends("succeeds") == [RELEASED, RELEASED]


# Airflow cannot distinguish a success that was marked by hand, so such work gets no grace.
@pytest.mark.parametrize(("state", "end"), [("failed", CUT_SHORT), ("success", RELEASED)])
def test_a_run_marked_by_hand_while_its_work_runs_ends_its_reservation(
    runs: ReservedRuns, state: str, end: tuple[str, str]
) -> None:
    run_id = runs.start("reserved_run", f"marked_{state}", work=["hold", "pay"])
    runs.wait_until_held(run_id, "work")
    runs.mark("reserved_run", run_id, state)
    runs.wait_for_ends(run_id, end)
    runs.wait_for_log("reserved_run", run_id, "release_gate", "Released $5.00 after")


def test_the_next_gate_on_a_worker_ends_the_reservation_of_a_run_that_timed_out(runs: ReservedRuns) -> None:
    run_id = time_out(runs, "times_out_first")
    runs.let_a_minute_pass(run_id)
    finder = runs.start("reserved_run", "finds_what_was_left")
    runs.airflow.wait_for_run("reserved_run", finder, "success")
    assert runs.ends(run_id) == [("run over", f"reserved_run.gate of {finder}")]
    sentence = (
        "The reservation of $5.00 for task gate of run times_out_first in DAG run_with_timeout has ended: "
        "run over."
    )
    assert sentence in runs.log("reserved_run", finder, "gate")


def test_a_gate_that_waits_in_the_triggerer_ends_reservations_that_others_left(runs: ReservedRuns) -> None:
    keeper = runs.start("waiting_run", "keeper")
    runs.airflow.wait_for_task("waiting_run", keeper, "gate", "deferred")
    timed_out = time_out(runs, "times_out_next")
    expiring = runs.start("run_that_expires", "expires", work=["hold", "pay"])
    left_out = runs.start("task_left_out", "left_out", left_out=["hold", "pay"])

    runs.wait_until_held(expiring, "work")
    runs.wait_for_ends(expiring, ("expired", WAITING_GATE))
    runs.let_go(expiring, "work")

    runs.airflow.wait_for_task("task_left_out", left_out, "release_gate")
    runs.let_a_minute_pass(left_out)
    runs.let_a_minute_pass(timed_out)
    runs.wait_for_ends(timed_out, ("run over", WAITING_GATE))
    assert runs.ends(left_out) == [(None, None)], "its run is not over"
    warning = "Nothing was released, since left_out is behind gate gate, not in front of this teardown"
    assert warning in runs.log("task_left_out", left_out, "release_gate")
    runs.let_go(left_out, "left_out")
    runs.airflow.wait_for_run("task_left_out", left_out, "success")
    runs.let_a_minute_pass(left_out)
    runs.wait_for_ends(left_out, ("run over", WAITING_GATE))

    runs.airflow.wait_for_run("run_that_expires", expiring, "success")
    warning = "The reservation of $5.00 expired at"
    assert warning in runs.log("run_that_expires", expiring, "release_gate")
    for run_id in (timed_out, left_out, expiring):
        assert f"of run {run_id} in DAG" in runs.log("waiting_run", keeper, "gate")


def test_a_gate_that_opens_in_the_triggerer_is_released_too(runs: ReservedRuns) -> None:
    runs.airflow.wait_for_task("waiting_run", "keeper", "gate", "deferred")
    runs.add_credits("youcom_reserving_short", 100)
    runs.airflow.wait_for_run("waiting_run", "keeper", "success")
    assert runs.ends("keeper") == [RELEASED]


SHAPES = {
    ("mapped_gate", 0): "release_mapped_gate",
    ("mapped_gate", 1): "release_mapped_gate",
    ("half_short_gate", 0): "release_half_short_gate",
    ("group.gate", -1): "group.release_gate",
    ("mapped_group.gate", 0): "mapped_group.release_gate",
    ("mapped_group.gate", 1): "mapped_group.release_gate",
    ("outer_gate", -1): "release_outer_gate",
    ("inner_gate", -1): "release_inner_gate",
    ("gate_before_a_branch", -1): "release_gate_before_a_branch",
    ("gate_before_a_short_circuit", -1): "release_gate_before_a_short_circuit",
    ("open_gate", -1): "release_open_gate",
}


def test_every_gate_is_released_in_every_shape_of_a_dag(runs: ReservedRuns) -> None:
    runs.airflow.wait_for_run("shapes", "shapes", "success")
    ends = {
        (each.holder.task_id, each.holder.map_index): (
            each.end_reason and each.end_reason.value,
            each.ended_by,
        )
        for each in runs.reservations("shapes")
    }
    assert ends == {gate: ("released", teardown) for gate, teardown in SHAPES.items()}


BLOCKS = {
    ("gate_of_outside_input", -1): "release_gate_of_outside_input",
    ("gate_of_mapped_group", -1): "release_gate_of_mapped_group",
    ("gate_of_nested_groups", -1): "release_gate_of_nested_groups",
    ("mapped_gate", 0): "release_mapped_gate",
    ("mapped_gate", 1): "release_mapped_gate",
}


def test_no_task_of_a_block_pays_while_its_gate_is_shut(runs: ReservedRuns) -> None:
    runs.airflow.wait_for_run("blocks_shut", "blocks_shut", "success")
    states = runs.airflow.task_states("blocks_shut", "blocks_shut")
    assert states.pop(("outside", -1)) == "success"
    assert set(states.values()) == {"skipped"}
    assert runs.ends("blocks_shut") == []


def test_all_tasks_of_a_block_pay_and_then_its_gate_is_released_once(runs: ReservedRuns) -> None:
    runs.airflow.wait_for_run("blocks_open", "blocks_open", "success")
    assert set(runs.airflow.task_states("blocks_open", "blocks_open").values()) == {"success"}
    # Released, and not cut short: each task behind the gate had succeeded.
    ends = [
        (each.holder.task_id, each.holder.map_index, each.end_reason and each.end_reason.value, each.ended_by)
        for each in runs.reservations("blocks_open")
    ]
    assert sorted(ends) == sorted((*gate, "released", teardown) for gate, teardown in BLOCKS.items())
    assert runs.no_payment_was_refused()


def time_out(runs: ReservedRuns, run_id: str) -> str:
    """Start a run, let it time out while it works, and return its id."""
    runs.start("run_with_timeout", run_id, work=["hold", "pay"])
    runs.wait_until_held(run_id, "work")
    runs.let_the_run_time_out("run_with_timeout", run_id)
    runs.airflow.wait_for_run("run_with_timeout", run_id, "failed")
    assert runs.ends(run_id) == [(None, None)]
    return run_id
