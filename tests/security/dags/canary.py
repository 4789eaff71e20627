"""Every way in which the provider uses a key, and every fault that a call can meet."""

from __future__ import annotations

import logging
import os

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.sensors.balance import BalanceSensor

log = logging.getLogger(__name__)

FAULTY_CONNECTIONS = os.environ["FAULTY_CONNECTIONS"].split(",")
AFTER_THE_TOP_UP = 2_000
OUT_OF_REACH = 10**9


@task
def every_fault() -> None:
    for conn_id in FAULTY_CONNECTIONS:
        hook = YouComHook(conn_id)
        log.debug("%s: %s, %r, %r", conn_id, hook.test_connection(), hook, vars(hook))
        try:
            log.info("%r", hook.get_balance())
        except YouComError:
            log.exception("As expected")


@task
def reserve_in_code() -> None:
    hook = YouComHook("reserving")
    with hook.reserved_credits(1) as reservation:
        log.debug("%r, %r, %s", reservation, hook.ledger, vars(hook.ledger))


with DAG("canary", start_date=pendulum.datetime(2026, 1, 1), schedule=None):
    every_fault()
    GetBalanceOperator(task_id="balance")
    GetBalanceOperator(task_id="refused", youcom_conn_id="repeats_the_key")
    BalanceSensor(task_id="poke", min_usd=OUT_OF_REACH, deferrable=False, poke_interval=1, timeout=2)
    BalanceSensor(task_id="deferred", min_usd=AFTER_THE_TOP_UP, deferrable=True, poke_interval=1)
    BalanceSensor(task_id="times_out", min_usd=OUT_OF_REACH, deferrable=True, poke_interval=1, timeout=5)
    reserve = BalanceSensor(
        task_id="reserve",
        min_usd=AFTER_THE_TOP_UP,
        reserve=True,
        youcom_conn_id="reserving",
        deferrable=True,
        poke_interval=1,
    )
    with reserve.reservation():
        reserve_in_code()
    BalanceSensor(
        task_id="ledger_away",
        min_usd=1,
        reserve=True,
        youcom_conn_id="cannot_reserve",
        deferrable=False,
        on_unavailable="fail",
    )
    BalanceSensor(task_id="no_connection", min_usd=1, youcom_conn_id="missing", deferrable=False)
