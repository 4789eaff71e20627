"""Public bug reports of other providers and sensors, tried here. docs/bug-reports.md lists all of them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from airflow.providers.common.compat.sdk import Connection, TaskDeferred

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.billing._session import OneOriginSession
from airflow_provider_youcom.exceptions import YouComUnavailableError
from airflow_provider_youcom.gate import CreditGate
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sandbox import Fault, Sandbox
from airflow_provider_youcom.sensors.balance import BalanceSensor
from airflow_provider_youcom.triggers.balance import BalanceTrigger

pytestmark = pytest.mark.on_the_ends


def connect(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, **changed: Any) -> None:
    connection = {**json.loads(sandbox.connection()), **changed}
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps(connection))


def test_a_subclass_hands_its_own_connection_to_the_asynchronous_call_too(sandbox: Sandbox):
    """https://github.com/apache/airflow/issues/66845"""
    written = json.loads(sandbox.connection())

    class VaultHook(YouComHook):
        @classmethod
        def get_connection(cls, conn_id: str) -> Connection:
            return Connection(conn_id=conn_id, **written)

        @classmethod
        async def aget_connection(cls, conn_id: str) -> Connection:
            return cls.get_connection(conn_id)

    hook = VaultHook("only in the vault")
    assert hook.get_balance().balance_usd == 100
    assert asyncio.run(hook.aget_balance()).balance_usd == 100


@pytest.mark.parametrize(
    "extra", ["{}", "", '{"timeout": "", "retries": null}', '{"region": "eu", "proxy": {"host": "x"}}']
)
def test_the_test_button_works_whatever_a_form_leaves_in_the_extra(
    extra: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    """https://github.com/apache/airflow/issues/32890, issues/17235, pull/26845"""
    connect(monkeypatch, sandbox, extra=extra)
    assert YouComHook().test_connection()[0]


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {} "])
def test_a_line_break_at_the_end_of_a_mounted_secret_is_not_part_of_the_key(
    around: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    """https://github.com/apache/airflow/issues/16406"""
    connect(monkeypatch, sandbox, password=around.format(sandbox.api_key))
    assert YouComHook().get_balance().balance_usd == 100


@pytest.mark.parametrize("base_url", ["https://api.you.com", "http://127.0.0.1:8765"])
def test_a_netrc_file_changes_no_header(base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """https://github.com/psf/requests/issues/3929"""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session = OneOriginSession("4f1c", base_url, timeout=1, retries=0)
    request = session.prepare_request(requests.Request("GET", base_url))
    assert request.headers["X-API-Key"] == "4f1c"
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    "retry_after", ["9999999999", "9" * 400, "-5", "soon", "Fri, 31 Dec 9999 23:59:59 GMT"]
)
def test_no_retry_after_makes_a_call_hang_or_break(
    retry_after: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    """https://github.com/urllib3/urllib3/pull/3743"""
    connect(monkeypatch, sandbox, extra={"timeout": 2, "retries": 1})
    sandbox.inject(Fault(status=429, headers={"Retry-After": retry_after}), times=None)
    with pytest.raises(YouComUnavailableError, match="HTTP 429"):
        YouComHook().get_balance()


def test_a_hook_can_be_constructed_on_an_event_loop_without_a_connection():
    """https://github.com/apache/airflow/issues/53447"""

    async def construct() -> YouComHook:
        return YouComHook("nowhere")

    assert asyncio.run(construct()).youcom_conn_id == "nowhere"


@pytest.mark.parametrize("left_out", [field.name for field in fields(BalanceTrigger)])
def test_a_trigger_is_recreated_although_an_argument_was_lost(left_out: str):
    """https://github.com/apache/airflow/pull/32729"""
    arguments = BalanceTrigger(min_usd="25").serialize()[1]
    del arguments[left_out]
    assert BalanceTrigger(**arguments).serialize()[1].keys() == BalanceTrigger().serialize()[1].keys()


@pytest.mark.parametrize("cents", ["2e30", "-0.5", "1e-300", "12345678901234567.89", "9007199254740993"])
def test_the_event_is_plain_json_whatever_the_balance(cents: str):
    """https://github.com/apache/airflow/issues/60120: an event that was not JSON ended the triggerer."""
    balance = AccountBalance("4f1c", Decimal(cents), datetime(2026, 1, 1, tzinfo=UTC))
    for min_usd in (0, 10**20):
        event = CreditGate(min_usd).judge(balance).to_event()
        assert json.loads(json.dumps(event, allow_nan=False)) == event
        assert not {type(amount) for amount in event["balance"].values()} - {str, int, float}


def test_a_threshold_keeps_every_digit_on_its_way_to_the_triggerer(sandbox: Sandbox):
    """https://github.com/apache/airflow/pull/72064"""
    gate = BalanceSensor(task_id="gate", min_usd=Decimal("12345678901234567.89"), deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        gate.execute({})
    assert deferred.value.trigger.serialize()[1]["min_usd"] == "12345678901234567.89"


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_a_gate_that_starts_over_after_a_deferral_waits_and_is_not_skipped(option: str, sandbox: Sandbox):
    """https://github.com/apache/airflow/pull/68327"""
    sandbox.set_balance(0)
    gate = BalanceSensor(task_id="gate", min_usd=25, deferrable=True, **{option: True})  # type: ignore[arg-type]
    with pytest.raises(TaskDeferred):
        gate.resume_execution("execute_complete", {"event": None}, {})
