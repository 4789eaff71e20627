"""Code that finds Airflow as a task does, in this process."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def in_a_task() -> Iterator[None]:
    """Connect this process with Airflow as ``dag.test`` does: to its API; on 2.11 it has the database."""
    try:
        from airflow.sdk.execution_time import supervisor
    except ImportError:
        yield
        return
    import psutil
    import structlog

    started: Any = supervisor.InProcessTestSupervisor(
        id=uuid.uuid4(),
        pid=os.getpid(),
        process=psutil.Process(),
        process_log=structlog.get_logger(),
        client=supervisor.InProcessTestSupervisor._api_client(),
    )
    started.comms = supervisor.InProcessSupervisorComms(supervisor=started)
    with supervisor.set_supervisor_comms(started.comms):
        yield
