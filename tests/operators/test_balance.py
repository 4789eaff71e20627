from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_youcom.exceptions import YouComResponseError, YouComUnavailableError
from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.sandbox import Fault, Sandbox


def run(**options: object) -> dict:
    return GetBalanceOperator(task_id="get_balance", retries=0, **options).execute({})  # type: ignore[arg-type]


def test_it_returns_the_balance_as_plain_json(sandbox: Sandbox):
    balance = run()
    assert json.loads(json.dumps(balance)) == balance
    assert (balance["balance_cents"], balance["balance_usd"]) == (10_000, 100)


def test_it_logs_one_line_that_a_person_can_read(sandbox: Sandbox, task_log: pytest.LogCaptureFixture):
    run()
    account = sandbox.accounts[sandbox.api_key].account_id
    assert task_log.messages[-1] == f"You.com account {account}: $100.00 left"


def test_a_refusal_fails_without_retries(sandbox: Sandbox):
    sandbox.inject(Fault(status=401))
    with pytest.raises(AirflowFailException, match="You.com refused connection 'youcom_default'"):
        run()


def test_a_missing_answer_or_balance_is_left_to_the_retries(sandbox: Sandbox):
    sandbox.inject(Fault(status=503), times=3)
    with pytest.raises(YouComUnavailableError):
        run()
    sandbox.inject(Fault(body="{}"))
    with pytest.raises(YouComResponseError):
        run()


def test_each_member_has_its_own_xcom_key_unless_that_is_switched_off():
    assert GetBalanceOperator(task_id="a").multiple_outputs is True
    assert GetBalanceOperator(task_id="b", multiple_outputs=False).multiple_outputs is False


def test_construction_reads_no_connection():
    GetBalanceOperator(task_id="c", youcom_conn_id="{{ params.account }}")
