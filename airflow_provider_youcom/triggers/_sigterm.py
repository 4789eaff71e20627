"""Let SIGTERM end a wait that runs without a triggerer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """
    Let SIGTERM end this process while the block runs, if Airflow 3's handler for tasks is installed.

    In ``airflow dags test``, the task that has deferred leaves that handler behind, which ends nothing.
    """
    handler = signal.getsignal(signal.SIGTERM)
    is_a_tasks = getattr(handler, "__module__", None) == "airflow.sdk.execution_time.task_runner"
    if not is_a_tasks or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    # As a shell reports a program that a signal has ended.
    raise SystemExit(128 + number)
