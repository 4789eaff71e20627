"""
A bound on the whole of an HTTP exchange, from the name lookup to the last byte of the body.

requests and urllib3 bound the connect and each single read: a server that drips a byte a second, or
a resolver that hangs, holds the caller for ever.
"""

from __future__ import annotations

import contextvars
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

import requests.adapters
import urllib3
import urllib3.connection

Result = TypeVar("Result")

_current: ContextVar[Deadline[Any] | None] = ContextVar("youcom_deadline", default=None)


class DeadlineExceededError(Exception):
    """The exchange did not end in time."""


class Deadline(Generic[Result]):
    """
    Run an exchange in a thread of its own, and give up on it when its time is over.

    Giving up shuts the exchange's sockets, so that its thread ends too instead of piling up.

    :param seconds: how long the exchange may take.
    """

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._given_up = False
        self._outcome: tuple[Result | None, BaseException | None] | None = None

    def run(self, exchange: Callable[[], Result]) -> Result:
        """
        Give the exchange's result, or raise what it raised.

        :param exchange: the whole exchange; may use sessions that have a :class:`DeadlineAdapter`.
        :raises DeadlineExceededError: if it did not end in time.
        """
        context = contextvars.copy_context()
        context.run(_current.set, self)
        thread = threading.Thread(target=context.run, args=(self._work, exchange), daemon=True)
        thread.start()
        thread.join(self.remaining())
        self._shut_sockets()
        if self._outcome is None:
            raise DeadlineExceededError
        result, error = self._outcome
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def remaining(self) -> float:
        """Give the seconds that are left, 0 or more."""
        return max(0.0, self.ends_at - time.monotonic())

    def watch(self, sock: socket.socket) -> None:
        """
        Shut this socket when the time is over.

        :param sock: a connected socket. A duplicate is kept: TLS takes the original over.
        """
        duplicate = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            if not self._given_up:
                self._sockets.append(duplicate)
                return
        _shut(duplicate)

    def _work(self, exchange: Callable[[], Result]) -> None:
        try:
            self._outcome = (exchange(), None)
        except BaseException as error:  # noqa: BLE001 - raised again where the exchange was asked for
            self._outcome = (None, error)

    def _shut_sockets(self) -> None:
        with self._lock:
            self._given_up = True
            sockets, self._sockets = self._sockets, []
        for duplicate in sockets:
            if self._outcome is None:
                _shut(duplicate)
            else:
                duplicate.close()


def seconds_left() -> float:
    """Give the seconds left to the exchange that this code runs in; infinite outside of one."""
    deadline = _current.get()
    return float("inf") if deadline is None else deadline.remaining()


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """An HTTP adapter whose connections are known to the current :class:`Deadline`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _watch_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Make the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        _watch_connections(manager)
        return manager


class _WatchedConnection(urllib3.connection.HTTPConnection):
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        _watch(sock)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            _watch(self.sock)
        super().request(*args, **kwargs)


class _WatchedTLSConnection(_WatchedConnection, urllib3.connection.HTTPSConnection):
    pass


class _WatchedPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


def _watch_connections(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTLSPool}


def _watch(sock: socket.socket) -> None:
    deadline = _current.get()
    if deadline is not None:
        deadline.watch(sock)


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
