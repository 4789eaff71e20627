from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
import requests
import yaml

from airflow_provider_youcom.sandbox import BALANCE_PATH, RESEARCH_PATH, Fault, Sandbox

pytestmark = pytest.mark.only_in_test

OPENAPI = yaml.safe_load((Path(__file__).parent / "contract" / "openapi.yaml").read_text())


def conforms(answer: requests.Response) -> bool:
    """Check an answer against the schema in You.com's OpenAPI for its status."""
    (path,) = OPENAPI["paths"].values()
    content = path["get"]["responses"][str(answer.status_code)]["content"]
    schema = content[answer.headers["Content-Type"]]["schema"]
    # A reference is resolved in the document that it stands in.
    jsonschema.validate(answer.json(), {**schema, "components": OPENAPI["components"]})
    return answer.status_code == 200 or isinstance(answer.json()["detail"], str)


def ask(sandbox: Sandbox, key: str | None = None) -> requests.Response:
    headers = {"X-API-Key": sandbox.api_key if key is None else key}
    return requests.get(sandbox.base_url + BALANCE_PATH, headers=headers, timeout=10)


def test_a_balance_is_answered_as_the_contract_says(sandbox: Sandbox):
    sandbox.set_balance("7189.245")
    answer = ask(sandbox)
    assert conforms(answer)
    assert answer.json()["data"]["type"] == "account"
    assert answer.json()["data"]["attributes"]["balance"] == 718924.5


@pytest.mark.parametrize("key", ["", "wrong", "SANDBOX-KEY"])
def test_any_other_key_is_unauthorized(sandbox: Sandbox, key: str):
    answer = ask(sandbox, key)
    assert answer.status_code == 401
    assert conforms(answer)


def test_the_key_is_accepted_only_in_its_own_header(sandbox: Sandbox):
    url = sandbox.base_url + BALANCE_PATH
    bearer = requests.get(url, headers={"Authorization": f"Bearer {sandbox.api_key}"}, timeout=10)
    in_query = requests.get(url, params={"X-API-Key": sandbox.api_key}, timeout=10)
    assert (bearer.status_code, in_query.status_code) == (401, 401)


def test_a_key_without_the_scope_is_forbidden(sandbox: Sandbox):
    sandbox.accounts[sandbox.api_key].has_billing_scope = False
    answer = ask(sandbox)
    assert answer.status_code == 403
    assert conforms(answer)


def test_a_server_error_has_the_contracts_body(sandbox: Sandbox):
    sandbox.inject(Fault(status=500, body='{"detail": "Internal Server Error"}'))
    answer = ask(sandbox)
    assert answer.status_code == 500
    assert conforms(answer)


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


@pytest.mark.parametrize("request_", [{}, {"input": 1}, {"input": "tides", "research_effort": "great"}])
def test_research_that_is_refused_costs_nothing(sandbox: Sandbox, request_: dict):
    answer = requests.post(
        sandbox.base_url + RESEARCH_PATH, json=request_, headers={"X-API-Key": sandbox.api_key}, timeout=10
    )
    assert answer.status_code == 400
    assert "is not valid: expected" in answer.json()["detail"]
    assert sandbox.balance_usd() == 100


def test_a_charge_is_posted_later_but_spent_at_once():
    def posted() -> float:
        return ask(sandbox).json()["data"]["attributes"]["balance"]

    with Sandbox(10, post_charges_after=0.5) as sandbox:
        charged_at = time.monotonic()
        assert sandbox.spend(7)
        shown_at_once = posted()
        # The machine may be slow: only a balance read well before the charge is due proves anything.
        assert shown_at_once == 1000 or time.monotonic() - charged_at > 0.5
        assert sandbox.balance_usd() == 3
        assert not sandbox.spend(7)
        while posted() != 300:
            assert time.monotonic() - charged_at < 60
        assert time.monotonic() - charged_at >= 0.5


def test_only_charges_are_posted_late():
    with Sandbox(10, post_charges_after=3600) as sandbox:
        requests.post(
            sandbox.base_url + RESEARCH_PATH,
            json={"input": "tides", "research_effort": "deep"},
            headers={"X-API-Key": sandbox.api_key},
            timeout=10,
        )
        sandbox.top_up(5)
        account = sandbox.state()["accounts"][0]
        assert (account["balance"], account["posted_balance"]) == ("$14.90", "$15.00")
        assert ask(sandbox).json()["data"]["attributes"]["balance"] == 1500
        sandbox.set_balance(1)
        assert ask(sandbox).json()["data"]["attributes"]["balance"] == 100


def test_an_account_is_never_charged_more_than_it_holds():
    with Sandbox(1, post_charges_after=3600) as sandbox, ThreadPoolExecutor(8) as spenders:
        paid = list(spenders.map(lambda _: sandbox.spend("0.01"), range(400)))
    assert paid.count(True) == 100
    assert sandbox.refused_count == 300
    assert sandbox.balance_usd() == 0
    assert sandbox.posted_balance_cents(sandbox.accounts[sandbox.api_key]) == 100


def test_each_key_has_an_account_of_its_own():
    with Sandbox(1, accounts={"team": 50}) as sandbox:
        assert ask(sandbox, "team").json()["data"]["attributes"]["balance"] == 5000
        sandbox.inject(Fault(status=503), times=None, api_key="team")
        assert (ask(sandbox, "team").status_code, ask(sandbox).status_code) == (503, 200)
        sandbox.heal("team")
        assert ask(sandbox, "team").status_code == 200
        assert sandbox.request_count == 4


def test_faults_occur_in_order_and_as_often_as_requested(sandbox: Sandbox):
    sandbox.inject(Fault(status=503), times=2)
    sandbox.inject(Fault(status=429, headers={"Retry-After": "7"}))
    answers = [ask(sandbox) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 429, 200]
    assert answers[2].headers["Retry-After"] == "7"


def test_it_can_be_controlled_over_http(sandbox: Sandbox):
    def control(command: str, **request: object) -> dict:
        return requests.post(f"{sandbox.base_url}/sandbox/{command}", json=request, timeout=10).json()

    assert control("balance", usd="3.20")["accounts"][0]["balance"] == "$3.20"
    assert control("top-up", usd=5)["accounts"][0]["balance"] == "$8.20"
    assert control("spend", usd=1)["accounts"][0]["balance"] == "$7.20"
    assert control("faults", status=503, times=2)["faults"] == 2
    assert ask(sandbox).status_code == 503
    assert control("heal")["faults"] == 0
    assert control("spend", usd=7)["accounts"][0]["balance"] == "$0.20"
    assert control("spend", usd=7) == {"detail": "Out of credits"}
    state = requests.get(f"{sandbox.base_url}/sandbox", timeout=10).json()
    assert (state["request_count"], state["refused_count"]) == (1, 1)
    wrong = requests.post(f"{sandbox.base_url}/sandbox/balance", json={"usd": "ten"}, timeout=10)
    assert wrong.status_code == 400
    assert "usd='ten' is not an amount" in wrong.json()["detail"]


def test_a_fault_occurs_as_often_as_requested_before_the_next_one(sandbox: Sandbox):
    sandbox.inject(Fault(status=503), times=10**9)
    assert sandbox.state()["faults"] == 10**9
    assert ask(sandbox).status_code == 503
    assert sandbox.state()["faults"] == 10**9 - 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "503"},
        {"status": 99},
        {"status": True},
        {"headers": {"Retry-After": 5}},
        {"headers": ["Retry-After"]},
        {"body": {}},
        {"delay": float("nan")},
        {"delay": -1},
        {"cut": "off"},
        {"drip": "slow"},
        {"repeat": 0},
        {"repeat": -1, "body": ""},
    ],
    ids=str,
)
def test_a_fault_that_could_not_be_served_is_refused(wrong: dict):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is not valid: expected"):
        Fault(**wrong)


def test_a_restarted_sandbox_has_the_same_address_and_the_same_balance(sandbox: Sandbox):
    with requests.Session() as session:
        url, headers = sandbox.base_url + BALANCE_PATH, {"X-API-Key": sandbox.api_key}
        assert session.get(url, headers=headers, timeout=10).status_code == 200
        sandbox.spend(1)
        sandbox.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(url, headers=headers, timeout=10)
        sandbox.start()
        assert session.get(url, headers=headers, timeout=10).json()["data"]["attributes"]["balance"] == 9900


@pytest.mark.parametrize("fault", [Fault(delay=3600), Fault(drip=3600), Fault(repeat=-1)])
def test_a_sandbox_that_is_stopped_ends_its_threads(fault: Fault):
    others = set(threading.enumerate())
    with Sandbox() as sandbox:
        sandbox.inject(fault)
        head = f"GET {BALANCE_PATH} HTTP/1.1\r\nX-API-Key: {sandbox.api_key}\r\n\r\n"
        address = ("127.0.0.1", int(sandbox.base_url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=60) as client:
            client.sendall(head.encode())
            while not sandbox.request_count:
                time.sleep(0.01)
            serving = set(threading.enumerate()) - others
            assert len(serving) == 2
            sandbox.stop()
            for thread in serving:
                thread.join(60)
            assert not any(thread.is_alive() for thread in serving)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_it_listens_on_this_machine_only(host: str):
    with pytest.raises(ValueError, match="would let others in"):
        Sandbox(host=host)


def test_it_runs_as_a_separate_program():
    options = ["--port", "0", "--balance-usd", "3.20"]
    program = subprocess.Popen(
        [sys.executable, "-P", "-m", "airflow_provider_youcom.sandbox", *options],
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
