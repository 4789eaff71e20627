"""Where a request can go wrong: each place is a context manager that gives the base URL to ask."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

from airflow_provider_youcom.sandbox import Fault, Sandbox
from tests.faults.broken_server import BrokenServer, Speech, says
from tests.faults.certificates import LOCALHOST, SOMEONE_ELSE, Authority
from tests.security.canary import CANARY_KEY

Place = Callable[[], AbstractContextManager[str]]

_FOLDER = tempfile.TemporaryDirectory(prefix="certificates-")

HOLDS_A_DOLLAR = '{"data": {"type": "account", "id": "4f1c", "attributes": {"balance": 100}}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD_ANSWER = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(HOLDS_A_DOLLAR), HOLDS_A_DOLLAR.encode())


def answers(
    body: str | None = None, status: int | None = None, headers: dict[str, str] | None = None, **more: object
) -> Place:
    """You.com, every answer of which is wrong in one way; see the sandbox's Fault."""
    fault = Fault(status=status, headers=headers or {}, body=body, **more)  # type: ignore[arg-type]

    @contextmanager
    def place() -> Iterator[str]:
        with Sandbox(1, api_key=CANARY_KEY) as sandbox:
            sandbox.inject(fault, times=None)
            yield sandbox.base_url

    return place


def body(member: str = "", value: str = "", *, balance: str = "100", extra: str = "") -> Place:
    """Answer 200 with the contract's body, one member of which is written otherwise; "" leaves it out."""
    texts = {"type": '"account"', "id": '"4f1c"', "balance": balance, "attributes": None, "data": None}
    if member:
        texts[member] = value or None

    def written(**members: str | None) -> str:
        return "{" + ", ".join(f'"{name}": {text}' for name, text in members.items() if text) + extra + "}"

    def group(name: str, text: str) -> str | None:
        return texts[name] if name == member else text

    attributes = group("attributes", written(balance=texts["balance"]))
    data = group("data", written(type=texts["type"], id=texts["id"], attributes=attributes))
    return answers(written(data=data))


def later(retry_after: str) -> Place:
    """You.com asks to come back later, in its own words."""
    return answers('{"detail": "slow down"}', 429, {"Retry-After": retry_after})


def says_detail(secret: str) -> Place:
    """You.com refuses the key, and repeats it."""
    return answers(json.dumps({"detail": f"You sent {secret}."}), 401)


def html(status: int) -> Place:
    """Something before You.com answers with a page for people."""
    return answers("<html><h1>Bad</h1></html>", status, {"Content-Type": "text/html"})


def speaks(speech: Speech | None) -> Place:
    """A server that does not keep to HTTP."""

    @contextmanager
    def place() -> Iterator[str]:
        with BrokenServer(speech) as server:
            yield server.base_url

    return place


def redirects(status: int) -> Place:
    """You.com sends to another host, which must never hear the key."""

    @contextmanager
    def place() -> Iterator[str]:
        with BrokenServer(says(GOOD_ANSWER)) as elsewhere:
            headers = {"Location": f"{elsewhere.base_url}/v1/billing/account_balance"}
            with answers("", status, headers)() as base_url:
                yield base_url
            assert elsewhere.heard == []

    return place


def redirects_to_itself(status: int, query: str = "") -> Place:
    """You.com sends round in a circle."""
    return answers("", status, {"Location": f"/v1/billing/account_balance{query}"})


@contextmanager
def name_without_an_address() -> Iterator[str]:
    """https://www.rfc-editor.org/rfc/rfc6761 promises that no such name exists."""
    yield "https://youcom.invalid"


@contextmanager
def nobody_listens() -> Iterator[str]:
    """A port that was free a moment ago, and that nobody else is given meanwhile."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@contextmanager
def nobody_accepts() -> Iterator[str]:
    """A full queue of connections: the next one gets no answer, as from a firewall that drops packets."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def shows_certificate(kind: str) -> Place:
    """You.com behind TLS, with a certificate of this kind; our own authority is trusted."""

    @contextmanager
    def place() -> Iterator[str]:
        tls = authority().server(
            SOMEONE_ELSE if kind == "wrong host" else LOCALHOST,
            expired=kind == "expired",
            self_signed=kind == "self-signed",
        )
        with BrokenServer(says(GOOD_ANSWER), tls) as server:
            yield server.base_url
            assert kind == "good" or server.heard == []

    return place


@contextmanager
def plain_http_behind_https() -> Iterator[str]:
    with BrokenServer(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        yield server.base_url.replace("http:", "https:")


@contextmanager
def silent_behind_https() -> Iterator[str]:
    """A handshake that never ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def proxy(speech: Speech | None) -> Place:
    """A proxy that stands before You.com; it may see where a request goes, and never the key."""

    @contextmanager
    def place() -> Iterator[str]:
        with BrokenServer(speech) as server, pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", server.base_url)
            yield "https://api.you.com"
            assert CANARY_KEY.encode() not in b"".join(server.heard)

    return place


def proxy_named(address: str) -> Place:
    """A proxy that is not there, or cannot be."""

    @contextmanager
    def place() -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", address)
            yield "https://api.you.com"

    return place


def trusts(ca_file: bytes) -> Place:
    """You.com behind TLS, asked by somebody whose CA file is this."""

    @contextmanager
    def place() -> Iterator[str]:
        file = Path(_FOLDER.name) / "bundle.pem"
        file.write_bytes(ca_file)
        with shows_certificate("unseen")() as base_url, pytest.MonkeyPatch.context() as patch:
            patch.setenv("REQUESTS_CA_BUNDLE", str(file))
            yield base_url

    return place


@cache
def authority() -> Authority:
    """Whom all tests here trust."""
    return Authority(Path(_FOLDER.name))
