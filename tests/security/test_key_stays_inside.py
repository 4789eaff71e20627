from __future__ import annotations

import asyncio
import gc
import http.client
import json
import logging
import traceback
from collections.abc import Iterator

import pytest

from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sandbox import Sandbox
from airflow_provider_youcom.triggers.balance import BalanceTrigger
from tests.faults.broken_server import BrokenServer, says
from tests.faults.places import GOOD_ANSWER
from tests.security.canary import CANARY_KEY, chain, everything_in, sightings

pytestmark = pytest.mark.on_the_ends


@pytest.fixture
def you_com(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(1, api_key=CANARY_KEY) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", sandbox.connection())
        yield sandbox


def test_the_debug_output_of_http_client_does_not_show_the_key(
    you_com: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    YouComHook().get_balance()
    YouComHook().get_conn().get(f"{you_com.base_url}/anything")
    assert sightings(capfd.readouterr().out) == 0


def test_no_log_record_shows_the_key(you_com: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        YouComHook().get_balance()
    assert any(record.name.startswith("urllib3") for record in caplog.records)
    assert sightings(caplog.text) == 0


def test_no_object_of_the_provider_shows_the_key_when_it_is_printed(you_com: Sandbox) -> None:
    hook = YouComHook()
    kept = [hook, hook.get_conn(), hook.get_balance(), BalanceTrigger(), BillingClient(CANARY_KEY)]
    modules = ((str(type(each).__module__), each) for each in gc.get_objects())
    # The sandbox is a server: some tests let its answers repeat the key. An SQL expression cannot be printed.
    not_ours = ("airflow_provider_youcom.sandbox", "airflow_provider_youcom.ledger._statements")
    ours = [
        each
        for module, each in modules
        if module.startswith("airflow_provider_youcom") and not module.startswith(not_ours)
    ]
    assert len(ours) >= len(kept)
    assert [each for each in [*kept, *ours] if sightings(f"{each!r} {each!s}")] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "http://api.you.com"},
        {"password": f"{CANARY_KEY} and more"},
        {"extra": {"timeout": "soon"}},
        {"host": "http://127.0.0.1:1", "extra": {"retries": 0}},
    ],
    ids=str,
)
def test_a_report_of_all_variables_of_an_error_does_not_show_the_key(
    wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "youcom", "password": CANARY_KEY, **wrong}
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps(connection))
    hook = YouComHook()
    with pytest.raises(YouComError) as on_a_worker:
        hook.get_balance()
    with pytest.raises(YouComError) as in_the_triggerer:
        asyncio.run(hook.aget_balance())
    for caught in (on_a_worker, in_the_triggerer):
        frames = [
            frame
            for link in chain(caught.value)
            for frame, _ in traceback.walk_tb(link.__traceback__)
            if frame.f_code.co_filename != __file__
        ]
        assert frames
        assert [frame for frame in frames if sightings(repr(frame.f_locals))] == []


def test_plain_http_to_this_machine_does_not_go_through_a_proxy(
    you_com: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BrokenServer(says(GOOD_ANSWER)) as proxy:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.base_url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        YouComHook().get_balance()
    assert proxy.heard == []


def test_the_search_finds_the_key_deep_inside_an_object() -> None:
    client = BillingClient(CANARY_KEY)
    assert sum(sightings(text) for text in everything_in(client)) > 0
