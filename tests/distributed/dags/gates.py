"""Gates that wait in the triggerers, and gates that return to a worker for each check."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_youcom.sensors.balance import BalanceSensor

with DAG("deferred", schedule=None, max_active_runs=1000, max_active_tasks=1000):
    BalanceSensor(
        task_id="gate",
        youcom_conn_id="{{ dag_run.conf['youcom_conn_id'] }}",
        min_usd=25,
        poke_interval=5,
        deferrable=True,
    )

with DAG("rescheduled", schedule=None, max_active_runs=1000, max_active_tasks=1000):
    BalanceSensor(
        task_id="gate",
        youcom_conn_id="{{ dag_run.conf['youcom_conn_id'] }}",
        min_usd=25,
        poke_interval=45,
        mode="reschedule",
        # The check that runs on a worker when that dies is lost, and with it this try.
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
