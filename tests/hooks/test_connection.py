"""What users enter in a connection, and how the hook reads it."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComConnectionNotFoundError, YouComRefusedError
from airflow_provider_youcom.hooks._connection import read_connection
from airflow_provider_youcom.hooks.youcom import YouComHook


def client(**fields: Any) -> BillingClient:
    names = ("conn_type", "password", "login", "host", "schema", "port", "extra")
    connection = SimpleNamespace(**{**dict.fromkeys(names), "conn_type": "youcom", "password": "4f1c", **fields})
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


@pytest.mark.usefixtures("airflow_database")
@pytest.mark.parametrize(
    "written", ["youcom://:a/b+c@", json.dumps({"conn_type": "youcom", "password": 1234}), "{"]
)
def test_the_error_for_an_unreadable_connection_says_that_it_may_exist(
    monkeypatch: pytest.MonkeyPatch, written: str
):
    monkeypatch.setenv("AIRFLOW_CONN_X", written)
    problem = "There is no connection 'x' that Airflow can read: .* if there is one, check how it is written"
    with pytest.raises(YouComConnectionNotFoundError, match=problem):
        YouComHook("x").get_balance()
    with pytest.raises(YouComConnectionNotFoundError, match=problem):
        asyncio.run(YouComHook("x").aget_balance())
