"""Gates that reserve, and the tries of their tasks, without Airflow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
from airflow_provider_youcom.sensors.balance import BalanceSensor


def gate(**options: Any) -> BalanceSensor:
    with DAG("pipeline", start_date=pendulum.datetime(2026, 1, 1), schedule=None):
        made = BalanceSensor(
            **{"task_id": "gate", "min_usd": 25, "poke_interval": 0.01, "reserve": True, **options}
        )
        with_work = BalanceSensor(task_id="not_counted", min_usd=1)
        made >> ReleaseCreditsOperator(task_id="not_counted_either", gate_task_id="gate") >> with_work
        made >> work("search") >> work("summarize")
    return made


def work(task_id: str) -> GetBalanceOperator:
    return GetBalanceOperator(task_id=task_id)


def try_of(run: str, number: int = 1) -> dict[str, Any]:
    task = SimpleNamespace(
        dag_id="pipeline", run_id=run, task_id="gate", map_index=-1, id=f"{run}-{number}", try_number=number
    )
    task.pushed = {}
    task.xcom_push = lambda key, value: task.pushed.update({key: value})
    return {"ti": task, "dag_run": SimpleNamespace(id=1), "task_instance": task}
