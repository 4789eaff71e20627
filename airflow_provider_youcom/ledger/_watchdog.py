"""
Cut the connection of a transaction that takes too long.

A server's own time limit does not help if its answer never arrives: a proxy that forwards nothing any more
keeps the connection open, and the driver waits for ever.
"""

from __future__ import annotations

import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Watch:
    """
    The connections of one transaction, which are cut at a deadline.

    :param deadline: by ``time.monotonic``.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.has_cut = False
        self.is_connected = False
        self._descriptors: list[int] = []
        self._is_over = False
        self._lock = threading.Lock()

    def follow(self, connection: Any) -> None:
        """
        Cut this connection as well when the time is over.

        :param connection: a connection of psycopg2 or psycopg.
        """
        self.is_connected = True
        if connection.closed:
            return
        # A copy of the descriptor: its number may belong to something else once the driver has closed it.
        copied = os.dup(connection.fileno())
        with self._lock:
            self._descriptors.append(copied)
            if self.has_cut:
                _shut_down(copied)

    def cut(self) -> None:
        """Shut the connections down, so that the driver finds them closed."""
        with self._lock:
            if self._is_over:
                return
            self.has_cut = True
            for each in self._descriptors:
                _shut_down(each)

    def end(self) -> None:
        """Leave the connections alone from now on."""
        with self._lock:
            self._is_over = True
            for each in self._descriptors:
                os.close(each)
            self._descriptors.clear()


class Watchdog:
    """A thread that cuts whatever is late; it ends when there is nothing left to watch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watches: list[tuple[float, int, Watch]] = []
        self._numbers = itertools.count()
        self._wakes_at: float | None = None

    @contextmanager
    def watch(self, deadline: float) -> Iterator[Watch]:
        """
        Return a watch for the length of a ``with`` block.

        :param deadline: by ``time.monotonic``.
        """
        watch = Watch(deadline)
        with self._changed:
            heapq.heappush(self._watches, (deadline, next(self._numbers), watch))
            self._wake_by(deadline)
        try:
            yield watch
        finally:
            watch.end()

    def _wake_by(self, deadline: float) -> None:
        if self._wakes_at is None:
            self._wakes_at = deadline
            threading.Thread(target=self._run, daemon=True, name="youcom-ledger-watchdog").start()
        elif deadline < self._wakes_at:
            self._changed.notify()

    def _run(self) -> None:
        while late := self._wait():
            for watch in late:
                watch.cut()

    def _wait(self) -> list[Watch]:
        """Return the watches whose time is over, as soon as there are any; none if there is no watch left."""
        with self._changed:
            while self._watches:
                self._wakes_at = self._watches[0][0]
                seconds = self._wakes_at - time.monotonic()
                if seconds <= 0:
                    return self._take_late()
                # Most watches have ended by then; that saves waking this thread at each transaction.
                self._changed.wait(seconds)
            self._wakes_at = None
            return []

    def _take_late(self) -> list[Watch]:
        late = []
        now = time.monotonic()
        while self._watches and self._watches[0][0] <= now:
            late.append(heapq.heappop(self._watches)[2])
        return late


def _shut_down(descriptor: int) -> None:
    connected = socket.socket(fileno=descriptor)
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The server has closed it already.
        return
    finally:
        connected.detach()


watchdog = Watchdog()


def _start_anew() -> None:
    # The thread does not survive a fork, and its lock may have been held.
    watchdog.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_start_anew)
