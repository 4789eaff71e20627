"""Runs that pay in a few tasks, behind each kind of gate. The benchmark starts as many as it needs."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import requests
from airflow.sdk import DAG, chain, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sensors.balance import BalanceSensor

INTERVAL = float(os.environ["FLEET_INTERVAL"])
PAYMENT_USD = Decimal(os.environ["FLEET_PAYMENT_USD"])
PAYMENTS = int(os.environ["FLEET_PAYMENTS"])
SPEND_URL = os.environ["FLEET_SPEND_URL"]


def dag(dag_id: str) -> DAG:
    """Return a DAG that is limited by nothing but Airflow itself."""
    return DAG(
        dag_id, schedule=None, start_date=datetime(2026, 1, 1), max_active_runs=5000, max_active_tasks=5000
    )


def gate(min_usd: Any = PAYMENTS * PAYMENT_USD, **options: Any) -> BalanceSensor:
    """
    Return a gate that waits until the account holds what its run pays.

    :param min_usd: what that is, in dollars.
    """
    return BalanceSensor(
        task_id="gate",
        min_usd=min_usd,
        poke_interval=INTERVAL,
        timeout=timedelta(hours=6).total_seconds(),
        deferrable=True,
        **options,
    )


@task
def pay(usd: str = str(PAYMENT_USD)) -> None:
    """
    Pay once.

    :param usd: how much, in dollars.
    """
    response = requests.post(SPEND_URL, json={"usd": usd}, timeout=60)
    if response.status_code == requests.codes.payment_required:
        raise AirflowFailException(response.text)
    response.raise_for_status()


@task(pool="youcom")
def check_and_pay() -> None:
    """Check the balance again, in a pool of one slot, and pay once."""
    balance = YouComHook().get_balance()
    if balance.balance_usd < PAYMENT_USD:
        raise AirflowFailException(str(balance))
    pay.function()


def payments(paying: Any) -> list[Any]:
    """Return the paying tasks of a run, one after the other."""
    tasks = [paying.override(task_id=f"pay_{turn}")() for turn in range(1, PAYMENTS + 1)]
    chain(*tasks)
    return tasks


with dag("fleet_checking"):
    gate() >> payments(pay)[0]

with dag("fleet_pool"):
    gate() >> payments(check_and_pay)[0]


@task
def pay_share(dag_run: Any = None) -> None:
    """Pay once, as much as the run's configuration says."""
    pay.function(dag_run.conf.get("payment_usd", str(PAYMENT_USD)))


with dag("fleet_reserving"):
    reserving = gate(reserve=True)
    with reserving.reservation():
        payments(pay)

NEEDED_USD = f"{{{{ {PAYMENTS} * (dag_run.conf.get('payment_usd', '{PAYMENT_USD}') | float) }}}}"

with dag("fleet_mixed"):
    mixed = gate(NEEDED_USD, reserve=True)
    with mixed.reservation():
        payments(pay_share)
