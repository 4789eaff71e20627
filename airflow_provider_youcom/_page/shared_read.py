"""
A read that all viewers share, so that a database that hangs blocks one thread, and no viewer for long.

The thread is a daemon of its own: a pool's thread would keep the API server from ending, and the pools of the
API server are for its own requests.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds that a viewer waits for a read, at most.
PATIENCE = 2.0
# Seconds for which viewers get what has been read before.
KEPT_FOR = 5.0
# A read that takes longer than these seconds may never return, so the next viewer begins another one.
GIVEN_UP_AFTER = 60.0
# Each read that never returns keeps its thread.
MOST_THREADS = 3


@dataclass(frozen=True)
class Problem:
    """
    Why something could not be read.

    :param sentence: what happened, for everybody.
    :param details: more of it, which may name a host or a login; empty if there is no more.
    """

    sentence: str
    details: str = ""


class UnreadableError(Exception):
    """
    Raised by a read that tells viewers why it has failed.

    :param problem: what it tells them.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


@dataclass(frozen=True)
class Seen(Generic[T]):
    """
    What is known of something that is read again and again.

    :param value: the last answer; None if there was none yet.
    :param problem: why there is no newer one; None if it is new.
    """

    value: T | None
    problem: Problem | None = None


class SharedRead(Generic[T]):
    """
    Reads at most once at a time, and at most every five seconds, however many ask.

    A read that hangs for a minute is given up. What it returns after that is ignored.

    :param read: reads; it may block. Viewers are told what an ``UnreadableError`` of it says.
    :param what: what is read, for the sentence about a read that fails or takes too long.
    """

    def __init__(self, read: Callable[[], T], what: str) -> None:
        self._read = read
        self._what = what
        self._lock = threading.Lock()
        self._seen: Seen[T] = Seen(None)
        self._began = 0.0
        self._ended = 0.0
        self._running: Future[None] | None = None
        self._threads = 0

    @property
    def last_value(self) -> T | None:
        """The last answer; None if there was none yet."""
        return self._seen.value

    def begin(self) -> None:
        """Begin to read, unless that goes on, or has just been done."""
        self._start_unless_fresh()

    async def latest(self, deadline: float) -> Seen[T]:
        """
        Return what has just been read, or what was read before if that takes too long.

        :param deadline: until when to wait, by ``time.monotonic``.
        """
        running = self._start_unless_fresh()
        if running is None:
            return self._seen
        # A viewer who comes while it hangs does not wait for the whole patience again.
        until = min(deadline, self._began + PATIENCE)
        await asyncio.wait([asyncio.wrap_future(running)], timeout=max(0.0, until - time.monotonic()))
        if running.done():
            return self._seen
        # Without a number of seconds: something else may have taken most of the viewer's time.
        return Seen(self._seen.value, Problem(f"{self._what} has not answered yet."))

    def _start_unless_fresh(self) -> Future[None] | None:
        with self._lock:
            now = time.monotonic()
            if self._running is None and self._ended and now - self._ended < KEPT_FOR:
                return None
            if self._running is None or self._is_given_up(now):
                running: Future[None] = Future()
                # If there are no threads left, the next viewer tries again.
                threading.Thread(target=self._run, args=[running], daemon=True).start()
                self._running, self._began = running, now
                self._threads += 1
            return self._running

    def _is_given_up(self, now: float) -> bool:
        return now - self._began > GIVEN_UP_AFTER and self._threads < MOST_THREADS

    def _run(self, running: Future[None]) -> None:
        problem = None
        value = self._seen.value
        try:
            value = self._read()
        except UnreadableError as error:
            problem = error.problem
            if problem != self._seen.problem:
                log.warning("%s %s", problem.sentence, problem.details)
        except BaseException as error:  # noqa: BLE001 - viewers must not wait for a thread that has died
            problem = Problem(f"{self._what} could not be read ({type(error).__name__}).")
            # Without the text of the error: a driver may put a password there.
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error(  # noqa: TRY400
                "%s The credits page shows what it knew before.\n%s", problem.sentence, frames
            )
        with self._lock:
            self._threads -= 1
            if self._running is running:
                self._seen = Seen(value, problem)
                self._ended = time.monotonic()
                self._running = None
        running.set_result(None)
