"""Each form of an argument that works passes mypy in strict mode, which ``make types`` runs on this DAG."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from airflow.sdk import DAG, Param, XComArg, task

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.sensors.balance import BalanceSensor


@task
def price() -> float:
    return 7.5


with DAG("spend", schedule=None, params={"min": Param(25), "account": Param("youcom_default")}) as dag:
    get_balance = GetBalanceOperator(task_id="get_balance", youcom_conn_id=dag.param("account"))
    BalanceSensor(task_id="number", min_usd=25, timeout=60, poke_interval=timedelta(minutes=1))
    BalanceSensor(task_id="exact", min_usd=Decimal("7.50"), on_shortfall="skip", on_unavailable="pass")
    BalanceSensor(task_id="fraction", min_usd=Fraction(15, 2), deferrable=True)
    BalanceSensor(task_id="param", min_usd=dag.param("min"), youcom_conn_id=dag.param("account"))
    BalanceSensor(task_id="xcom", min_usd=XComArg(get_balance, key="balance_usd"))
    BalanceSensor(task_id="output", min_usd=get_balance.output)
    BalanceSensor(task_id="price", min_usd=price())
    balance: Decimal = YouComHook().get_balance().balance_usd
