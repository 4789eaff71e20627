"""The tasks that spend what a gate has reserved."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_provider_youcom.reservations.rule import GRACE_SECONDS


def tasks_behind(gate: Any) -> list[Any]:
    """
    Return the tasks downstream of a gate, without gates and teardowns of this provider, which spend nothing.

    :param gate: a task of a DAG.
    """
    task = gate.dag.get_task(gate.task_id)
    return [each for each in task.get_flat_relatives(upstream=False) if not _spends_nothing(each)]


def is_retried_soon(task: Any) -> bool:
    """
    Return whether a try of a task may still spend after the next try has ended.

    Airflow can take a try for lost while it is still running. After the retry delay, it starts the next one.

    :param task: a task of a DAG.
    """
    delay: timedelta = task.retry_delay
    return bool(task.retries) and delay.total_seconds() < GRACE_SECONDS


def _spends_nothing(task: Any) -> bool:
    # A mapped task has the class of its operator as an attribute.
    return getattr(getattr(task, "operator_class", type(task)), "spends_nothing", False)
