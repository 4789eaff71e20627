"""The sandbox answers any request in JSON, and closes a connection that it cannot continue."""

from __future__ import annotations

import json
import socket
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_youcom.sandbox import BALANCE_PATH, RESEARCH_PATH, Fault, Sandbox, _server

pytestmark = pytest.mark.only_in_test

METHODS = {
    BALANCE_PATH: "GET",
    RESEARCH_PATH: "POST",
    "/sandbox": "GET",
    "/sandbox/balance": "POST",
    "/sandbox/top-up": "POST",
    "/sandbox/spend": "POST",
    "/sandbox/spending-cap": "POST",
    "/sandbox/faults": "POST",
    "/sandbox/heal": "POST",
}
ALL_METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "QUERY",
    "PROPFIND",
    "FOO",
    "get",
    "G@T",
    "do_GET",
]


def exchange(sandbox: Sandbox, request: bytes, *, and_close: bool = False) -> HTTPResponse:
    """Send bytes, and read the answer to the end of the connection."""
    address = urlsplit(sandbox.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(request)
        if and_close:
            connection.shutdown(socket.SHUT_WR)
        method = request.split(b" ")[0].decode("latin-1")
        answer = HTTPResponse(connection, method=method)
        answer.begin()
        answer.text = answer.read()
        return answer


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: sandbox", *headers, "", ""]).encode("latin-1")


@pytest.mark.parametrize("path", METHODS)
def test_an_unsupported_method_is_refused_and_the_supported_one_is_named(path: str, sandbox: Sandbox):
    for method in ALL_METHODS:
        if method == METHODS[path]:
            continue
        answer = exchange(sandbox, head(method, path, "Connection: close"))
        assert (answer.status, answer.headers["Allow"]) == (405, METHODS[path])
        assert answer.headers["Content-Type"] == "application/json"
        expected = b"" if method == "HEAD" else b'{"detail": "Method Not Allowed"}'
        assert answer.text == expected, method


@pytest.mark.parametrize("path", ["/", "*", "/v1", f"{BALANCE_PATH}/", "/sandbox/", "/sandbox/state", "/%00"])
def test_an_unknown_path_is_not_found_by_any_method(path: str, sandbox: Sandbox):
    for method in ALL_METHODS:
        answer = exchange(sandbox, head(method, path, "Connection: close"))
        assert answer.status == 404
        assert answer.text == (b"" if method == "HEAD" else b'{"detail": "Not Found"}')


def test_a_query_is_ignored(sandbox: Sandbox):
    answer = requests.get(
        f"{sandbox.base_url}{BALANCE_PATH}?x=1&y", headers={"X-API-Key": sandbox.api_key}, timeout=10
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("key", ["sandbox-key ", " sandbox-key", "\t sandbox-key \t "])
def test_the_whitespace_around_a_header_is_not_part_of_it(key: str, sandbox: Sandbox):
    asked = exchange(sandbox, head("GET", BALANCE_PATH, f"X-API-Key:{key}", "Connection: close"))
    assert asked.status == 200
    body = b'{"usd": 5}'
    headers = ["Content-Length: 10 \t", "Connection: close"]
    assert exchange(sandbox, head("POST", "/sandbox/spend", *headers) + body).status == 200
    assert sandbox.balance_usd() == 95


def test_an_error_of_its_own_is_printed_and_a_client_that_goes_away_is_not(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
):
    sandbox.inject(Fault(repeat=-1))
    address = urlsplit(sandbox.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as client:
        client.sendall(head("GET", BALANCE_PATH))
        client.recv(1)
    sandbox.stop()
    assert capfd.readouterr().err == ""
    sandbox.start()
    sandbox.accounts.data["broken"] = object()  # type: ignore[assignment]
    with pytest.raises(requests.ConnectionError):
        requests.get(sandbox.base_url + BALANCE_PATH, headers={"X-API-Key": "broken"}, timeout=60)
    sandbox.stop()
    assert "AttributeError" in capfd.readouterr().err


LONG = "x" * 70_000


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/one\r\n\r\n", 400),
        (b"GET / and more HTTP/1.1\r\n\r\n", 400),
        (b"\xff\xfe\x00 \x01\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (head("GET", f"/{LONG}"), 414),
        (head("GET", BALANCE_PATH, f"X-Long: {LONG}"), 431),
        (head("GET", BALANCE_PATH, *["X-Many: 1"] * 200), 431),
        (head("POST", RESEARCH_PATH, "Content-Length: -1"), 400),
        (head("POST", RESEARCH_PATH, "Content-Length: 1_0"), 400),
        (head("POST", RESEARCH_PATH, "Content-Length: ²"), 400),
        (head("POST", RESEARCH_PATH, f"Content-Length: {'9' * 30}"), 413),
        (head("POST", RESEARCH_PATH, f"Content-Length: {'9' * 5000}"), 413),
        (head("POST", RESEARCH_PATH, "Content-Length: 2000000") + b"x" * 2_000_000, 413),
        (head("POST", RESEARCH_PATH, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n", 411),
        (head("GET", BALANCE_PATH, "Transfer-Encoding: chunked") + b"0\r\n\r\n", 411),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_invalid_request_is_refused_and_the_connection_is_closed(
    request_: bytes, status: int, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    # A busy machine may take long to send what is left of a request.
    monkeypatch.setattr(_server, "_PATIENCE_SECONDS", 60)
    answer = exchange(sandbox, request_)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Connection"] == "close"
    assert json.loads(answer.text)["detail"]


@pytest.mark.parametrize("and_close", [True, False], ids=["and ends", "and waits"])
def test_a_body_that_never_comes_is_not_waited_for(
    and_close: bool, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_server, "_PATIENCE_SECONDS", 0.2)
    answer = exchange(sandbox, head("POST", RESEARCH_PATH, "Content-Length: 9") + b"{}", and_close=and_close)
    assert answer.status == 408
    assert json.loads(answer.text) == {"detail": "Request Timeout"}


BODIES = [b"{", b"\xff", b"[]", b"null", b"1", b'"text"', b"[" * 100_000, b"1" * 5000, b'{"api_key": []}']


@pytest.mark.parametrize("path", [path for path, method in METHODS.items() if method == "POST"])
def test_an_unusable_body_is_refused_and_the_connection_stays_open(path: str, sandbox: Sandbox):
    # No spending cap is one, too.
    no_amounts = [] if path == "/sandbox/spending-cap" else [None]
    wrong = [{"usd": value} for value in (*no_amounts, True, [], {}, "ten", "NaN", -1, 1e300)] + [
        {"usd": 1, "api_key": "nobody"},
        {"status": []},
        {"times": "often"},
        {"more": 1},
        {"input": [], "research_effort": {}},
    ]
    with requests.Session() as session:
        session.headers["X-API-Key"] = sandbox.api_key
        for body in [*BODIES, *(json.dumps(each).encode() for each in wrong)]:
            answer = session.post(sandbox.base_url + path, data=body, timeout=10)
            assert answer.status_code == 400, body
            assert answer.json()["detail"]
        assert session.get(sandbox.base_url + BALANCE_PATH, timeout=10).status_code == 200
    assert sandbox.connection_count == 1
    assert sandbox.balance_usd() == 100


def test_a_body_is_read_even_if_it_is_not_used(sandbox: Sandbox):
    with requests.Session() as session:
        for method, path in (("GET", BALANCE_PATH), ("DELETE", BALANCE_PATH), ("PUT", "/nowhere")):
            answer = session.request(
                method, sandbox.base_url + path, data=b"GET / HTTP/1.1\r\n\r\n", timeout=10
            )
            assert answer.json()["detail"]
    assert sandbox.connection_count == 1
