"""Two triggerers that share some gates, until one of them is killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dev.process_session import kill_session, spawn

if TYPE_CHECKING:
    from airflow_provider_youcom.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow
    from dev.task_history import TaskHistory

SHARED_GATES = 40
CAPACITY_OF_THE_FIRST = 15


def share_between_two_triggerers(
    airflow: LocalAirflow, sandbox: Sandbox, history: TaskHistory
) -> dict[str, object]:
    """
    Share gates between two triggerers, kill one, open the gates, and return what became of them.

    :param airflow: the Airflow, running.
    :param sandbox: the You.com that the gates ask.
    :param history: the changes of state that the database records.
    """
    dag_id = "in_the_triggerer"
    known = set(history.endings(dag_id))
    airflow.stop("triggerer")
    sandbox.set_balance(0)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(airflow.home),
        "AIRFLOW_CONN_YOUCOM_DEFAULT": sandbox.connection(),
    }
    command = [str(Path(sys.executable).parent / "airflow"), "triggerer", "--skip-serve-logs", "--capacity"]
    log = airflow.home / "logs" / "two-triggerers.log"
    first = spawn([*command, str(CAPACITY_OF_THE_FIRST)], environment, log)
    second = None
    try:
        run_ids = [airflow.trigger(dag_id, {"min_usd": "20"}) for _ in range(SHARED_GATES)]
        airflow.wait_until(
            "the first triggerer to be full",
            lambda: sum(history.gates_by_triggerer().values()),
            lambda held: held >= CAPACITY_OF_THE_FIRST,
            300,
        )
        second = spawn([*command, "1000"], environment, log)
        held = airflow.wait_until(
            "both triggerers to hold gates",
            history.gates_by_triggerer,
            lambda held: sum(held.values()) == SHARED_GATES,
            300,
        )
        kill_session(first)
        airflow.wait_until(
            "the gates to move",
            history.gates_by_triggerer,
            lambda held: sorted(held.values()) == [SHARED_GATES],
            300,
        )
        sandbox.set_balance(100)
        airflow.wait_until(
            "the gates to end",
            lambda: set(run_ids) <= set(history.endings(dag_id)),
            bool,
            300,
        )
    finally:
        for process in filter(None, (first, second)):
            kill_session(process)
    endings, finals = history.endings(dag_id), history.final_states(dag_id)
    return {
        "gates": SHARED_GATES,
        "held": sorted(held.values()),
        "moved": min(held.values()),
        "lost": sum(finals[run_id][0] != "success" for run_id in run_ids),
        "twice": sum(endings[run_id] - 1 for run_id in endings if run_id not in known),
    }
