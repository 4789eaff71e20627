"""One DAG for each way of waiting, with a gate for each fault. A gate's connection has the gate's name."""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_youcom.sensors.balance import BalanceSensor

FAULTS = ["drip", "unavailable", "refused", "spend_cap", "not_the_contract"]
MODES: dict[str, dict[str, Any]] = {
    "poke": {"deferrable": False, "mode": "poke"},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
    "deferred": {"deferrable": True},
}


def waiting_gates(mode: str) -> DAG:
    with DAG(f"waiting_gates_{mode}", start_date=pendulum.datetime(2026, 1, 1), schedule=None) as dag:
        for fault in FAULTS:
            BalanceSensor(
                task_id=fault, youcom_conn_id=fault, min_usd=25, poke_interval=0.1, timeout=600, **MODES[mode]
            )
    return dag


for _mode in MODES:
    globals()[f"waiting_gates_{_mode}"] = waiting_gates(_mode)
