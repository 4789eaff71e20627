"""A gate as people write it without this provider, in its own file because of its imports."""

from __future__ import annotations

import os
from datetime import datetime

from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import DAG

MIN_CENTS = 2500

with DAG("gate_a", schedule=None, start_date=datetime(2026, 1, 1), max_active_runs=5000):
    HttpSensor(
        task_id="gate",
        http_conn_id="youcom_http",
        endpoint="v1/billing/account_balance",
        headers={"X-API-Key": "{{ conn.youcom_default.password }}"},
        response_check=lambda response: response.json()["data"]["attributes"]["balance"] >= MIN_CENTS,
        mode="reschedule",
        poke_interval=float(os.environ["BENCHMARK_RESCHEDULE_INTERVAL"]),
    )
