"""Metrics arrive from the workers and from the triggerer of a real Airflow."""

from __future__ import annotations

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.real_airflow.conftest import hold
from tests.real_airflow.statsd import StatsdServer

pytestmark = pytest.mark.real_airflow


def test_the_triggerer_sends_the_balance_and_a_worker_that_a_gate_opened(
    airflow: LocalAirflow, you_com: Sandbox, statsd: StatsdServer
) -> None:
    hold(you_com, "youcom_measured", "1.25")
    airflow.wait_for_dag("measured_gate")
    run_id = airflow.trigger("measured_gate")

    airflow.wait_until(
        "the balance", lambda: statsd.received, lambda received: gauge("balance_usd", "1.25") in received
    )
    you_com.top_up(100, "youcom_measured")
    airflow.wait_for_run("measured_gate", run_id, "success")

    airflow.wait_until(
        "the counter", lambda: statsd.received, lambda received: counter("gates_opened") in received
    )
    assert gauge("balance_usd", "101.25") in statsd.received


def gauge(name: str, value: str) -> str:
    return f"airflow.youcom.youcom_measured.{name}:{value}|g"


def counter(name: str) -> str:
    return f"airflow.youcom.youcom_measured.{name}:1|c"
