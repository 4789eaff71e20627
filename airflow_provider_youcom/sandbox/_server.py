"""The sandbox's HTTP side: You.com's paths, and its own to change accounts and to inject faults."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from airflow_provider_youcom.sandbox._faults import Answer, Fault

if TYPE_CHECKING:
    from airflow_provider_youcom.sandbox._sandbox import Account, Sandbox

BALANCE_PATH = "/v1/billing/account_balance"
RESEARCH_PATH = "/v1/research"
# https://docs.you.com/administration/billing
RESEARCH_PRICE_CENTS = {
    "lite": Decimal("1.2"),
    "standard": Decimal(5),
    "deep": Decimal(10),
    "exhaustive": Decimal(45),
}


class Server(ThreadingHTTPServer):
    """
    Answers as You.com does, from what a sandbox knows.

    :param address: where to listen; port 0 takes a free one.
    :param sandbox: the accounts and the faults, which requests to ``/sandbox`` change.
    """

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
        """Count the connection, and keep it to be cut."""
        self.connections.add(request)
        self.sandbox.connection_count += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        self.connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and cut what is connected."""
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
    server: Server

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
        fault = self.server.sandbox.next_fault(self.headers.get("X-API-Key") or "")
        status, document = self._balance()
        answer = Answer(fault.status or status, json.dumps(document), fault)
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
        Answer(status, json.dumps(document), Fault()).send(self)
