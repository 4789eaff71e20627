"""A connection that somebody must correct is refused in every mode in one sentence, and nothing is sent."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.triggers.base import TriggerEvent

from airflow_provider_youcom.exceptions import YouComRefusedError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.sandbox import Sandbox
from airflow_provider_youcom.sensors.balance import BalanceSensor
from airflow_provider_youcom.triggers.balance import BalanceTrigger

pytestmark = [pytest.mark.usefixtures("airflow_database"), pytest.mark.on_the_ends]

KEY = "ydc-sk-4f1c-0a73d419"
CONN_ID = "youcom_unusable"


def sentence_of(call: Callable[[], object], *errors: type[Exception]) -> str:
    with pytest.raises(errors) as caught:
        call()
    return str(caught.value)


def gate(**options: Any) -> BalanceSensor:
    return BalanceSensor(task_id="gate", youcom_conn_id=CONN_ID, min_usd=1, poke_interval=1, **options)


def in_the_triggerer() -> str:
    async def first_event(events: AsyncIterator[TriggerEvent]) -> TriggerEvent:
        async with aclosing(events) as open_events:  # type: ignore[type-var]
            return await asyncio.wait_for(anext(open_events), 60)

    event = asyncio.run(first_event(BalanceTrigger(youcom_conn_id=CONN_ID, min_usd="1").run())).payload
    return sentence_of(lambda: gate(deferrable=True).execute_complete({}, event), AirflowFailException)


def with_the_test_button() -> str:
    worked, sentence = YouComHook(CONN_ID).test_connection()
    assert not worked
    return sentence


MODES: dict[str, Callable[[], str]] = {
    "hook": lambda: sentence_of(YouComHook(CONN_ID).get_balance, YouComRefusedError),
    "hook, on an event loop": lambda: sentence_of(
        lambda: asyncio.run(YouComHook(CONN_ID).aget_balance()), YouComRefusedError
    ),
    "test button": with_the_test_button,
    "operator": lambda: sentence_of(
        lambda: GetBalanceOperator(task_id="get_balance", youcom_conn_id=CONN_ID).execute({}),
        AirflowFailException,
    ),
    "poke": lambda: sentence_of(lambda: gate().execute({}), AirflowFailException),
    "deferred": lambda: sentence_of(lambda: gate(deferrable=True).execute({}), AirflowFailException),
    "triggerer": in_the_triggerer,
}

MISTAKES = {
    "extra is a list": ({"extra": "[1, 2]"}, "The extra of .* is not a JSON object"),
    "extra is a number": ({"extra": "7"}, "The extra of .* is not a JSON object"),
    "extra is a string": ({"extra": '"text"'}, "The extra of .* is not a JSON object"),
    "extra is no JSON": ({"extra": "timeout=10"}, "The extra of .* is not a JSON object"),
    "key as login": ({"password": "", "login": KEY}, "its login may hold the API key: move the key"),
    "key in the extra": (
        {"password": "", "extra": json.dumps({"api_key": KEY})},
        "its extra field api_key may hold the API key: move the key",
    ),
    "asterisks": ({"password": "***"}, "the row of asterisks that Airflow shows"),
    "quotation marks": ({"password": f'"{KEY}"'}, "has quotation marks around it; remove them"),
    "placeholder": ({"password": "$YDC_API_KEY"}, "is a placeholder; replace it"),
    "template": ({"password": "{{ var.value.key }}"}, "is a placeholder; replace it"),
    "slip in the scheme": ({"host": "https:/api.you.com"}, "The Base URL of "),
    "two ports": ({"host": "https://proxy.local:8443", "port": 8080}, "The port of .* contradicts"),
    "plain http": ({"host": "http://proxy.local", "port": 8080}, "The Base URL of .* must start with https"),
    "retries is no number": ({"extra": '{"retries": "many"}'}, "retries='many' in the extra of "),
    "ledger is no text": ({"extra": '{"ledger_conn_id": 7}'}, "ledger_conn_id in the extra of "),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_field_that_cannot_be_used_is_named_in_every_mode(
    mistake: str, mode: str, monkeypatch: pytest.MonkeyPatch
):
    fields, problem = MISTAKES[mistake]
    connection = {"conn_type": "youcom", "password": KEY, **fields}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    check(MODES[mode](), problem)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "written",
    ["youcom://:a/b+c@", json.dumps({"conn_type": "youcom", "password": 1234})],
    ids=["raw key in a URI", "number as password"],
)
def test_the_error_for_an_unparsable_connection_says_how_to_write_it_in_every_mode(
    written: str, mode: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", written)
    check(MODES[mode](), "UNUSABLE is set, but Airflow cannot read what it contains; write it as youcom:")


def check(sentence: str, problem: str) -> None:
    assert re.search(problem, sentence)
    assert KEY not in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("mode", ["hook", "hook, on an event loop", "poke", "deferred", "triggerer"])
def test_the_key_is_sent_to_the_port_in_its_own_field_in_every_mode(
    mode: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    connection = json.loads(sandbox.connection())
    scheme, host, port = connection["host"].split(":")
    connection |= {"host": f"{scheme}:{host}", "port": int(port), "password": "wrong"}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))
    assert "HTTP 401" in MODES[mode]()
    assert sandbox.request_count == 1
