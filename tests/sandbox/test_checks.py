"""What a user writes into a sandbox is checked where it is written, and not when a request fails."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
import requests

from airflow_provider_youcom.sandbox import BALANCE_PATH, Account, Fault, Sandbox

pytestmark = pytest.mark.only_in_test

NOT_KEYS: list[Any] = ["", " ", "a b", "a\n", " key", "key ", "schlüssel", "key\x7f", None, 1, b"key"]
NOT_SECONDS: list[Any] = [float("nan"), float("inf"), -1, True, "5", None, 86_401]


@pytest.mark.parametrize("key", NOT_KEYS, ids=repr)
def test_a_key_that_no_request_can_have_is_refused(key: Any, sandbox: Sandbox):
    attempts: list[Callable[[], object]] = [
        lambda: Sandbox(api_key=key),
        lambda: Sandbox(accounts={key: 5}),
        lambda: sandbox.accounts.update({key: Account("4f1c", Decimal(1))}),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match="The key of an account is not valid: expected a text of"):
            attempt()


def test_the_same_key_twice_is_refused():
    with pytest.raises(ValueError, match="accounts is not valid: expected each key once"):
        Sandbox(accounts={"sandbox-key": 3})


@pytest.mark.parametrize("accounts", [["a"], "ab", 5])
def test_accounts_that_are_not_a_mapping_are_refused(accounts: Any):
    with pytest.raises(ValueError, match="accounts is not valid: expected a mapping"):
        Sandbox(accounts=accounts)


def test_a_key_that_names_no_account_is_refused_by_each_method(sandbox: Sandbox):
    attempts: list[Callable[[str], object]] = [
        lambda key: sandbox.inject(Fault(status=503), api_key=key),
        sandbox.heal,
        sandbox.balance_usd,
        sandbox.spent_usd,
        lambda key: sandbox.set_balance(1, key),
        lambda key: sandbox.top_up(1, key),
        lambda key: sandbox.spend(1, key),
        lambda key: sandbox.set_spending_cap(1, key),
    ]
    for attempt in attempts:
        for key in ("sandbox_key", "", "SANDBOX-KEY"):
            with pytest.raises(ValueError, match="api_key is not valid: expected the key of an account"):
                attempt(key)
    assert sandbox.state()["faults"] == 0


def test_a_key_that_was_removed_has_no_account_and_a_new_one_has(sandbox: Sandbox):
    sandbox.accounts["rotated"] = sandbox.accounts.pop(sandbox.api_key)
    sandbox.inject(Fault(status=503), api_key="rotated")
    with pytest.raises(ValueError, match="api_key is not valid"):
        sandbox.inject(Fault(status=503), api_key=sandbox.api_key)


@pytest.mark.parametrize("fault", [503, {"status": 503}, None, Fault])
def test_only_a_fault_is_injected(fault: Any, sandbox: Sandbox):
    with pytest.raises(ValueError, match="fault is not valid: expected a Fault"):
        sandbox.inject(fault)


@pytest.mark.parametrize("times", [0, -1, True, 1.5, "3"])
def test_a_fault_occurs_a_whole_number_of_times(times: Any, sandbox: Sandbox):
    with pytest.raises(ValueError, match="times is not valid"):
        sandbox.inject(Fault(status=503), times)


@pytest.mark.parametrize("seconds", NOT_SECONDS, ids=repr)
def test_seconds_are_a_number_up_to_a_day(seconds: Any, sandbox: Sandbox):
    attempts: list[Callable[[], object]] = [
        lambda: Sandbox(post_charges_after=seconds),
        lambda: Account("4f1c", Decimal(1), post_charges_after=seconds),
        lambda: setattr(sandbox.accounts[sandbox.api_key], "post_charges_after", seconds),
        lambda: Fault(delay=seconds),
        lambda: Fault(drip=seconds),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match="is not valid: expected a number of seconds from 0 to 86400"):
            attempt()


@pytest.mark.parametrize("usd", [-1, "nan", "inf", True, None, "ten", 10**13, [], b"5"], ids=repr)
def test_a_balance_that_is_not_an_amount_is_refused(usd: Any, sandbox: Sandbox):
    attempts: list[Callable[[], object]] = [
        lambda: Sandbox(usd),
        lambda: Sandbox(accounts={"team": usd}),
        lambda: sandbox.set_balance(usd),
        lambda: sandbox.top_up(usd),
        lambda: sandbox.spend(usd),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match="usd"):
            attempt()
    assert sandbox.balance_usd() == 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account_id", ""),
        ("account_id", 5),
        ("balance_cents", 320.5),
        ("balance_cents", 320),
        ("balance_cents", "320"),
        ("balance_cents", Decimal("NaN")),
        ("balance_cents", Decimal("1e400")),
        ("has_billing_scope", "no"),
        ("has_billing_scope", None),
    ],
)
def test_an_account_keeps_what_it_had_if_a_new_value_cannot_be_served(
    name: str, value: object, sandbox: Sandbox
):
    account = sandbox.accounts[sandbox.api_key]
    before = getattr(account, name)
    with pytest.raises(ValueError, match=f"{name} is not valid: expected"):
        setattr(account, name, value)
    assert getattr(account, name) == before
    with pytest.raises(ValueError, match=f"{name} is not valid: expected"):
        Account(**{"account_id": "4f1c", "balance_cents": Decimal(1), name: value})


def test_an_account_may_owe_money(sandbox: Sandbox):
    sandbox.accounts[sandbox.api_key].balance_cents = Decimal("-50.5")
    answer = requests.get(sandbox.base_url + BALANCE_PATH, headers={"X-API-Key": sandbox.api_key}, timeout=60)
    assert answer.json()["data"]["attributes"]["balance"] == -50.5
    assert not sandbox.spend("0.01")


@pytest.mark.parametrize("account", [100, None, {"balance": 5}])
def test_only_an_account_belongs_to_a_key(account: Any, sandbox: Sandbox):
    with pytest.raises(ValueError, match="The account of a key is not valid: expected an Account"):
        sandbox.accounts["team"] = account


def test_accounts_are_not_replaced_by_others_that_are_not_checked(sandbox: Sandbox):
    with pytest.raises(AttributeError):
        sandbox.accounts = {"": 5}  # type: ignore[misc,assignment]
    sandbox.accounts["team"] = Account("4f1c", Decimal(700))
    assert [each["balance"] for each in sandbox.state()["accounts"]] == ["$100.00", "$7.00"]


@pytest.mark.parametrize("key", [*"0123456789abcdef", "ad", "e2", "key"])
def test_no_account_id_contains_its_key(key: str):
    sandbox = Sandbox(api_key=key)
    account_id = sandbox.accounts[key].account_id
    assert key not in account_id
    assert len(account_id) == 24
    assert Sandbox(api_key=key).accounts[key].account_id == account_id
    with pytest.raises(ValueError, match="account_id is not valid: expected a text that does not contain"):
        sandbox.accounts[key] = Account(f"4f{key}1c", Decimal(1))


@pytest.mark.parametrize(
    "host", ["", "here", "127.0.0.1:80", "127.0.0", 2130706433, b"\x7f\x00\x00\x01", None]
)
def test_a_host_that_is_not_an_address_is_refused(host: Any):
    with pytest.raises(
        ValueError, match=r"host is not valid: expected a loopback address, 127\.0\.0\.1 or ::1"
    ):
        Sandbox(host=host)


def test_localhost_is_this_machine():
    with Sandbox(host="localhost") as sandbox:
        assert sandbox.base_url.startswith("http://127.0.0.1:")
        assert requests.get(f"{sandbox.base_url}/sandbox", timeout=60).status_code == 200


@pytest.mark.parametrize("port", [-1, 65_536, True, "8765", 80.0, None])
def test_a_port_that_does_not_exist_is_refused(port: Any):
    with pytest.raises(ValueError, match="port is not valid: expected a number from 0 to 65535"):
        Sandbox(port=port)


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sandbox = Sandbox(port=port)
        with pytest.raises(
            OSError, match=rf"cannot listen on port {port} of 127\.0\.0\.1 .*: use another"
        ) as caught:
            sandbox.start()
        assert caught.value.errno == errno.EADDRINUSE
        sandbox.stop()
    with sandbox:
        assert sandbox.base_url == f"http://127.0.0.1:{port}"


def test_a_sandbox_without_a_port_has_no_address_yet():
    sandbox = Sandbox()
    with pytest.raises(RuntimeError, match="start it before you ask for its base_url"):
        sandbox.connection()


def test_a_sandbox_that_runs_is_not_started_again_and_one_that_was_stopped_is(sandbox: Sandbox):
    with pytest.raises(RuntimeError, match="runs already: stop it before you start it again"):
        sandbox.start()
    url = f"{sandbox.base_url}/sandbox"
    assert requests.get(url, timeout=60).status_code == 200
    sandbox.stop()
    sandbox.stop()
    sandbox.start()
    assert requests.get(url, timeout=60).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"": "5"},
        {"Retry After": "5"},
        {"Retry-After:": "5"},
        {"Retry-After": "5\r\nX: 1"},
        {"Retry-After": "fünf €"},
        {"Retry-After\n": "5"},
    ],
    ids=str,
)
def test_a_header_that_http_does_not_allow_is_refused(headers: dict[str, str]):
    with pytest.raises(ValueError, match="headers is not valid: expected an object of names and values"):
        Fault(headers=headers)


@pytest.mark.parametrize("status", [0, 100, 199, 1000, 503.0])
def test_a_status_that_ends_no_request_is_refused(status: Any):
    with pytest.raises(ValueError, match="status is not valid: expected a number from 200 to 999"):
        Fault(status=status)


def test_a_status_can_have_its_name(sandbox: Sandbox):
    sandbox.inject(Fault(status=HTTPStatus.SERVICE_UNAVAILABLE))
    assert requests.get(sandbox.base_url + BALANCE_PATH, timeout=60).status_code == 503


def test_a_misspelt_member_of_a_request_is_named_with_those_that_exist(sandbox: Sandbox):
    for path, request, members in (
        ("faults", {"statsu": 503}, "times, status, headers, body, delay, cut, drip, repeat, api_key"),
        ("balance", {"uds": 5}, "usd (required), api_key"),
        ("top-up", {}, "usd (required), api_key"),
        ("spend", {"usd": 5, "you_com": 1}, "usd (required), api_key"),
        ("heal", {"times": 1}, "api_key"),
    ):
        answer = requests.post(f"{sandbox.base_url}/sandbox/{path}", json=request, timeout=60)
        assert answer.status_code == 400
        expected = f"The body is not valid: expected an object with no other members than {members}."
        assert answer.json() == {"detail": expected}
    assert sandbox.balance_usd() == 100
