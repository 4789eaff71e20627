"""The sandbox's HTTP server."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from typing import Any

from airflow_provider_youcom.sandbox._api import Answer, respond
from airflow_provider_youcom.sandbox._you_com import YouCom

_LARGEST_BODY = 1_000_000
# How long a client may take to send a body, or to stop sending one that was refused.
_PATIENCE_SECONDS = 5.0


class Server(ThreadingHTTPServer):
    """Serve a You.com; port 0 takes a free port."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], you_com: YouCom) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.you_com = you_com
        self.closing = threading.Event()
        self._threads_of_connections: dict[socket.socket, threading.Thread] = {}
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count a connection, and serve it in a thread that ends when the server closes."""
        self.you_com.connection_count += 1
        # The base class keeps no daemon threads, and other threads would hold up the end of the interpreter.
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        self._threads_of_connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, but first read what is left: unread bytes would turn the close into a reset."""
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        with suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            request.settimeout(_PATIENCE_SECONDS)
            while request.recv(65536) and time.monotonic() < give_up_at:
                pass
        self.close_request(request)
        self._threads_of_connections.pop(request, None)

    def server_close(self) -> None:
        """Stop listening, cut all connections, and wait for their threads."""
        # A process that was forked may have the socket open too, and would keep it listening.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        super().server_close()
        threads_of_connections = self._threads_of_connections.copy()
        for connection in threads_of_connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        # An answer that is delayed or drips need not be late any more: nobody gets it.
        self.closing.set()
        for thread in threads_of_connections.values():
            thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that go away, which tests make them do."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def __getattr__(self, name: str) -> Callable[[], None]:
        # The base class calls do_ and the name of the method, and sends HTML if there is no such function.
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that cannot be read, in JSON where the base class sends HTML."""
        self.close_connection = True
        self._send(Answer(int(code), {"detail": message or responses[code]}))

    def log_message(self, *_: object) -> None:
        """Stay silent: requests are counted, and their headers hold keys."""

    def _answer(self) -> None:
        length = self._header("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            self.send_error(411)
        elif not re.fullmatch("[0-9]+", length):
            self.send_error(400, "Content-Length is not a number")
        elif len(length) > 9 or int(length) > _LARGEST_BODY:
            self.send_error(413)
        elif (body := self._read(int(length))) is None:
            self.send_error(408)
        else:
            path, api_key = self.path.partition("?")[0], self._header("X-API-Key", "")
            self._send(respond(self.server.you_com, self.command, path, api_key, body))

    def _header(self, name: str, default: str) -> str:
        # Python strips the whitespace before a value only, and HTTP that after it as well.
        value: str = self.headers.get(name, default)
        return value.strip(" \t")

    def _read(self, length: int) -> bytes | None:
        self.connection.settimeout(_PATIENCE_SECONDS)
        with suppress(TimeoutError):
            body = self.rfile.read(length)
            self.connection.settimeout(None)
            return body if len(body) == length else None
        return None

    def _send(self, answer: Answer) -> None:
        fault = answer.fault
        self.server.closing.wait(fault.delay)
        text = json.dumps(answer.document) if fault.body is None else fault.body
        body = text.encode("utf-8", "replace")
        head = self._head(answer, len(body))
        if fault.cut == "before":
            self._cut()
        elif fault.cut == "inside":
            self.wfile.write(head + body[: len(body) // 2])
            self._cut()
        elif self.command == "HEAD":
            self.wfile.write(head)
        else:
            more = repeat(body) if fault.repeat < 0 else repeat(body, fault.repeat - 1)
            for part in chain([head + body], more):
                self._write(part, fault.drip)

    def _head(self, answer: Answer, length: int) -> bytes:
        fault = answer.fault
        status = fault.status or answer.status
        headers = {"Date": self.date_time_string(), "Content-Type": "application/json", **answer.headers}
        if fault.repeat < 0:
            self.close_connection = True
        else:
            headers["Content-Length"] = str(length * fault.repeat)
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"{name}: {value}\r\n" for name, value in {**headers, **fault.headers}.items()]
        head = f"HTTP/1.1 {status} {responses.get(status, '')}\r\n{''.join(lines)}\r\n"
        return head.encode("latin-1", "replace")

    def _write(self, part: bytes, drip: float) -> None:
        if not drip:
            self.wfile.write(part)
            return
        for byte in part:
            self.wfile.write(bytes([byte]))
            self.server.closing.wait(drip)

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
