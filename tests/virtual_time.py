"""Functions that run side by side in virtual time, one at a time, in the order of their waits."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence


class VirtualTime:
    """A clock that stands still while a function runs, and jumps to the end of the next wait."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._paused = threading.Semaphore(0)

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let others run until so many seconds have passed."""
        turn = threading.Event()

        def resume() -> None:
            turn.set()
            self._paused.acquire()

        self.later(seconds, resume)
        self._paused.release()
        turn.wait()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call something that does not wait, so many seconds from now."""
        heapq.heappush(self._waiting, (self._now + seconds, next(self._order), action))

    def run(self, functions: Sequence[Callable[[], None]]) -> None:
        """Run functions from their start to their end, and raise what one of them raises."""
        errors: list[BaseException] = []

        def live(function: Callable[[], None]) -> None:
            self.sleep(0)
            try:
                function()
            except BaseException as error:  # raised again below
                errors.append(error)
            self._paused.release()

        for function in functions:
            threading.Thread(target=live, args=(function,), daemon=True).start()
            self._paused.acquire()
        while self._waiting:
            self._now, _, action = heapq.heappop(self._waiting)
            action()
        if errors:
            raise errors[0]
