"""Where a call can go wrong: each place is a context manager that yields the base URL to call."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import pytest

from airflow_provider_youcom.sandbox import Fault, Sandbox
from tests.faults.broken_server import BrokenServer, Speech, says, says_and_holds
from tests.faults.certificates import Certificate, good
from tests.security.canary import CANARY_KEY

Place = Callable[[], AbstractContextManager[str]]

HOLDS_A_DOLLAR = '{"data": {"type": "account", "id": "4f1c", "attributes": {"balance": 100}}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD_ANSWER = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(HOLDS_A_DOLLAR), HOLDS_A_DOLLAR.encode())


def answers(
    body: str | None = None, status: int | None = None, headers: dict[str, str] | None = None, **more: object
) -> Place:
    """A You.com whose every answer is wrong in one way; see the sandbox's Fault."""
    fault = Fault(status=status, headers=headers or {}, body=body, **more)  # type: ignore[arg-type]

    @contextmanager
    def place() -> Iterator[str]:
        with Sandbox(1, api_key=CANARY_KEY) as sandbox:
            sandbox.inject(fault, times=None)
            yield sandbox.base_url

    return place


def body(member: str = "", value: str = "", *, balance: str = "100", extra: str = "") -> Place:
    """A You.com that answers 200 with the contract's body, except for one member; "" leaves it out."""
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


def later(retry_after: str, body: str = '{"detail": "slow down"}') -> Place:
    """A You.com that answers 429 with this Retry-After."""
    return answers(body, 429, {"Retry-After": retry_after})


def says_detail(secret: str, status: int = 401, code: str = "") -> Place:
    """A You.com that refuses the key and repeats it in the answer."""
    return answers(json.dumps({"detail": f"You sent {secret}.", "code": code}), status)


def html(status: int) -> Place:
    """A gateway in front of You.com that answers with a page for people."""
    return answers("<html><h1>Bad</h1></html>", status, {"Content-Type": "text/html"})


def speaks(speech: Speech | None) -> Place:
    """A server that does not follow HTTP."""

    @contextmanager
    def place() -> Iterator[str]:
        with BrokenServer(speech) as server:
            yield server.base_url

    return place


def redirects(status: int) -> Place:
    """A You.com that redirects to another host, which must never receive a request."""

    @contextmanager
    def place() -> Iterator[str]:
        with BrokenServer(says(GOOD_ANSWER)) as elsewhere:
            headers = {"Location": f"{elsewhere.base_url}/v1/billing/account_balance"}
            with answers("", status, headers)() as base_url:
                yield base_url
            assert elsewhere.heard == []

    return place


def redirects_to_itself(status: int, query: str = "") -> Place:
    """A You.com that redirects to itself."""
    return answers("", status, {"Location": f"/v1/billing/account_balance{query}"})


@contextmanager
def name_without_an_address() -> Iterator[str]:
    """A name that never exists: https://www.rfc-editor.org/rfc/rfc6761#section-6.4."""
    yield "https://youcom.invalid"


@contextmanager
def nobody_listens() -> Iterator[str]:
    """A port on which nobody listens, and which no other process can take meanwhile."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@contextmanager
def nobody_accepts() -> Iterator[str]:
    """A full queue of connections: the next one gets no answer, as behind a firewall that drops packets."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def shows_certificate(certificate: Certificate) -> Place:
    """A You.com behind TLS. Only a server with a good certificate may receive a request."""

    @contextmanager
    def place() -> Iterator[str]:
        with BrokenServer(says(GOOD_ANSWER), certificate()) as server:
            yield server.base_url
            assert certificate is good or server.heard == []

    return place


@contextmanager
def plain_http_behind_https() -> Iterator[str]:
    """A server that answers a TLS handshake in plain HTTP."""
    with BrokenServer(says_and_holds(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        yield server.base_url.replace("http:", "https:")


@contextmanager
def tls_cut_short() -> Iterator[str]:
    """A server that hangs up in a TLS handshake."""
    with BrokenServer(says(b"")) as server:
        yield server.base_url.replace("http:", "https:")


@contextmanager
def silent_behind_https() -> Iterator[str]:
    """A server that never answers a TLS handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def proxy(speech: Speech | None) -> Place:
    """A proxy in front of You.com. It may see where a request goes, but never the key."""

    @contextmanager
    def place() -> Iterator[str]:
        with BrokenServer(speech) as server, pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", server.base_url)
            yield "https://api.you.com"
            assert CANARY_KEY.encode() not in b"".join(server.heard)

    return place


@contextmanager
def https_proxy_without_tls() -> Iterator[str]:
    """A proxy that is named with https and speaks plain HTTP."""
    with plain_http_behind_https() as address, proxy_named(address)() as base_url:
        yield base_url


def proxy_named(address: str) -> Place:
    """A proxy that does not exist or cannot be used."""

    @contextmanager
    def place() -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", address)
            yield "https://api.you.com"

    return place


def trusts(ca_file: bytes) -> Place:
    """A You.com behind TLS, called with this CA file."""

    @contextmanager
    def place() -> Iterator[str]:
        with (
            shows_certificate(good)() as base_url,
            tempfile.NamedTemporaryFile(suffix=".pem") as file,
            pytest.MonkeyPatch.context() as patch,
        ):
            file.write(ca_file)
            file.flush()
            patch.setenv("REQUESTS_CA_BUNDLE", file.name)
            yield base_url

    return place
