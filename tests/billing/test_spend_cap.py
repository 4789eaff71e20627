"""A key at its spending cap is told apart from a rate limit, and is not tried again."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
import zlib
from contextlib import suppress

import pytest
import requests
import urllib3

from airflow_provider_youcom.billing import _look_ahead
from airflow_provider_youcom.billing._bounds import bounded_call
from airflow_provider_youcom.billing._spend_cap import names_spend_cap
from airflow_provider_youcom.billing.client import BALANCE_PATH, BillingClient
from airflow_provider_youcom.exceptions import (
    YouComError,
    YouComRefusedError,
    YouComSpendCapError,
    YouComUnavailableError,
)
from airflow_provider_youcom.sandbox import RESEARCH_PATH, Fault, Sandbox
from tests.faults.broken_server import BrokenServer, Speech, says, says_and_holds, says_without_end

pytestmark = pytest.mark.on_the_ends

CODE = "spend_cap_exceeded"
CAPPED = Fault(status=429, body=json.dumps({"detail": "Over the cap.", "code": CODE}))
BODIES = [
    CODE,
    f'"{CODE}"',
    json.dumps({"code": CODE}),
    json.dumps({"error": {"code": CODE, "message": "Over the cap."}}),
    json.dumps({"errors": [{"type": "billing", "meta": {"codes": ["x", CODE]}}]}),
    json.dumps({"detail": f"Your key is at its limit ({CODE}). Raise it."}),
    json.dumps({"detail": f"Your key is at its limit:\n{CODE}\t"}),
    json.dumps({"detail": f"clé\u2029{CODE}"}),
    json.dumps({CODE: True}),
    json.dumps({"docs": f"https://you.com/docs/errors#{CODE}"}),
    f"<html><body>Error code: <b>{CODE.upper()}</b></body></html>",
    f'{{"code": "{CODE}", "mess',
    " " * 60_000 + CODE,
]
OTHERS = [
    "",
    "slow down",
    json.dumps({"detail": "spend cap exceeded"}),
    json.dumps({"code": f"{CODE}_soon"}),
    json.dumps({"code": f"not_{CODE}"}),
    json.dumps({"code": f"{CODE}2"}),
    json.dumps({"code": "spend_cap_exceede"}),
]


@pytest.mark.parametrize("body", BODIES)
def test_the_code_is_found_wherever_the_body_has_it(body: str):
    assert names_spend_cap(body.encode())


@pytest.mark.parametrize("body", OTHERS)
def test_a_part_of_the_code_or_a_longer_word_is_not_the_code(body: str):
    assert not names_spend_cap(body.encode())


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, lambda body: zlib.compress(body, wbits=-15)])
def test_the_code_is_found_in_a_compressed_body_also_in_one_cut_short(pack):
    packed = pack(b'{"code": "spend_cap_exceeded", "more": "%s"}' % bytes(range(35, 92)) * 20)
    assert names_spend_cap(packed)
    assert names_spend_cap(packed[:-30])
    assert not names_spend_cap(pack(b'{"code": "too_many_requests"}'))


def test_a_small_body_that_unpacks_to_a_large_one_is_read_up_to_a_limit():
    assert not names_spend_cap(gzip.compress(b" " * 10_000_000 + CODE.encode()))


def client(sandbox: Sandbox, **options: object) -> BillingClient:
    return BillingClient(sandbox.api_key, sandbox.base_url, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("body", BODIES)
def test_a_key_at_its_cap_is_refused_after_one_request(sandbox: Sandbox, body: str):
    sandbox.inject(Fault(status=429, body=body), times=None)
    with pytest.raises(YouComSpendCapError) as caught:
        client(sandbox).get_balance()
    assert caught.value.status_code == 429
    assert sandbox.request_count == 1


@pytest.mark.parametrize("body", OTHERS)
def test_a_rate_limit_is_tried_again_as_before(sandbox: Sandbox, body: str):
    sandbox.inject(Fault(status=429, body=body), times=2)
    assert client(sandbox).get_balance().balance_cents == 10_000
    assert sandbox.request_count == 3


@pytest.mark.parametrize("status", [408, 500, 503])
def test_the_code_means_nothing_with_another_status(sandbox: Sandbox, status: int):
    sandbox.inject(Fault(status=status, body=CODE), times=2)
    assert client(sandbox).get_balance().balance_cents == 10_000
    assert sandbox.request_count == 3


@pytest.mark.parametrize(("status", "kind"), [(402, YouComRefusedError), (503, YouComUnavailableError)])
def test_the_error_of_another_status_is_what_it_is_without_the_code(
    sandbox: Sandbox, status: int, kind: type[YouComError]
):
    sandbox.inject(Fault(status=status, body=CODE))
    with pytest.raises(kind) as caught:
        client(sandbox, retries=0).get_balance()
    assert type(caught.value) is kind


def test_the_error_says_what_to_do_in_you_coms_words_without_the_key(sandbox: Sandbox):
    body = json.dumps({"detail": f"{sandbox.api_key} is over its cap", "code": CODE})
    sandbox.inject(Fault(status=429, body=body))
    with pytest.raises(YouComSpendCapError) as caught:
        client(sandbox, conn_name="connection 'research'").get_balance()
    assert str(caught.value) == (
        "You.com refused connection 'research' (HTTP 429, \"*** is over its cap\"): the key has reached its "
        "spending cap, although the account may hold plenty; raise the cap at https://you.com/platform, or "
        "use another key."
    )
    assert caught.value.detail == "*** is over its cap"


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("retry_after", ["0", "1", "3600"])
def test_a_time_to_wait_changes_nothing_about_a_cap(sandbox: Sandbox, retries: int, retry_after: str):
    sandbox.inject(Fault(status=429, body=CAPPED.body, headers={"Retry-After": retry_after}), times=None)
    with pytest.raises(YouComSpendCapError):
        client(sandbox, retries=retries).get_balance()
    assert sandbox.request_count == 1


def get(session: requests.Session, sandbox: Sandbox, **options: bool) -> requests.Response:
    return session.get(f"{sandbox.base_url}{BALANCE_PATH}", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [CAPPED.body, f"{CODE} {'x' * 200_000} the end", f"{'é' * 20_000} {CODE}"])
def test_a_session_returns_the_answer_to_a_get_whole_after_one_request(sandbox: Sandbox, body: str):
    sandbox.inject(Fault(status=429, body=body), times=None)
    session = client(sandbox).session
    assert get(session, sandbox).content.decode() == body
    with get(session, sandbox, stream=True) as answer:
        assert b"".join(answer.iter_content(1000)).decode() == body
    with get(session, sandbox, stream=True) as answer:
        assert answer.raw.read().decode() == body
    assert sandbox.request_count == 3


def test_a_session_returns_the_answer_to_a_post_whole_after_one_request(sandbox: Sandbox):
    with BrokenServer(says(*sent(CAPPED.body.encode()))) as server:
        session = BillingClient("key", server.base_url).session
        answer = session.post(f"{server.base_url}{RESEARCH_PATH}", json={"input": "?"})
        assert (answer.status_code, answer.json()["code"]) == (429, CODE)
        assert len(server.heard) == 1


def test_an_answer_that_was_looked_into_keeps_its_head_and_its_cookies(sandbox: Sandbox):
    headers = {"X-Request-Id": "7", "Set-Cookie": "a=b", "Content-Type": "application/json"}
    sandbox.inject(Fault(status=429, body=CAPPED.body, headers=headers))
    session = client(sandbox).session
    answer = get(session, sandbox)
    assert (answer.status_code, answer.headers["X-Request-Id"], answer.cookies["a"]) == (429, "7", "b")
    assert answer.json()["code"] == CODE
    with pytest.raises(requests.HTTPError, match="429"):
        answer.raise_for_status()


def test_the_connection_of_an_answer_that_was_read_to_its_end_is_used_again(sandbox: Sandbox):
    sandbox.inject(CAPPED, times=2)
    capped = client(sandbox)
    for _ in range(2):
        with pytest.raises(YouComSpendCapError):
            capped.get_balance()
    assert capped.get_balance().balance_cents == 10_000
    assert sandbox.connection_count == 1


def test_answers_that_are_left_unread_do_not_mix_with_later_ones(sandbox: Sandbox):
    sandbox.inject(Fault(status=429, body=f"{CODE} {'x' * 200_000}"), times=3)
    session = client(sandbox).session
    unread = [get(session, sandbox, stream=True) for _ in range(3)]
    assert get(session, sandbox).status_code == 200
    assert [len(answer.content) for answer in unread] == [200_019] * 3
    assert get(session, sandbox).json()["data"]


def test_an_answer_that_is_closed_unread_closes_its_connection():
    hung_up = threading.Event()

    def speech(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 429 No\r\nContent-Length: 1000000\r\n\r\nspend_cap_exceeded ")
        connection.sendall(b"." * 70_000)
        with suppress(ConnectionError):
            connection.recv(1)
        hung_up.set()

    with BrokenServer(speech) as server:
        answer = BillingClient("key", server.base_url).session.get(server.base_url, stream=True)
        answer.close()
        assert hung_up.wait(60)
        assert answer.raw.closed


def test_a_call_whose_time_is_over_looks_no_further():
    response = urllib3.HTTPResponse(io.BytesIO(b"spend_cap_exceeded"), preload_content=False)
    with bounded_call(0):
        assert _look_ahead.look_ahead(response) == b""


def sent(body: bytes, *headers: bytes) -> list[bytes]:
    lines = [b"HTTP/1.1 429 Too Many Requests", b"Content-Length: %d" % len(body), *headers]
    return [b"\r\n".join(lines), b"\r\n\r\n", body]


CHUNKED = b"HTTP/1.1 429 No\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"a\r\nspend_cap_\r\n8\r\nexceeded\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        ([CHUNKED, CHUNKS], b"spend_cap_exceeded"),
        (sent(gzip.compress(b"spend_cap_exceeded!"), b"Content-Encoding: gzip"), b"spend_cap_exceeded!"),
        ([b"HTTP/1.0 429 No\r\n\r\n", b"spend_cap_exceeded."], b"spend_cap_exceeded."),
    ],
    ids=["chunks", "gzip", "until it closes"],
)
def test_the_code_is_found_however_the_body_is_sent(parts: list[bytes], content: bytes):
    with BrokenServer(says(*parts)) as server:
        asked = BillingClient("key", server.base_url)
        assert asked.session.get(server.base_url).content == content
        with pytest.raises(YouComSpendCapError):
            asked.get_balance()
        assert len(server.heard) == 2


@pytest.mark.parametrize(
    "speech",
    [
        says_and_holds(b"".join(sent(b"spend_cap_exceeded."))[:-1]),
        says_without_end(b"HTTP/1.1 429 No\r\n\r\nspend_cap_exceeded ", b".", 0.05),
    ],
    ids=["silent at its end", "dripping"],
)
def test_the_code_is_found_in_a_body_that_never_ends(speech: Speech, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_look_ahead, "_LONGEST_LOOK", 0.5)
    with BrokenServer(speech) as server:
        with pytest.raises(YouComSpendCapError):
            BillingClient("key", server.base_url, timeout=600).get_balance()
        assert len(server.heard) == 1


@pytest.mark.parametrize(
    "speech",
    [
        says_and_holds(b"HTTP/1.1 429 No\r\n\r\nslow down"),
        says_without_end(b"HTTP/1.1 429 No\r\n\r\nslow down", b".", 0.05),
        says_without_end(b"HTTP/1.1 429 No\r\n\r\nslow down", b"." * 65536),
    ],
    ids=["silent", "dripping", "flooding"],
)
def test_a_rate_limit_whose_body_never_ends_is_tried_again_within_the_call(
    speech: Speech, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_look_ahead, "_LONGEST_LOOK", 0.5)
    with BrokenServer(speech) as server:
        with pytest.raises(YouComUnavailableError, match="HTTP 429"):
            BillingClient("key", server.base_url, timeout=600, retries=1).get_balance()
        assert len(server.heard) == 2


def test_a_session_outside_a_call_waits_for_a_body_no_longer_than_its_timeout():
    with BrokenServer(says_and_holds(b"HTTP/1.1 429 No\r\n\r\nslow down")) as server:
        session = BillingClient("key", server.base_url, retries=1).session
        with pytest.raises(requests.ConnectionError):
            session.get(server.base_url, timeout=0.2)
        assert len(server.heard) == 2
