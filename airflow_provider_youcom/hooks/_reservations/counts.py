"""Ask Airflow how many tasks or runs are in certain states."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_youcom.hooks._off_the_loop import call_airflow

# The longest that a thread of the triggerer waits for one answer, in seconds.
_ANSWER_WITHIN = 20.0


@dataclass(frozen=True)
class Tasks:
    """
    The question how many task instances of a run are in one of these states.

    :param dag_id: the DAG.
    :param run_id: its run.
    :param task_ids: which tasks, with all their map indexes.
    :param states: the states; None for any.
    """

    dag_id: str
    run_id: str
    task_ids: tuple[str, ...]
    states: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Runs:
    """
    The question how many of these runs are in one of these states.

    :param dag_id: the DAG.
    :param run_ids: its runs, up to 100.
    :param states: the states.
    """

    dag_id: str
    run_ids: tuple[str, ...]
    states: tuple[str, ...]


Count = Callable[[Tasks | Runs], int]


def count(question: Tasks | Runs) -> int:
    """
    Return the answer of Airflow, in a task.

    :param question: what to count.
    """
    # Airflow would take no ids for all ids.
    if not (question.task_ids if isinstance(question, Tasks) else question.run_ids):
        return 0
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:
        return _count_in_database(question)
    states: Any = question.states and list(question.states)
    if isinstance(question, Tasks):
        return RuntimeTaskInstance.get_ti_count(
            dag_id=question.dag_id,
            run_ids=[question.run_id],
            task_ids=list(question.task_ids),
            states=states,
        )
    return RuntimeTaskInstance.get_dr_count(
        dag_id=question.dag_id, run_ids=list(question.run_ids), states=states
    )


def count_through(loop: asyncio.AbstractEventLoop) -> Count:
    """
    Return a function that gets the answer of Airflow in a thread of the triggerer.

    :param loop: the triggerer's event loop.
    """

    def count_in_thread(question: Tasks | Runs) -> int:
        answer = call_airflow(lambda: count(question))
        return asyncio.run_coroutine_threadsafe(answer, loop).result(_ANSWER_WITHIN)

    return count_in_thread


def _count_in_database(question: Tasks | Runs) -> int:
    """Return the answer of the database, which tasks and triggers of Airflow 2.11 may read."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    model: Any = TaskInstance if isinstance(question, Tasks) else DagRun
    run_ids = (question.run_id,) if isinstance(question, Tasks) else question.run_ids
    wanted = [model.dag_id == question.dag_id, model.run_id.in_(run_ids)]
    if isinstance(question, Tasks):
        wanted.append(model.task_id.in_(question.task_ids))
    if question.states is not None:
        wanted.append(model.state.in_(question.states))
    with create_session() as session:
        return int(session.query(model).filter(*wanted).count())
