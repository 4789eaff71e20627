"""
A local You.com: the billing API with accounts to spend from, top up, and break on purpose.

Run it with ``python -m airflow_provider_youcom.sandbox``, or use :class:`Sandbox` as a context manager
in the tests of your DAGs. It listens on this machine only.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from airflow_provider_youcom.balance import format_usd, parse_usd

BALANCE_PATH = "/v1/billing/account_balance"
RESEARCH_PATH = "/v1/research"
DEFAULT_API_KEY = "sandbox-key"
DEFAULT_PORT = 8765
# https://docs.you.com/administration/billing
RESEARCH_PRICE_CENTS = {
    "lite": Decimal("1.2"),
    "standard": Decimal(5),
    "deep": Decimal(10),
    "exhaustive": Decimal(45),
}


@dataclass
class Account:
    """
    One account of the sandbox.

    :param account_id: as You.com would hash it.
    :param balance_cents: remaining credits in cents; spending and topping up change it.
    :param has_billing_scope: whether its key may ask for the balance; without, the answer is 403.
    """

    account_id: str
    balance_cents: Decimal
    has_billing_scope: bool = True


@dataclass(frozen=True)
class Fault:
    """
    How the next answers go wrong. What is not given stays as it would have been.

    :param status: HTTP status to answer with.
    :param headers: headers to add or to replace, such as ``{"Retry-After": "5"}``.
    :param body: body to answer with.
    :param delay: seconds of silence before the answer.
    :param cut: cut the connection ``"before"`` the answer or ``"inside"`` its body.
    :param drip: seconds between any two bytes of the answer.
    :param repeat: how often the body is sent; without end for -1.
    :param lasting: strike until the sandbox is healed.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    delay: float = 0.0
    cut: Literal["before", "inside"] | None = None
    drip: float = 0.0
    repeat: int = 1
    lasting: bool = False


class Sandbox:
    """
    A You.com that runs on this machine.

    :param balance_usd: what the account of ``api_key`` starts with, in dollars.
    :param api_key: the key that is accepted.
    :param accounts: further keys, each with the dollars that its account starts with.
    :param host: a loopback address.
    :param port: 0 takes a free one.
    :raises ValueError: if ``host`` is not loopback, or an amount is not one.
    """

    def __init__(
        self,
        balance_usd: object = 100,
        *,
        api_key: str = DEFAULT_API_KEY,
        accounts: Mapping[str, object] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(
                f"host={host!r} would let others in: the sandbox listens on 127.0.0.1 or ::1 only."
            )
        self.api_key = api_key
        self.accounts = {
            key: _new_account(key, usd) for key, usd in {api_key: balance_usd, **(accounts or {})}.items()
        }
        self._address = (host, port)
        self._faults: dict[str | None, deque[Fault]] = {}
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self.request_count = 0
        self.connection_count = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, and answer in the background. A sandbox that was stopped comes back at the same port."""
        self._server = _Server(self._address, self)
        self._address = self._server.server_address[:2]  # type: ignore[assignment]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and cut every connection; what the accounts hold is kept."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def base_url(self) -> str:
        """Where it listens, for a connection's host."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def connection(self, api_key: str | None = None) -> str:
        """
        Give the JSON to put into an ``AIRFLOW_CONN_…`` variable.

        :param api_key: whose account; the first one by default.
        """
        return json.dumps({"conn_type": "youcom", "host": self.base_url, "password": api_key or self.api_key})

    def balance_usd(self, api_key: str | None = None) -> Decimal:
        """
        Give what an account holds, in dollars.

        :param api_key: whose account; the first one by default.
        """
        return self.accounts[api_key or self.api_key].balance_cents / 100

    def set_balance(self, usd: object, api_key: str | None = None) -> None:
        """
        Make an account hold this much.

        :param usd: in dollars.
        :param api_key: whose account; the first one by default.
        """
        with self._lock:
            self.accounts[api_key or self.api_key].balance_cents = parse_usd(usd, "usd") * 100

    def top_up(self, usd: object, api_key: str | None = None) -> None:
        """
        Add credits to an account.

        :param usd: in dollars.
        :param api_key: whose account; the first one by default.
        """
        with self._lock:
            self.accounts[api_key or self.api_key].balance_cents += parse_usd(usd, "usd") * 100

    def spend(self, usd: object, api_key: str | None = None) -> bool:
        """
        Take credits from an account; tells whether it held enough.

        :param usd: in dollars.
        :param api_key: whose account; the first one by default.
        """
        cents = parse_usd(usd, "usd") * 100
        with self._lock:
            account = self.accounts[api_key or self.api_key]
            if account.balance_cents < cents:
                return False
            account.balance_cents -= cents
            return True

    def inject(self, fault: Fault, times: int | None = 1, api_key: str | None = None) -> None:
        """
        Let the next answers about a balance go wrong.

        :param fault: how.
        :param times: how many answers, behind those injected before; None for all until ``heal``.
        :param api_key: strike only this key's requests; all of them by default.
        """
        with self._lock:
            faults = self._faults.setdefault(api_key, deque())
            faults.extend([fault] * times if times is not None else [replace(fault, lasting=True)])

    def heal(self, api_key: str | None = None) -> None:
        """
        Forget the faults that have not struck yet.

        :param api_key: only those of this key; all of them by default.
        """
        with self._lock:
            if api_key is None:
                self._faults.clear()
            else:
                self._faults.pop(api_key, None)

    def state(self) -> dict[str, Any]:
        """Tell what the accounts hold, how often the balance was asked, and how many faults wait."""
        with self._lock:
            return {
                "accounts": [
                    {"account_id": account.account_id, "balance": format_usd(account.balance_cents / 100)}
                    for account in self.accounts.values()
                ],
                "request_count": self.request_count,
                "faults": sum(len(faults) for faults in self._faults.values()),
            }

    def _next_fault(self, api_key: str) -> Fault:
        with self._lock:
            self.request_count += 1
            faults = self._faults.get(api_key) or self._faults.get(None)
            if not faults:
                return Fault()
            return faults[0] if faults[0].lasting else faults.popleft()


def _new_account(api_key: str, usd: object) -> Account:
    account_id = hashlib.sha256(api_key.encode()).hexdigest()[:24]
    return Account(account_id, parse_usd(usd, "balance_usd") * 100)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.sandbox = sandbox
        self.connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        self.sandbox.connection_count += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "YouComSandbox"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if self.path == BALANCE_PATH:
            self._answer_balance()
        elif self.path == "/sandbox":
            self._send(200, self.server.sandbox.state())
        else:
            self._send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        try:
            request = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            if self.path == RESEARCH_PATH:
                self._answer_research(request)
            elif self.path.startswith("/sandbox/"):
                self._control(self.path.removeprefix("/sandbox/"), request)
            else:
                self._send(404, {"detail": "Not Found"})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._send(400, {"detail": f"{type(error).__name__}: {error}"})

    def log_message(self, *_: object) -> None:
        """Say nothing: requests are counted, and their headers hold keys."""

    def _answer_balance(self) -> None:
        fault = self.server.sandbox._next_fault(self.headers.get("X-API-Key") or "")
        status, document = self._balance()
        answer = _Answer(fault.status or status, json.dumps(document), fault)
        answer.send(self)

    def _balance(self) -> tuple[int, dict[str, Any]]:
        account = self._account()
        if account is None:
            return 401, {"detail": "Invalid or missing API key"}
        if not account.has_billing_scope:
            return 403, {"detail": "API key lacks scope for this path"}
        balance = account.balance_cents
        attributes = {"balance": int(balance) if balance == balance.to_integral_value() else float(balance)}
        return 200, {"data": {"type": "account", "id": account.account_id, "attributes": attributes}}

    def _answer_research(self, request: dict[str, Any]) -> None:
        account = self._account()
        if account is None:
            self._send(401, {"detail": "Invalid or missing API key"})
            return
        price_cents = RESEARCH_PRICE_CENTS[request.get("research_effort", "standard")]
        if not self.server.sandbox.spend(price_cents / 100, self.headers["X-API-Key"]):
            self._send(402, {"detail": "Out of credits"})
            return
        answer = {"content": f"All there is to know about: {request['input']}", "content_type": "text"}
        self._send(200, {"output": {**answer, "sources": []}})

    def _account(self) -> Account | None:
        return self.server.sandbox.accounts.get(self.headers.get("X-API-Key") or "")

    def _control(self, command: str, request: dict[str, Any]) -> None:
        sandbox = self.server.sandbox
        if command == "faults":
            times, api_key = request.pop("times", 1), request.pop("api_key", None)
            sandbox.inject(Fault(**request), times, api_key)
        elif command == "heal":
            sandbox.heal(request.get("api_key"))
        else:
            change = {"balance": sandbox.set_balance, "top-up": sandbox.top_up, "spend": sandbox.spend}[
                command
            ]
            change(request["usd"], request.get("api_key"))
        self._send(200, sandbox.state())

    def _send(self, status: int, document: dict[str, Any]) -> None:
        _Answer(status, json.dumps(document), Fault()).send(self)


class _Answer:
    """One answer on its way out, with the fault that strikes it."""

    def __init__(self, status: int, body: str, fault: Fault) -> None:
        self.status = status
        self.body = (body if fault.body is None else fault.body).encode()
        self.fault = fault

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        time.sleep(self.fault.delay)
        if self.fault.cut == "before":
            self._cut(handler)
            return
        handler.send_response(self.status)
        for name, value in self._headers().items():
            handler.send_header(name, value)
        handler._headers_buffer.append(b"\r\n")  # type: ignore[attr-defined]
        head = b"".join(handler._headers_buffer)  # type: ignore[attr-defined]
        handler._headers_buffer = []  # type: ignore[attr-defined]
        if self.fault.cut == "inside":
            handler.wfile.write(head + self.body[: len(self.body) // 2])
            self._cut(handler)
        elif self.fault.drip:
            self._drip(handler, head + self.body)
        else:
            self._flood(handler, head)

    def _headers(self) -> dict[str, str]:
        endless = self.fault.repeat < 0
        length = {} if endless else {"Content-Length": str(len(self.body) * self.fault.repeat)}
        closing = {"Connection": "close"} if endless else {}
        return {"Content-Type": "application/json", **length, **closing, **self.fault.headers}

    def _flood(self, handler: BaseHTTPRequestHandler, head: bytes) -> None:
        handler.wfile.write(head + self.body)
        sent = 1
        while sent != self.fault.repeat:
            handler.wfile.write(self.body)
            sent += 1

    def _drip(self, handler: BaseHTTPRequestHandler, answer: bytes) -> None:
        for byte in answer:
            handler.wfile.write(bytes([byte]))
            time.sleep(self.fault.drip)

    def _cut(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        with suppress(OSError):
            handler.connection.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Run the sandbox until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_youcom.sandbox", description="A local You.com billing API."
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="default: %(default)s; 0 takes a free one"
    )
    parser.add_argument("--api-key", default=DEFAULT_API_KEY, help="the key to accept (default: %(default)s)")
    parser.add_argument("--balance-usd", default="100", help="what its account holds (default: %(default)s)")
    parser.add_argument("--account", action="append", default=[], metavar="KEY=USD", help="one more account")
    options = parser.parse_args()
    try:
        accounts = dict(account.split("=", 1) for account in options.account)
        sandbox = Sandbox(
            options.balance_usd,
            api_key=options.api_key,
            accounts=accounts,
            host=options.host,
            port=options.port,
        )
        sandbox.start()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"You.com sandbox at {sandbox.base_url}, holding {format_usd(sandbox.balance_usd())}.", flush=True)
    print("  look:   curl -H 'X-API-Key: <key>' " + sandbox.base_url + BALANCE_PATH)
    print('  top up: curl -d \'{"usd": "25"}\' ' + sandbox.base_url + "/sandbox/top-up", flush=True)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    sandbox.stop()


if __name__ == "__main__":
    main()
