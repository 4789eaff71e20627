"""What users enter in a connection, and how the hook reads it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComConnectionNotFoundError, YouComRefusedError
from airflow_provider_youcom.hooks import _connection
from airflow_provider_youcom.hooks._connection import read_connection
from airflow_provider_youcom.hooks.youcom import YouComHook


def client(**fields: Any) -> BillingClient:
    names = ("conn_type", "password", "login", "host", "schema", "port", "extra")
    connection = SimpleNamespace(
        **{**dict.fromkeys(names), "conn_type": "youcom", "password": "4f1c", **fields}
    )
    return read_connection(cast(Connection, connection), "connection 'x'").client


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize("extra", ["[1, 2]", "7", '"text"', "timeout=10", "true", [1, 2], 7, "[" * 100_000])
def test_an_extra_that_is_not_a_json_object_is_refused_by_name(extra: object):
    with pytest.raises(
        YouComRefusedError, match="The extra of connection 'x' is not a JSON object: write it"
    ):
        client(extra=extra)


@pytest.mark.parametrize("extra", [None, "", "  ", "{}", "null", {}, {"timeout": 10}])
def test_an_extra_may_be_an_object_or_empty(extra: object):
    assert client(extra=extra).base_url == "https://api.you.com"


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"login": "ydc-4f1c"}, "its login"),
        ({"extra": '{"api_key": "ydc-4f1c"}'}, "its extra field api_key"),
        ({"extra": '{"apikey": "ydc-4f1c"}'}, "its extra field apikey"),
        ({"extra": '{"token": "ydc-4f1c"}'}, "its extra field token"),
        ({"extra": '{"X-API-Key": "ydc-4f1c"}'}, "its extra field X-API-Key"),
        ({"extra": '{"YDC_API_KEY": "ydc-4f1c"}'}, "its extra field YDC_API_KEY"),
    ],
)
def test_a_key_in_another_place_is_pointed_out_and_not_shown(fields: dict[str, Any], place: str):
    problem = f"The password of connection 'x' is empty, and {place} may hold the API key: move the key to"
    with pytest.raises(YouComRefusedError, match=problem) as caught:
        client(password="", **fields)
    assert "ydc-4f1c" not in str(caught.value)


def test_a_connection_without_any_key_says_what_to_add():
    with pytest.raises(YouComRefusedError, match="There is no API key: create one"):
        client(password=None, extra='{"timeout": 5, "monkey": "x"}')


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, "https://api.you.com"),
        ({"port": 443}, "https://api.you.com:443"),
        ({"schema": "https"}, "https://api.you.com"),
        ({"host": "http://127.0.0.1", "port": 8080}, "http://127.0.0.1:8080"),
        ({"host": "http://127.0.0.1:8080", "port": 8080}, "http://127.0.0.1:8080"),
        ({"host": "HTTPS://proxy.local/youcom/", "port": "8443"}, "https://proxy.local:8443/youcom"),
        ({"host": "proxy.local/youcom", "port": 8443}, "https://proxy.local:8443/youcom"),
        ({"host": "proxy.local/youcom/"}, "https://proxy.local/youcom"),
        ({"host": "proxy.local:8443"}, "https://proxy.local:8443"),
        ({"host": "127.0.0.1", "port": 8765, "schema": "HTTP"}, "http://127.0.0.1:8765"),
        ({"host": "::1", "port": 8765, "schema": "http"}, "http://[::1]:8765"),
        ({"host": "[::1]:8765", "schema": "http"}, "http://[::1]:8765"),
        ({"host": "http://[::1]", "port": 8765}, "http://[::1]:8765"),
    ],
)
def test_host_schema_and_port_make_the_intended_url(fields: dict[str, Any], base_url: str):
    assert client(**fields).base_url == base_url


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"host": "https://proxy.local:8443", "port": 8080}, "port"),
        ({"host": "proxy.local:8443", "port": 8080}, "port"),
        ({"host": "https://proxy.local", "schema": "http"}, "schema"),
        ({"schema": "http"}, "schema"),
        ({"host": "proxy.local", "schema": "youcom"}, "schema"),
        ({"port": 8443}, "port"),
        ({"host": "proxy.local", "port": 0}, "port"),
        ({"host": "proxy.local", "port": 70000}, "port"),
        ({"host": "proxy.local", "port": "eighty"}, "port"),
        ({"host": "https:/api.you.com"}, "Base URL"),
        ({"host": "https//api.you.com"}, "Base URL"),
        ({"host": "https:api.you.com"}, "Base URL"),
        ({"host": "https:/api.you.com", "port": 443}, "Base URL"),
        ({"host": "//api.you.com"}, "Base URL"),
        ({"host": "https://"}, "Base URL"),
        ({"host": "proxy.local", "schema": "http"}, "Base URL"),
        ({"host": "key:4f1c@proxy.local", "port": 8443}, "Base URL"),
    ],
)
def test_a_contradictory_or_malformed_field_is_refused_by_name(fields: dict[str, Any], field: str):
    with pytest.raises(YouComRefusedError, match=f"^The {field} of connection 'x' "):
        client(**fields)


@pytest.mark.parametrize("field", ["password", "host", "schema", "login"])
@pytest.mark.parametrize("value", [7, 7.5, True, ["a"], {"a": 1}, b"4f1c"])
def test_a_field_that_is_not_text_is_refused_by_name(field: str, value: object):
    with pytest.raises(YouComRefusedError, match=f"The {field} of connection 'x' is .*, not text: put it in"):
        client(**{"password": "", field: value})


def test_a_field_that_airflow_cannot_decrypt_is_refused_by_name():
    class Sealed:
        extra = None

        @property
        def password(self) -> str:
            raise ValueError("InvalidToken")

    with pytest.raises(YouComRefusedError, match="Airflow cannot decrypt the password of connection 'x'"):
        read_connection(cast(Connection, Sealed()), "connection 'x'")


KEY = "ydc-sk-0123"
AS_A_PASSWORD = {"conn_type": "youcom", "password": KEY}


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch, airflow_database: None) -> Callable[[str], str]:
    """Return what the hook says about a connection that is written in the environment, on both its ways."""

    def read(written: str) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_X", written)
        with pytest.raises(YouComRefusedError) as on_a_worker:
            YouComHook("x").get_balance()
        with pytest.raises(YouComRefusedError) as in_the_triggerer:
            asyncio.run(YouComHook("x").aget_balance())
        assert str(on_a_worker.value) == str(in_the_triggerer.value)
        return str(on_a_worker.value)

    return read


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        f"  {KEY}\n",
        f'"{KEY}"',
        f"'{KEY}'",
        f"{KEY}/+==",
        f"password={KEY}",
        f":{KEY}@",
        f"{KEY}@api.you.com",
        f"'youcom://:{KEY}@'",
        json.dumps(json.dumps(AS_A_PASSWORD)),
        json.dumps([KEY]),
        "$YDC_API_KEY",
        "null",
    ],
)
def test_what_is_neither_a_uri_nor_json_is_told_without_showing_it(
    problem: Callable[[str], str], written: str
):
    said = problem(written)
    assert said.startswith(
        "What is written for connection 'x' is neither a URI nor JSON: write it as youcom:"
    )
    assert "0123" not in said


@pytest.mark.parametrize(
    ("written", "place"),
    [
        (f"youcom://{KEY}", "host"),
        (f"http://{KEY}", "host"),
        (f"youcom:{KEY}", "schema"),
        (f"youcom:///{KEY}", "schema"),
        ("sk:0123", "schema"),
        (f"youcom://{KEY}@", "login"),
        (f"youcom://{KEY}@api.you.com", "login"),
        (f"youcom://{KEY}:@", "login"),
    ],
)
def test_a_key_in_another_place_of_a_uri_is_pointed_out_and_not_shown(
    problem: Callable[[str], str], written: str, place: str
):
    said = problem(written)
    assert f"The password of connection 'x' is empty, and its {place} may hold the API key: move" in said
    assert said.endswith("in front of the @ in a URI (youcom://:your-api-key@).")
    assert "0123" not in said


@pytest.mark.parametrize(
    "host", ["api.you.com", "localhost", "LOCALHOST", "127.0.0.1", "::1", "https://mock"]
)
def test_a_host_is_not_taken_for_a_key(host: str):
    with pytest.raises(YouComRefusedError, match="There is no API key: create one"):
        client(password="", host=host)


@pytest.mark.parametrize(
    "written",
    [
        f"youcom://:{KEY}",
        f"youcom://:{KEY}/b+c@",
        f"youcom://:{KEY}#@",
        "{",
        json.dumps({**AS_A_PASSWORD, "password": 1234}),
        json.dumps({**AS_A_PASSWORD, "timeout": 5}),
        json.dumps({"conn_type": "youcom", "api_key": KEY}),
        str(AS_A_PASSWORD),
        f'{{"conn_type": "youcom", "password": {KEY}}}',
    ],
)
def test_a_connection_that_airflow_cannot_read_in_the_environment_is_told_from_a_missing_one(
    problem: Callable[[str], str], written: str
):
    said = problem(written)
    assert said.startswith(
        "There is no connection 'x' that Airflow can read: AIRFLOW_CONN_X is set, but Airflow cannot read "
        "what it contains; write it as youcom://:your-api-key@, with the key percent-encoded, or as {"
    )
    assert "0123" not in said


@pytest.mark.parametrize("written", ["", "  "])
def test_an_empty_variable_is_told_from_a_missing_connection(problem: Callable[[str], str], written: str):
    assert "that Airflow can read: AIRFLOW_CONN_X is empty; write it as youcom://" in problem(written)


@pytest.mark.usefixtures("airflow_database")
def test_a_missing_connection_is_to_be_added():
    with pytest.raises(YouComConnectionNotFoundError, match="'x' that Airflow can read: add one of type You"):
        YouComHook("x").get_balance()


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    monkeypatch.setattr(_connection, "_warned", set())
    monkeypatch.setattr(_connection, "log", logging.getLogger("test"))
    return lambda: [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_fields_that_nobody_reads_are_listed_once_for_each_connection(warnings: Callable[[], list[str]]):
    extra = {"Timeout": 5, "timeout": 5, "verify": False, "retires": 1, "ledger_conn_id": "", "unused": None}
    client(extra=extra)
    client(extra=json.dumps(extra))
    (warning,) = warnings()
    assert warning == (
        "Nobody reads these fields in the extra of connection 'x': Timeout, verify, retires; the provider "
        "knows timeout, retries, ledger_conn_id, settle_seconds, hold_seconds, so correct or remove them."
    )
    another = SimpleNamespace(password="4f1c", host="", schema="", port=None, extra={"verify": False})
    read_connection(cast(Connection, another), "connection 'y'")
    assert len(warnings()) == 2


def test_the_fields_of_the_form_are_not_warned_of(warnings: Callable[[], list[str]]):
    client(extra={"timeout": 5, "retries": 1, "ledger_conn_id": "ledger", "settle_seconds": 1})
    assert warnings() == []


def test_a_key_as_the_name_of_a_field_is_not_shown(warnings: Callable[[], list[str]]):
    client(password=KEY, extra={KEY: "my key"})
    assert len(warnings()) == 1
    assert "of connection 'x': ***; the provider" in warnings()[0]
