"""What a watcher remembers, and which event it fires after a check."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_youcom.crossing import Event, Line, Memory
from airflow_provider_youcom.gate import Reading
from airflow_provider_youcom.triggers._state_store import StateStore

_MOST_UNRECALLED_CHECKS = 1000
# Less is an adjustment, which makes no difference to a watcher.
_SMALLEST_CLOCK_CHANGE = timedelta(seconds=1)


class WatcherMemory:
    """
    The memory of one watcher, and the events that follow from it.

    A store that cannot be read is not an empty one: it may know of an event that must not be repeated, or of
    a crossing that is still to come. Until it has been read, the watcher decides from its own checks and
    stores nothing. Then these checks are decided again from what was stored, and what was missed is fired.

    :param line: the line that is watched.
    :param store: where the memory is kept.
    :param log: the log of the watcher.
    """

    def __init__(self, line: Line, store: StateStore, log: Any) -> None:
        self._line = line
        self._store = store
        self._log = log
        self._memory = Memory()
        self._is_recalled = False
        self._unrecalled_checks: deque[tuple[Reading, datetime]] = deque(maxlen=_MOST_UNRECALLED_CHECKS)
        self._fired: set[str] = set()
        self._owed: list[Event] = []
        self._clocks: tuple[datetime, float] | None = None

    async def recall(self) -> None:
        """Continue from what an earlier triggerer stored."""
        stored = await self._store.read_patiently()
        if stored is not None:
            self._continue_from(stored)

    async def observe(self, reading: Reading) -> Event | None:
        """
        Return the event to fire after a check, if there is one.

        :param reading: a balance, or an error if there was no balance.
        """
        was_unknown = self._memory.unknown_since
        await self._decide(reading, self._tell_time())
        if self._memory.unknown_since and not was_unknown:
            self._log.warning("The balance is unknown: %s", reading)
        if self._is_recalled:
            # Airflow saves an event some time after it was fired, and does not tell when. So it is stored
            # first, and dropped at the next check: if the triggerer is killed in between, it is fired again.
            self._memory = replace(self._memory, unsaved=self._owed[-1] if self._owed else None)
            await self._store.write(self._memory)
        return self._owed.pop(0) if self._owed else None

    async def _decide(self, reading: Reading, now: datetime) -> None:
        if self._is_recalled:
            # One event at a check: Airflow starts one run for two events of an asset in the same second.
            if not self._owed:
                self._apply(reading, now)
            return
        self._unrecalled_checks.append((reading, now))
        stored = await self._store.read()
        if stored is not None:
            self._continue_from(stored)
            return
        self._apply(reading, now)
        self._fired.update(event["id"] for event in self._owed)

    def _apply(self, reading: Reading, now: datetime) -> None:
        self._memory = self._line.observe(self._memory, reading, now)
        if self._memory.unsaved:
            self._owed.append(self._memory.unsaved)

    def _continue_from(self, stored: Memory) -> None:
        self._memory = stored
        self._owed = [stored.unsaved] if stored.unsaved else []
        for reading, at in self._unrecalled_checks:
            self._apply(reading, at)
        self._owed = [event for event in self._owed if event["id"] not in self._fired]
        self._unrecalled_checks.clear()
        self._is_recalled = True

    def _tell_time(self) -> datetime:
        """Return the time. If the clock was set since the last check, move what is remembered along."""
        now, elapsed = clocks = read_clocks()
        if self._clocks:
            change = (now - self._clocks[0]) - timedelta(seconds=elapsed - self._clocks[1])
            if abs(change) >= _SMALLEST_CLOCK_CHANGE:
                self._memory = self._memory.after_clock_change(change)
        self._clocks = clocks
        return now


def read_clocks() -> tuple[datetime, float]:
    """Return the time, and the seconds of a clock that nobody sets."""
    return datetime.now(UTC), time.monotonic()
