"""Behind a gate that does not open: a task of each trigger rule, beside inputs that end in each state."""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSkipException,
    TaskGroup,
    TriggerRule,
    task,
)

from airflow_provider_youcom.sensors.balance import BalanceSensor

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:  # Airflow 2.11
    from airflow.operators.empty import EmptyOperator

START = datetime(2026, 1, 1)
# Airflow 2.11 has two more, which are old names.
RULES = sorted({rule.value for rule in TriggerRule} - {"dummy", "none_failed_or_skipped"})


@task
def fails() -> None:
    raise AirflowFailException("this task is to fail")


@task
def is_skipped() -> None:
    raise AirflowSkipException("this task is to be skipped")


def build(on_shortfall: Any) -> None:
    inputs = [EmptyOperator(task_id="succeeds"), fails(), is_skipped()]
    for rule in RULES:
        with TaskGroup(rule):
            gate = BalanceSensor(
                task_id="gate",
                min_usd=1,
                youcom_conn_id="youcom_shut",
                reserve=True,
                on_shortfall=on_shortfall,
            )
            with gate.reservation():
                first = EmptyOperator(task_id="first")
                first >> EmptyOperator(task_id="pays", trigger_rule=rule)
                beside = [EmptyOperator(task_id=f"pays_{number}", trigger_rule=rule) for number in range(3)]
                first >> beside
            for source, pays in zip(inputs, beside, strict=True):
                source >> pays


with warnings.catch_warnings(record=True) as WARNINGS:
    warnings.simplefilter("always")
    for policy in ("skip", "fail"):
        with DAG(f"trigger_rules_{policy}", schedule=None, start_date=START):
            build(policy)
