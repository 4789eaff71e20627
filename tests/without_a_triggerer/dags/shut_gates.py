"""Gates that stay shut, a task that returns a balance itself, and templates that change their type."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.sensors.balance import BalanceSensor

OPTIONS: dict[str, dict[str, Any]] = {
    "timeout": {"timeout": 1},
    "soft_fail": {"timeout": 1, "soft_fail": True},
    "never_fail": {"timeout": 1, "never_fail": True},
    "ended_in_the_triggerer": {"timeout": 1, "end_from_trigger": True},
    "started_in_the_triggerer": {"timeout": 1, "start_from_trigger": True, "end_from_trigger": True},
}
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "deferred": {"deferrable": True},
    "ended_in_the_triggerer": {"deferrable": True, "end_from_trigger": True},
}

with DAG("shut_gates", schedule=None):
    for name, options in OPTIONS.items():
        BalanceSensor(task_id=name, min_usd=1000, poke_interval=1, deferrable=True, **options)

with DAG("shut_gate", schedule=None):
    BalanceSensor(task_id="gate", min_usd=1000, poke_interval=1, deferrable=True, timeout=1)

with DAG("shut_gate_with_execution_timeout", schedule=None):
    BalanceSensor(
        task_id="gate",
        min_usd=1000,
        poke_interval=1,
        deferrable=True,
        execution_timeout=timedelta(seconds=5),
    )

with DAG("balance_as_xcom", schedule=None):

    @task
    def return_the_balance() -> object:
        return YouComHook().get_balance()

    return_the_balance()

# A native template turns these ids into numbers.
CONN_IDS = {"get_balance": "1001", "poke": "1002", "deferred": "1003", "ended_in_the_triggerer": "1004"}

with DAG(
    "native_templates",
    schedule=None,
    render_template_as_native_obj=True,
    params={"conn_ids": CONN_IDS, "min_usd": "7.50"},
):
    GetBalanceOperator(task_id="get_balance", youcom_conn_id="{{ params.conn_ids.get_balance }}")
    for name, mode in MODES.items():
        BalanceSensor(
            task_id=name,
            youcom_conn_id=f"{{{{ params.conn_ids.{name} }}}}",
            min_usd="{{ params.min_usd }}",
            poke_interval=1,
            **mode,
        )

with DAG("gate_of_the_database", schedule=None):
    BalanceSensor(
        task_id="gate", min_usd=1000, youcom_conn_id="in_the_database", poke_interval=1, deferrable=True
    )
