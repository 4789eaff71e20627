"""How the sandbox's answers go wrong, on purpose."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Literal


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


class Answer:
    """
    One answer on its way out, with the fault that strikes it.

    :param status: HTTP status, if the fault has none of its own.
    :param body: body, if the fault has none of its own.
    :param fault: how it goes wrong, if at all.
    """

    def __init__(self, status: int, body: str, fault: Fault) -> None:
        self.status = status
        self.body = (body if fault.body is None else fault.body).encode()
        self.fault = fault

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        """
        Answer a request.

        :param handler: of the request.
        """
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
