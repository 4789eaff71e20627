"""
A bound on the whole of an HTTP exchange, from the name lookup to the last byte of the body.

requests and urllib3 bound the connect and each single read: a server that drips a byte a second, or
a resolver that hangs, holds the caller for ever.
"""

from __future__ import annotations

import contextvars
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, ClassVar, Generic, TypeVar

Result = TypeVar("Result")

# Long enough for one call after the other; then a process that merely asked once is single-threaded again.
_IDLE_SECONDS = 5.0

_current: ContextVar[Deadline[Any] | None] = ContextVar("youcom_deadline", default=None)


class DeadlineExceededError(Exception):
    """The exchange did not end in time."""


class Deadline(Generic[Result]):
    """
    Run an exchange in a thread that nobody else uses meanwhile, and give up on it when its time is over.

    Giving up shuts the exchange's sockets, so that its thread ends too instead of piling up.

    :param seconds: how long the exchange may take.
    """

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self._sockets: list[int] = []
        self._lock = threading.Lock()
        self._given_up = False
        self._running = threading.Lock()
        self._running.acquire()
        self._outcome: tuple[Result | None, BaseException | None] | None = None

    def run(self, exchange: Callable[[], Result]) -> Result:
        """
        Give the exchange's result, or raise what it raised.

        :param exchange: the whole exchange; may use sessions that have a :class:`DeadlineAdapter`.
        :raises DeadlineExceededError: if it did not end in time.
        """
        context = contextvars.copy_context()
        context.run(_current.set, self)
        try:
            _Worker.take().given.put(lambda: context.run(self._work, exchange))
            self._running.acquire(timeout=self.remaining())
        finally:
            # However this ends: Airflow's execution_timeout raises out of the middle of it.
            outcome = self._outcome
            self._let_go_of_sockets(shut=outcome is None)
        if outcome is None:
            raise DeadlineExceededError
        result, error = outcome
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
        duplicate = os.dup(sock.fileno())
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
        finally:
            self._running.release()

    def _let_go_of_sockets(self, *, shut: bool) -> None:
        with self._lock:
            self._given_up = True
            sockets, self._sockets = self._sockets, []
        for duplicate in sockets:
            if shut:
                _shut(duplicate)
            else:
                os.close(duplicate)


class _Worker(threading.Thread):
    """Runs one piece of work after the other: starting a thread takes longer than a call to a near server."""

    _idle: ClassVar[list[_Worker]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        super().__init__(name="youcom-exchange", daemon=True)
        self.given: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    @classmethod
    def take(cls) -> _Worker:
        with cls._lock:
            if cls._idle:
                return cls._idle.pop()
        worker = cls()
        worker.start()
        return worker

    @classmethod
    def forget_all(cls) -> None:
        cls._idle, cls._lock = [], threading.Lock()

    def run(self) -> None:
        while True:
            try:
                self.given.get(timeout=_IDLE_SECONDS)()
            except queue.Empty:
                if self._retire():
                    return
                continue
            with self._lock:
                self._idle.append(self)

    def _retire(self) -> bool:
        """Leave, unless somebody took this worker just now, whose work is on its way."""
        with self._lock:
            if self not in self._idle:
                return False
            self._idle.remove(self)
            return True


# A forked child has the list, but none of the threads.
os.register_at_fork(after_in_child=_Worker.forget_all)


def seconds_left() -> float:
    """Give the seconds left to the exchange that this code runs in; infinite outside of one."""
    deadline = _current.get()
    return float("inf") if deadline is None else deadline.remaining()


def watch(sock: socket.socket) -> None:
    """
    Shut this socket when the time of the exchange that this code runs in is over.

    :param sock: a connected socket.
    """
    deadline = _current.get()
    if deadline is not None:
        deadline.watch(sock)


def _shut(duplicate: int) -> None:
    with socket.socket(fileno=duplicate) as sock, suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
