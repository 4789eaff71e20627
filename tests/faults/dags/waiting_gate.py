"""One gate for each way of waiting."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_youcom.sensors.balance import BalanceSensor

MODES: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False, "mode": "poke"},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferred": {"deferrable": True},
}


def waiting_gate(mode: str) -> DAG:
    with DAG(f"waiting_gate_{mode}", start_date=pendulum.datetime(2026, 1, 1), schedule=None) as dag:
        BalanceSensor(task_id="gate", min_usd=25, poke_interval=0.1, timeout=60, **MODES[mode])
    return dag


for _mode in MODES:
    globals()[f"waiting_gate_{_mode}"] = waiting_gate(_mode)
