"""
Bound one call in time and in size, retries included.

requests bounds the connect and each read. A server that sends a byte a second, or headers without end,
can hold the caller for hours. So each read here gets only the time that is left of the whole call, and its
bytes count against the limit of the call.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import requests.adapters
import urllib3

# You.com's answer has about 150 bytes.
LARGEST_BODY = 64 * 1024
_LONGEST_CONNECT = 5.0
_LONGEST_SILENCE = 10.0
# Headers and body, all tries together. You.com's answer has about 150 bytes; a proxy's error page fits too.
LARGEST_CALL = 256 * 1024


class CallTooLongError(Exception):
    """The call did not end in time."""


class CallTooLargeError(Exception):
    """You.com sent more bytes than a call may read."""


class _Budget:
    def __init__(self, seconds: float, outer: _Budget | None) -> None:
        self._ends_at = time.monotonic() + seconds
        self._bytes_left = LARGEST_CALL
        self._outer = outer

    def seconds_left(self) -> float:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise CallTooLongError
        return left if self._outer is None else min(left, self._outer.seconds_left())

    def spend_bytes(self, count: int) -> None:
        if self._outer is not None:
            self._outer.spend_bytes(count)
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise CallTooLargeError


_current: ContextVar[_Budget | None] = ContextVar("youcom_call_budget", default=None)


@contextmanager
def bounded_call(seconds: float) -> Iterator[None]:
    """
    Bound all requests that the sessions of this package make inside the block, taken together.

    A block inside another one keeps to the bounds of both.

    :param seconds: how long they may take.
    :raises CallTooLongError: if they take longer.
    :raises CallTooLargeError: if the answers are larger than ``LARGEST_CALL`` bytes.
    """
    token = _current.set(_Budget(seconds, _current.get()))
    try:
        yield
    finally:
        _current.reset(token)


def seconds_left() -> float:
    """
    Return the seconds that are left of the current call; infinity outside a call.

    :raises CallTooLongError: if none are left.
    """
    budget = _current.get()
    return float("inf") if budget is None else budget.seconds_left()


class TimeLeft(urllib3.Timeout):
    """A timeout for each connect and each read, which never outlasts the current call."""

    def clone(self) -> urllib3.Timeout:
        """Return the timeout of one try; urllib3 asks for it at the beginning of each."""
        left = seconds_left()
        return urllib3.Timeout(connect=min(_LONGEST_CONNECT, left), read=min(_LONGEST_SILENCE, left))


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """An HTTP adapter whose connections keep to the bounds of the current call."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool for a request: direct, through TLS, or through a proxy of any kind."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _bounded(type(pool).ConnectionCls)
        return pool


def _bounded(connection_class: Callable[..., Any]) -> Callable[..., Any]:
    def connect(*args: Any, **kwargs: Any) -> Any:
        connection = connection_class(*args, **kwargs)
        connection.response_class = _BoundedResponse
        # If http.client's debug output is on, it prints the headers, and the key with them.
        connection.debuglevel = 0
        return connection

    return connect


class _BoundedResponse(http.client.HTTPResponse):
    """
    An answer that is read within the bounds, and whose broken parts are not quoted in errors.

    urllib3 logs what errors quote, and a server may send the key back.
    """

    fp: Any
    msg: Any

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_BoundedFile(sock, self.fp.detach()))

    def begin(self) -> None:
        try:
            super().begin()
        except http.client.RemoteDisconnected:
            raise
        except (http.client.BadStatusLine, http.client.UnknownProtocol):
            raise http.client.BadStatusLine("not shown here") from None
        self.msg.defects.clear()
        self.msg.set_payload("")


class _BoundedFile(io.RawIOBase):
    """The socket's file. It waits and reads only as much as is left of the current call."""

    def __init__(self, sock: socket.socket, file: io.RawIOBase) -> None:
        self._sock = sock
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        budget = _current.get()
        if budget is None:
            return self._file.readinto(buffer)
        before = self._sock.gettimeout()
        self._sock.settimeout(min(before or _LONGEST_SILENCE, budget.seconds_left()))
        try:
            count = self._file.readinto(buffer)
        finally:
            # Who reads on outside this block has a timeout of their own.
            self._sock.settimeout(before)
        budget.spend_bytes(count or 0)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
