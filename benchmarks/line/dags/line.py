"""Runs that need, and pay, what their configuration says."""

from __future__ import annotations

import os
from typing import Any

import requests
from airflow.sdk import DAG, task

from airflow_provider_youcom.sensors.balance import BalanceSensor


@task
def pay(conn_id: str, dag_run: Any = None) -> None:
    """Pay what the gate has reserved."""
    payment = {"usd": dag_run.conf["usd"], "api_key": conn_id}
    requests.post(os.environ["LINE_SPEND_URL"], json=payment, timeout=60).raise_for_status()


for arm in ("without_the_line", "with_the_line"):
    with DAG(arm, schedule=None, max_active_runs=5000, max_active_tasks=5000):
        gate = BalanceSensor(
            task_id="gate",
            youcom_conn_id=arm,
            min_usd="{{ dag_run.conf['usd'] }}",
            poke_interval=1,
            timeout=6 * 60 * 60,
            deferrable=True,
            end_from_trigger=True,
            reserve=True,
        )
        with gate.reservation():
            pay(arm)
