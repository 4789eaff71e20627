"""
What Airflow knows: who reserves, which tasks are behind a gate, and what still runs.

It is imported when a DAG is parsed, so it imports little of Airflow itself until a function is called.
"""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from airflow_provider_youcom._off_the_loop import call_airflow
from airflow_provider_youcom.ledger.claim import Attempt, Holder
from airflow_provider_youcom.ledger.questions import Ask, Runs, Tasks
from airflow_provider_youcom.ledger.rule import GRACE_SECONDS

# The XCom by which a gate tells its teardown in which ledger it has reserved.
LEDGER_ID_KEY = "youcom_ledger_id"
# The longest that a thread of the triggerer waits for one answer, in seconds.
_ANSWER_WITHIN = 20.0
_ID_CHARACTERS_AT_ONCE = 32_000


def current_attempt() -> Attempt:
    """
    Return the attempt that reserves, with an id of its own at each call.

    :raises YouComLedgerUnavailableError: if Airflow does not say which id this deployment has.
    :raises YouComRefusedError: if this deployment has no id, and none can be saved.
    """
    from airflow.providers.common.compat.sdk import get_current_context

    try:
        context = get_current_context()
    except Exception:  # noqa: BLE001 - each Airflow version has another exception for code outside of a task
        return _this_process()
    return _this_attempt(context["ti"], context["dag_run"])


def attempt_of_gate(context: Any) -> Attempt:
    """
    Return the attempt of the running task. It has the same id at each call.

    :raises YouComLedgerUnavailableError: if Airflow does not say which id this deployment has.
    :raises YouComRefusedError: if this deployment has no id, and none can be saved.
    """
    task_instance, dag_run = context["ti"], context["dag_run"]
    holder = holder_of(task_instance)
    order = _order_of(task_instance, dag_run)
    is_unique = bool(getattr(task_instance, "id", None))
    attempt_id = order if is_unique else f"{holder.key} {order}"
    return Attempt(holder, attempt_id, order, task_instance.try_number)


def holder_of(task_instance: Any) -> Holder:
    """
    Return the name of a task, for the ledger.

    :raises YouComLedgerUnavailableError: if Airflow does not say which id this deployment has.
    :raises YouComRefusedError: if this deployment has no id, and none can be saved.
    """
    return Holder(
        _deployment_id(),
        task_instance.dag_id,
        task_instance.run_id,
        task_instance.task_id,
        task_instance.map_index,
    )


def tasks_behind(gate: Any) -> list[Any]:
    """Return the tasks behind a gate, without gates and teardowns of this provider, which spend nothing."""
    task = gate.dag.get_task(gate.task_id)
    return [each for each in task.get_flat_relatives(upstream=False) if not _spends_nothing(each)]


def is_retried_soon(task: Any) -> bool:
    """
    Return whether an attempt of a task may still spend after the next attempt has ended.

    Airflow can abandon an attempt that is still running. After the retry delay, it starts the next one.
    """
    delay: timedelta = task.retry_delay
    return bool(task.retries) and delay.total_seconds() < GRACE_SECONDS


def ask(question: Tasks | Runs) -> int:
    """Return Airflow's answer, in a task."""
    # Airflow would take no ids for all ids.
    if not (question.task_ids if isinstance(question, Tasks) else question.run_ids):
        return 0
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        return _ask_database(question)
    if isinstance(question, Runs):
        return sum(
            RuntimeTaskInstance.get_dr_count(
                dag_id=question.dag_id, run_ids=run_ids, states=list(question.states)
            )
            for run_ids in _in_batches(question.run_ids)
        )
    batches = list(_in_batches(question.task_ids))
    states: Any = question.states and list(question.states)

    def count() -> int:
        return sum(
            RuntimeTaskInstance.get_ti_count(
                dag_id=question.dag_id,
                run_ids=[question.run_id],
                task_ids=task_ids,
                states=states,
                map_index=question.map_index,
            )
            for task_ids in batches
        )

    # While a batch is counted, a task of an earlier one may begin.
    return count() or (count() if len(batches) > 1 else 0)


def ask_through(loop: asyncio.AbstractEventLoop) -> Ask:
    """Return a function that asks Airflow through the event loop of the triggerer, from a thread."""

    def ask_in_thread(question: Tasks | Runs) -> int:
        answer = call_airflow(lambda: ask(question))
        return asyncio.run_coroutine_threadsafe(answer, loop).result(_ANSWER_WITHIN)

    return ask_in_thread


def _in_batches(ids: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield ids that fit into a URL, in which the task SDK sends them; httpx refuses one of 64 KB."""
    # Airflow 3.0 and 3.1 do not catch that, and the whole triggerer stops.
    batch: list[str] = []
    characters = 0
    for each in ids:
        own = len(f"&task_ids={quote(each)}")
        if batch and characters + own > _ID_CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
        batch.append(each)
        characters += own
    if batch:
        yield batch


def _this_process() -> Attempt:
    name = f"{socket.gethostname()}:{os.getpid()}"
    return Attempt(Holder("", "", name, ""), id=uuid.uuid4().hex, order="")


def _this_attempt(task_instance: Any, dag_run: Any) -> Attempt:
    # Several reservations of one attempt differ by their id, and are equally old.
    order = _order_of(task_instance, dag_run)
    return Attempt(holder_of(task_instance), uuid.uuid4().hex, order, task_instance.try_number)


def _order_of(task_instance: Any, dag_run: Any) -> str:
    # On Airflow 3, each retry and each clear gives the task instance a new id, which sorts by time. On 2.11
    # it has none, and the run's id and the try number sort instead, before every id of Airflow 3.
    try_id = getattr(task_instance, "id", None)
    return str(try_id) if try_id else f"{dag_run.id:020d}-{task_instance.try_number:010d}"


def _deployment_id() -> str:
    # Imported late, since it imports Airflow's Variable.
    from airflow_provider_youcom._deployment import deployment_id

    return deployment_id()


def _spends_nothing(task: Any) -> bool:
    # A mapped task has the class of its operator as an attribute.
    return getattr(getattr(task, "operator_class", type(task)), "spends_nothing", False)


def _ask_database(question: Tasks | Runs) -> int:
    """Return the answer of the database, which tasks and triggers of Airflow 2.11 may read."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    model: Any = TaskInstance if isinstance(question, Tasks) else DagRun
    run_ids = (question.run_id,) if isinstance(question, Tasks) else question.run_ids
    wanted = [model.dag_id == question.dag_id, model.run_id.in_(run_ids)]
    if isinstance(question, Tasks):
        wanted.append(model.task_id.in_(question.task_ids))
        if question.map_index is not None:
            wanted.append(model.map_index == question.map_index)
    if question.states is not None:
        wanted.append(model.state.in_(question.states))
    with create_session() as session:
        return int(session.query(model).filter(*wanted).count())
