"""A new attempt of a gate keeps the reservation that the tasks behind it still pay from, in both modes."""

from __future__ import annotations

import pytest

from tests.real_airflow.reserved_runs import ReservedRuns

pytestmark = [pytest.mark.real_airflow, pytest.mark.scenario, pytest.mark.on_the_ends]


@pytest.mark.parametrize("mode", ["worker", "triggerer"])
def test_a_cleared_gate_reserves_again_only_once_the_other_tasks_have_paid(
    runs: ReservedRuns, mode: str
) -> None:
    dag_id, run_id = f"siblings_{mode}", f"cleared_{mode}"
    runs.start(dag_id, run_id, first=["fail", "pay"], second=["hold", "pay"], third=["hold", "pay"])
    runs.wait_until_held(run_id, "second", "third")
    runs.airflow.wait_for_task(dag_id, run_id, "first", "failed")

    runs.let_succeed(run_id, "first")
    runs.clear(dag_id, run_id, ["first"])
    # In both modes, a worker makes the first of these checks.
    kept = (
        "An earlier attempt of this gate keeps its $5.00, since 2 of the tasks behind it may still spend it."
    )
    runs.wait_for_log(dag_id, run_id, "gate", kept, try_number=2, times=3)
    assert runs.ends(run_id) == [(None, None)]

    runs.let_go(run_id, "second", "third")
    superseded = ("superseded", f"{dag_id}.gate of {run_id}")
    runs.wait_for_ends(run_id, superseded)
    short = "Waiting: $3.00 short of $5.00. The balance is $7.00, of which 1 run has reserved $5.00"
    runs.wait_for_log(dag_id, run_id, "gate", short, try_number=2)

    runs.let_the_grace_pass(run_id)
    runs.airflow.wait_for_run(dag_id, run_id, "success")
    assert runs.ends(run_id) == [superseded, ("released", "release_gate")]
    assert runs.no_payment_was_refused()


def test_the_triggerer_reads_its_answers_in_order(runs: ReservedRuns) -> None:
    log = (runs.airflow.home / "logs" / "triggerer.log").read_text(errors="replace")
    assert "out of order" not in log
