"""Who reserves, as Airflow names it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_youcom import _airflow
from airflow_provider_youcom._airflow import ask, attempt_of_gate, current_attempt
from airflow_provider_youcom.ledger.questions import Runs, Tasks
from tests.airflow_task import in_a_task

MANY = tuple(f"customers.process_customer_number_{number:05}" for number in range(1500))


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_airflow, "_deployment_id", lambda: "deployment")


def context_of(try_number: int, try_id: str | None) -> dict[str, Any]:
    """The context of a try; on Airflow 2.11, a task instance has no id."""
    task = SimpleNamespace(
        dag_id="dag", run_id="run", task_id="gate", map_index=-1, try_number=try_number, id=try_id
    )
    return {"ti": task, "dag_run": SimpleNamespace(id=7)}


def test_uses_of_reserved_credits_in_one_task_are_attempts_of_their_own(monkeypatch: pytest.MonkeyPatch):
    context = context_of(1, "0199f7c8")
    monkeypatch.setattr("airflow.providers.common.compat.sdk.get_current_context", lambda: context)
    one, other = current_attempt(), current_attempt()
    assert one.id != other.id
    assert (one.holder, one.age) == (other.holder, other.age)


def test_code_outside_of_a_task_reserves_as_this_process():
    one, other = current_attempt(), current_attempt()
    assert one.id != other.id
    assert one.holder.deployment == one.holder.dag_id == ""


@pytest.mark.parametrize("ids", [("0199f7c8", "0199f7c9"), (None, None)], ids=["Airflow 3", "Airflow 2"])
def test_each_try_of_a_gate_is_an_attempt_of_its_own(ids: tuple[str | None, str | None]):
    first, second = attempt_of_gate(context_of(1, ids[0])), attempt_of_gate(context_of(2, ids[1]))
    assert first.id != second.id
    assert first.holder == second.holder
    assert first.order < second.order
    assert (first.try_number, second.try_number) == (1, 2)
    assert attempt_of_gate(context_of(1, ids[0])) == first


@pytest.mark.real_airflow
@pytest.mark.parametrize(
    "question",
    [Tasks("dag", "run", MANY), Tasks("dag", "run", MANY, ("running",)), Runs("dag", MANY, ("failed",))],
    ids=["tasks", "tasks in a state", "runs"],
)
def test_airflow_is_asked_about_more_ids_than_fit_into_a_url(airflow_database: None, question: Any):
    with in_a_task():
        assert ask(question) == 0


def test_a_task_that_begins_while_the_others_are_counted_is_counted(monkeypatch: pytest.MonkeyPatch):
    task_runner = pytest.importorskip(
        "airflow.sdk.execution_time.task_runner", reason="Airflow 2.11 counts all tasks at once"
    )
    running = {MANY[-1]}

    def count_and_go_on(task_ids: list[str], **other: Any) -> int:
        found = len(running.intersection(task_ids))
        # The last task ends, and the first one begins.
        running.clear()
        running.add(MANY[0])
        return found

    monkeypatch.setattr(task_runner.RuntimeTaskInstance, "get_ti_count", count_and_go_on)
    assert ask(Tasks("dag", "run", MANY, ("running",))) == 1
