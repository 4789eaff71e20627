"""Runs for the soak test that reserve, pay in three tasks, and release. ``min_usd`` comes with the run."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import requests
from airflow.sdk import DAG, chain, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_youcom.sensors.balance import BalanceSensor


@task
def pay() -> None:
    """Pay $1. A try that is killed after it has paid is followed by one that pays again."""
    payment = {"usd": 1, "api_key": os.environ["SOAK_PAYING_KEY"]}
    response = requests.post(os.environ["SOAK_SPEND_URL"], json=payment, timeout=60)
    if response.status_code == requests.codes.payment_required:
        raise AirflowFailException(response.text)
    response.raise_for_status()


with DAG(
    "paying",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    max_active_runs=1000,
    max_active_tasks=1000,
    default_args={"retries": 100, "retry_delay": timedelta(seconds=2)},
):
    gate = BalanceSensor(
        task_id="gate",
        youcom_conn_id="youcom_paying",
        min_usd="{{ dag_run.conf['min_usd'] }}",
        reserve=True,
        deferrable=True,
        poke_interval=5,
        silent_fail=True,
    )
    with gate.reservation():
        chain(*(pay.override(task_id=f"pay_{turn}")() for turn in (1, 2, 3)))
