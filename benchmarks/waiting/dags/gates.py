"""A gate in each way of waiting. The benchmark starts as many runs as it needs gates."""

from __future__ import annotations

import importlib
import os
from datetime import datetime

from airflow.sdk import DAG

from airflow_provider_youcom.sensors.balance import BalanceSensor

MIN_USD = 25
INTERVAL = float(os.environ["BENCHMARK_INTERVAL"])
RESCHEDULE_INTERVAL = float(os.environ["BENCHMARK_RESCHEDULE_INTERVAL"])

for module in os.environ["BENCHMARK_IMPORTS"].split():
    importlib.import_module(module)


def dag(mode: str) -> DAG:
    """Return a DAG for the gate of one mode."""
    return DAG(f"gate_{mode}", schedule=None, start_date=datetime(2026, 1, 1), max_active_runs=5000)


with dag("b"):
    BalanceSensor(
        task_id="gate",
        min_usd=MIN_USD,
        mode="reschedule",
        poke_interval=RESCHEDULE_INTERVAL,
        deferrable=False,
    )

with dag("c"):
    BalanceSensor(task_id="gate", min_usd=MIN_USD, poke_interval=INTERVAL, deferrable=True)

with dag("d"):
    BalanceSensor(
        task_id="gate",
        min_usd=MIN_USD,
        poke_interval=INTERVAL,
        deferrable=True,
        start_from_trigger=True,
        end_from_trigger=True,
    )

with dag("e"):
    BalanceSensor(
        task_id="gate",
        youcom_conn_id="youcom_reserving",
        min_usd=MIN_USD,
        poke_interval=INTERVAL,
        deferrable=True,
        reserve=True,
    )
