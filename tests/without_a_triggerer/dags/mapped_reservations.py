"""A mapped gate that reserves, and a gate that reserves in a mapped group."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, task_group

from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
from airflow_provider_youcom.sensors.balance import BalanceSensor

OPTIONS: dict[str, Any] = {"reserve": True, "poke_interval": 1, "timeout": 60}

with DAG("mapped_reservations", schedule=None):
    mapped_gate = BalanceSensor.partial(task_id="mapped_gate", **OPTIONS).expand(min_usd=[2, 3])
    with ReleaseCreditsOperator(task_id="release_mapped_gate", gate_task_id="mapped_gate"):
        GetBalanceOperator(task_id="spend")

    @task_group
    def group(usd: int) -> None:
        with BalanceSensor(task_id="gate", min_usd=usd, **OPTIONS).reservation():
            GetBalanceOperator(task_id="spend")

    group.expand(usd=[4, 5])
