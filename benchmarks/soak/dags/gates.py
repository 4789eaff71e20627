"""Gates for the soak test: a DAG for each way of waiting and of ending. ``min_usd`` comes with the run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_youcom.sensors.balance import BalanceSensor

NEVER_USD = "1000000"


def gate(dag_id: str, min_usd: str = "{{ dag_run.conf['min_usd'] }}", **options: Any) -> None:
    """Define a DAG of one gate, with enough retries to survive the workers that are killed under it."""
    with DAG(
        dag_id,
        schedule=None,
        start_date=datetime(2026, 1, 1),
        max_active_runs=1000,
        max_active_tasks=1000,
        default_args={"retries": 100, "retry_delay": timedelta(seconds=2)},
    ):
        BalanceSensor(task_id="gate", min_usd=min_usd, poke_interval=5, silent_fail=True, **options)


gate("in_the_triggerer", deferrable=True, start_from_trigger=True, end_from_trigger=True)
gate("started_in_the_triggerer", deferrable=True, start_from_trigger=True)
gate("ended_in_the_triggerer", deferrable=True, end_from_trigger=True)
gate("deferred", deferrable=True)
gate("rescheduled", deferrable=False, mode="reschedule")
gate(
    "skipped",
    NEVER_USD,
    deferrable=True,
    start_from_trigger=True,
    end_from_trigger=True,
    on_shortfall="skip",
)
gate("timed_out", NEVER_USD, deferrable=True, start_from_trigger=True, timeout=45)
gate("timed_out_softly", NEVER_USD, deferrable=True, timeout=45, soft_fail=True)
