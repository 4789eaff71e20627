from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
import requests

from airflow_provider_youcom.sandbox import BALANCE_PATH, RESEARCH_PATH, Fault, Sandbox

CONTRACT = Path(__file__).parent / "contract"


def conforms(answer: requests.Response, schema: str) -> bool:
    jsonschema.validate(answer.json(), json.loads((CONTRACT / f"{schema}.schema.json").read_text()))
    return answer.headers["Content-Type"] == "application/json"


def ask(sandbox: Sandbox, key: str | None = None) -> requests.Response:
    headers = {"X-API-Key": sandbox.api_key if key is None else key}
    return requests.get(sandbox.base_url + BALANCE_PATH, headers=headers, timeout=10)


def test_a_balance_is_answered_as_the_contract_says(sandbox: Sandbox):
    sandbox.set_balance("7189.245")
    answer = ask(sandbox)
    assert conforms(answer, "account_balance")
    assert answer.json()["data"]["attributes"]["balance"] == 718924.5


@pytest.mark.parametrize("key", ["", "wrong", "SANDBOX-KEY"])
def test_any_other_key_is_unauthorized(sandbox: Sandbox, key: str):
    answer = ask(sandbox, key)
    assert answer.status_code == 401
    assert conforms(answer, "error")


def test_the_key_counts_in_its_own_header_only(sandbox: Sandbox):
    url = sandbox.base_url + BALANCE_PATH
    bearer = requests.get(url, headers={"Authorization": f"Bearer {sandbox.api_key}"}, timeout=10)
    in_query = requests.get(url, params={"X-API-Key": sandbox.api_key}, timeout=10)
    assert (bearer.status_code, in_query.status_code) == (401, 404)


def test_a_key_without_the_scope_is_forbidden(sandbox: Sandbox):
    sandbox.accounts[sandbox.api_key].has_billing_scope = False
    answer = ask(sandbox)
    assert answer.status_code == 403
    assert conforms(answer, "error")


def test_a_server_error_has_the_contracts_body(sandbox: Sandbox):
    sandbox.inject(Fault(status=500, body='{"detail": "Internal Server Error"}'))
    answer = ask(sandbox)
    assert answer.status_code == 500
    assert conforms(answer, "error")


def test_credits_are_set_spent_and_topped_up_while_it_runs(sandbox: Sandbox):
    sandbox.set_balance("3.20")
    sandbox.top_up("21.80")
    assert sandbox.spend("0.005")
    assert sandbox.balance_usd() == Decimal("24.995")
    assert not sandbox.spend(25)
    assert ask(sandbox).json()["data"]["attributes"]["balance"] == 2499.5


def test_research_is_charged_at_you_coms_price_until_the_credits_are_gone(sandbox: Sandbox):
    sandbox.set_balance("0.013")
    request = {"input": "What is the capital of France?", "research_effort": "lite"}
    first, second = (
        requests.post(
            sandbox.base_url + RESEARCH_PATH, json=request, headers={"X-API-Key": sandbox.api_key}, timeout=10
        )
        for _ in range(2)
    )
    assert "France" in first.json()["output"]["content"]
    assert second.status_code == 402
    assert sandbox.balance_usd() == Decimal("0.001")


def test_each_key_has_an_account_of_its_own():
    with Sandbox(1, accounts={"team": 50}) as sandbox:
        assert ask(sandbox, "team").json()["data"]["attributes"]["balance"] == 5000
        sandbox.inject(Fault(status=503), times=None, api_key="team")
        assert (ask(sandbox, "team").status_code, ask(sandbox).status_code) == (503, 200)
        sandbox.heal("team")
        assert ask(sandbox, "team").status_code == 200
        assert sandbox.request_count == 4


def test_faults_strike_in_order_and_as_often_as_asked(sandbox: Sandbox):
    sandbox.inject(Fault(status=503), times=2)
    sandbox.inject(Fault(status=429, headers={"Retry-After": "7"}))
    answers = [ask(sandbox) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 429, 200]
    assert answers[2].headers["Retry-After"] == "7"


def test_it_can_be_steered_over_http(sandbox: Sandbox):
    def control(command: str, **request: object) -> dict:
        return requests.post(f"{sandbox.base_url}/sandbox/{command}", json=request, timeout=10).json()

    assert control("balance", usd="3.20")["accounts"][0]["balance"] == "$3.20"
    assert control("top-up", usd=5)["accounts"][0]["balance"] == "$8.20"
    assert control("spend", usd=1)["accounts"][0]["balance"] == "$7.20"
    assert control("faults", status=503, times=2)["faults"] == 2
    assert ask(sandbox).status_code == 503
    assert control("heal")["faults"] == 0
    assert requests.get(f"{sandbox.base_url}/sandbox", timeout=10).json()["request_count"] == 1
    wrong = requests.post(f"{sandbox.base_url}/sandbox/balance", json={"usd": "ten"}, timeout=10)
    assert wrong.status_code == 400
    assert "usd='ten' is not an amount" in wrong.json()["detail"]


def test_a_sandbox_that_was_stopped_comes_back_at_the_same_place_with_the_same_money(sandbox: Sandbox):
    with requests.Session() as session:
        url, headers = sandbox.base_url + BALANCE_PATH, {"X-API-Key": sandbox.api_key}
        assert session.get(url, headers=headers, timeout=10).status_code == 200
        sandbox.spend(1)
        sandbox.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(url, headers=headers, timeout=10)
        sandbox.start()
        assert session.get(url, headers=headers, timeout=10).json()["data"]["attributes"]["balance"] == 9900


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_it_listens_on_this_machine_only(host: str):
    with pytest.raises(ValueError, match="would let others in"):
        Sandbox(host=host)


def test_it_runs_as_a_program_of_its_own():
    program = subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_youcom.sandbox", "--port", "0", "--balance-usd", "3.20"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        greeting = program.stdout.readline()
        assert "holding $3.20" in greeting
        base_url = greeting.split(" at ")[1].split(",")[0]
        answer = requests.get(base_url + BALANCE_PATH, headers={"X-API-Key": "sandbox-key"}, timeout=10)
        assert answer.json()["data"]["attributes"]["balance"] == 320
    finally:
        program.terminate()
        program.wait(10)


def test_it_refuses_to_run_for_others():
    program = subprocess.run(
        [sys.executable, "-m", "airflow_provider_youcom.sandbox", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert program.returncode == 2
    assert "would let others in" in program.stderr
