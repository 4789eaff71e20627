"""The questions about tasks and runs that must be answered before a reservation can be ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tasks:
    """
    The question how many task instances of a run are in one of these states.

    :param dag_id: the DAG.
    :param run_id: its run.
    :param task_ids: which tasks.
    :param states: the states; None for any.
    :param map_index: only this map index; None for all.
    """

    dag_id: str
    run_id: str
    task_ids: tuple[str, ...]
    states: tuple[str, ...] | None = None
    map_index: int | None = None


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


Ask = Callable[[Tasks | Runs], int]
"""Returns the answer to a question, or raises whatever Airflow raises."""
