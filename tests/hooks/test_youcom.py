from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_youcom.exceptions import (
    YouComRefusedError,
    YouComSpendCapError,
    YouComUnavailableError,
)
from airflow_provider_youcom.hooks._connection import read_connection
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.sandbox import RESEARCH_PATH, Fault, Sandbox
from tests.faults.broken_server import BrokenServer, says_nothing


def base_url_of(uri: str) -> str:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_X", uri)
        return YouComHook("x").base_url


def connect(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, **extra: object) -> None:
    connection = {**json.loads(sandbox.connection()), "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps(connection))


def test_the_balance_is_read_through_the_connection(sandbox: Sandbox):
    assert YouComHook().get_balance().balance_cents == 10_000


def test_a_balance_is_stored_in_the_ledger_that_the_connection_names(sandbox: Sandbox, ledger: Ledger):
    def newest_usd() -> Decimal:
        return ledger.accounts.overview(account_id).readings[-1].balance_usd

    account_id = YouComHook().get_balance().account_id
    assert newest_usd() == 100
    sandbox.spend(1)
    YouComHook().get_balance()
    assert newest_usd() == 99


@pytest.mark.parametrize(
    ("ledger_conn_id", "problem"),
    [("nowhere", "add it, or correct ledger_conn_id"), ("ledger", "The ledger 'ledger' cannot be used")],
)
def test_a_ledger_that_cannot_be_used_is_logged_and_hides_no_balance(
    ledger_conn_id: str,
    problem: str,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    connect(monkeypatch, sandbox, ledger_conn_id=ledger_conn_id)
    folder = {"conn_type": "sqlite", "host": str(tmp_path)}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(folder))
    with caplog.at_level("INFO"):
        assert YouComHook().get_balance().balance_cents == 10_000
    assert "The ledger's history of balances is not complete" in caplog.text
    assert problem in caplog.text


def test_the_settle_time_comes_from_the_connection(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    connect(monkeypatch, sandbox, settle_seconds="2.5")
    assert YouComHook().settle_seconds == 2.5
    connect(monkeypatch, sandbox)
    assert YouComHook().settle_seconds == 60


@pytest.mark.parametrize("seconds", [0, 2.5])
def test_the_connection_of_a_sandbox_says_when_it_posts_charges(
    seconds: float, monkeypatch: pytest.MonkeyPatch
):
    with Sandbox(post_charges_after=seconds) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", sandbox.connection())
        assert YouComHook().settle_seconds == seconds


def test_the_balance_is_read_without_blocking_the_event_loop(sandbox: Sandbox):
    sandbox.inject(Fault(delay=0.5))

    async def count_while_asking() -> tuple[int, int]:
        asking = asyncio.create_task(YouComHook().aget_balance())
        turns = 0
        while not asking.done():
            await asyncio.sleep(0.01)
            turns += 1
        return turns, int((await asking).balance_cents)

    turns, cents = asyncio.run(count_while_asking())
    assert cents == 10_000
    assert turns > 5


def test_checks_of_a_silent_you_com_do_not_use_up_the_threads_of_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
):
    more_than_the_loop_has = 40

    async def somebody_else() -> int:
        checks = [asyncio.create_task(YouComHook().aget_balance()) for _ in range(more_than_the_loop_has)]
        while not silent.heard:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(asyncio.to_thread(int), 60)
        ended = sum(check.done() for check in checks)
        silent.hang_up()
        await asyncio.gather(*checks, return_exceptions=True)
        return ended

    with BrokenServer(says_nothing) as silent:
        connection = {
            "conn_type": "youcom",
            "host": silent.base_url,
            "password": "k",
            "extra": {"retries": 0},
        }
        monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps(connection))
        assert asyncio.run(somebody_else()) == 0


def test_a_rotated_key_is_used_by_the_next_asynchronous_check(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    hook = YouComHook()
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", sandbox.connection("old-key"))
    with pytest.raises(YouComRefusedError, match="HTTP 401"):
        asyncio.run(hook.aget_balance())
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", sandbox.connection())
    assert asyncio.run(hook.aget_balance()).balance_cents == 10_000


def test_the_session_can_make_other_calls_to_the_same_origin(sandbox: Sandbox):
    hook = YouComHook()
    answer = hook.get_conn().post(
        hook.base_url + RESEARCH_PATH, json={"input": "tides", "research_effort": "lite"}
    )
    assert answer.status_code == 200
    assert hook.get_balance().balance_cents == Decimal("9998.8")


def test_the_session_returns_the_answer_for_a_key_at_its_spending_cap(sandbox: Sandbox):
    hook = YouComHook()
    body = '{"error": {"code": "spend_cap_exceeded"}}'
    sandbox.inject(Fault(status=429, body=body), times=None)
    answer = hook.get_conn().get(f"{hook.base_url}/v1/billing/account_balance")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "spend_cap_exceeded")
    assert sandbox.request_count == 1
    with pytest.raises(YouComSpendCapError, match="You.com refused connection 'youcom_default'"):
        asyncio.run(hook.aget_balance())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_host_without_a_scheme_that_speaks_plain_http_is_refused_with_the_address_to_write(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, host: str
):
    address = f"{host}:{sandbox.base_url.rpartition(':')[2]}"
    bare = {"conn_type": "youcom", "password": sandbox.api_key, "host": address}
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps(bare))
    with pytest.raises(YouComRefusedError) as caught:
        YouComHook().get_balance()
    assert str(caught.value) == (
        f"The server at https://{address} does not speak TLS; make http://{address} the Base URL of the "
        "connection."
    )
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps({**bare, "host": f"http://{address}"}))
    assert YouComHook().get_balance().balance_cents == 10_000
    assert sandbox.request_count == 1


@pytest.mark.parametrize(
    ("uri", "base_url"),
    [
        ("youcom://:key@", "https://api.you.com"),
        ("youcom://:key@api.you.com", "https://api.you.com"),
        ("youcom://:key@api.you.com:8443", "https://api.you.com:8443"),
        ("youcom://:key@127.0.0.1:8765/http", "http://127.0.0.1:8765"),
        ("youcom://:key@https%3A%2F%2Fgateway.example%2Fyou%2F", "https://gateway.example/you"),
        ("youcom://:key@http%3A%2F%2Flocalhost%3A8765", "http://localhost:8765"),
    ],
)
def test_the_host_is_a_base_url_or_is_combined_with_schema_and_port(uri: str, base_url: str):
    assert base_url_of(uri) == base_url


def test_an_ipv6_address_may_be_written_without_brackets():
    connection = Connection(
        conn_id="x", conn_type="youcom", host="::1", port=8765, schema="http", password="key"
    )
    assert read_connection(connection, "connection 'x'").client.base_url == "http://[::1]:8765"


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        (
            "youcom://api.you.com",
            "There is no API key: create one at .* and make it the password of connection 'x'",
        ),
        ("youcom://:key@http%3A%2F%2Fapi.you.com", "The Base URL of connection 'x' must start with https://"),
        ("youcom://:key@?timeout=0", "timeout='?0'? in the extra of .* a number from 1 to 600"),
        ("youcom://:key@?timeout=soon", "timeout='soon'"),
        ("youcom://:key@?timeout=nan", "timeout='nan'"),
        ("youcom://:key@?retries=1.5", "retries='?1.5'? .* a whole number from 0 to 10"),
        ("youcom://:key@?retries=-1", "retries='?-1'?"),
    ],
)
def test_the_error_for_an_unusable_connection_says_what_to_set_where(uri: str, problem: str):
    with pytest.raises(YouComRefusedError, match=problem) as caught:
        base_url_of(uri)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "extra", [{}, {"timeout": "", "retries": None}, {"timeout": "5", "retries": "0"}, {"timeout": 2.5}]
)
def test_extras_may_be_numbers_or_text_or_left_out(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, extra: dict
):
    connect(monkeypatch, sandbox, **extra)
    assert YouComHook().get_balance().balance_cents == 10_000


def test_timeout_and_retries_of_the_connection_are_respected(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    connect(monkeypatch, sandbox, timeout=7, retries=0)
    sandbox.inject(Fault(status=503), times=None)
    with pytest.raises(YouComUnavailableError):
        YouComHook().get_balance()
    assert sandbox.request_count == 1
    connect(monkeypatch, sandbox, timeout=1)
    sandbox.heal()
    sandbox.inject(Fault(drip=0.3), times=None)
    with pytest.raises(YouComUnavailableError, match="nothing complete within 1 s"):
        YouComHook().get_balance()


@pytest.mark.usefixtures("airflow_database")
def test_the_error_for_a_missing_connection_says_what_to_add():
    with pytest.raises(
        YouComRefusedError,
        match="There is no connection 'nowhere' that Airflow can read: add one of type You.com",
    ):
        YouComHook("nowhere").get_balance()
    with pytest.raises(YouComRefusedError, match="There is no connection 'nowhere'"):
        asyncio.run(YouComHook("nowhere").aget_balance())


def test_the_connection_test_answers_with_the_balance(sandbox: Sandbox):
    sandbox.set_balance("7189.245")
    account = sandbox.accounts[sandbox.api_key].account_id
    assert YouComHook().test_connection() == (True, f"You.com account {account}: $7,189.24 left")


def test_the_connection_test_answers_with_what_is_wrong(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", sandbox.connection("old-key"))
    worked, sentence = YouComHook().test_connection()
    assert not worked
    assert sentence == (
        'You.com refused this connection (HTTP 401, "Invalid or missing API key"); '
        "create a key at https://you.com/platform and use it instead."
    )


def test_a_cancelled_check_still_reads_its_connection_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
):
    asked, answered = asyncio.Event(), asyncio.Event()

    async def ask_the_supervisor(conn_id: str, hook: YouComHook) -> Connection:
        asked.set()
        await asyncio.sleep(0)
        answered.set()
        return Connection(conn_id=conn_id, conn_type="youcom", password="key")

    async def cancel_in_between() -> None:
        check = asyncio.create_task(YouComHook().aget_balance())
        await asked.wait()
        check.cancel()
        await asyncio.wait([check])
        assert check.cancelled()
        await asyncio.wait_for(answered.wait(), timeout=10)

    monkeypatch.setattr("airflow_provider_youcom.hooks._lookup.get_async_connection", ask_the_supervisor)
    asyncio.run(cancel_in_between())
