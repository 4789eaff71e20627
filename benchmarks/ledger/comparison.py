"""The time of a cycle by the ledger and by the bare driver, in a new ledger and in one with ended rows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from benchmarks.ledger.bare_driver import connect, record
from benchmarks.ledger.cycle import cycle
from benchmarks.ledger.databases import Database
from benchmarks.ledger.ended_rows import add_ended_rows


@dataclass(frozen=True)
class CycleTimes:
    """
    How long a cycle takes in one ledger: medians in milliseconds.

    :param driver: the name of the driver.
    :param ledger_ms: by the ledger.
    :param bare_driver_ms: the same statements, sent by the bare driver.
    """

    driver: str
    ledger_ms: float
    bare_driver_ms: float

    @property
    def ratio(self) -> float:
        """How much longer it takes by the ledger."""
        return self.ledger_ms / self.bare_driver_ms


class TimedCycles:
    """
    Cycles in one ledger, in turns by the ledger and by the bare driver.

    :param database: an empty database.
    :param ended_rows: how many ended rows the ledger gets first.
    """

    def __init__(self, database: Database, ended_rows: int) -> None:
        self._ledger = database.ledger()
        self._by_ledger: list[float] = []
        self._by_bare_driver: list[float] = []
        # A cycle makes the tables, and what the ledger does only once is done.
        cycle(self._ledger, "first")
        if ended_rows:
            add_ended_rows(database.url, ended_rows)
        earlier = record(lambda: cycle(self._ledger, "earlier"))
        self._earlier_texts = earlier.texts()
        self._driver = earlier.driver
        self._connection = connect(database.url, self._driver)

    def take_a_turn(self, turn: int) -> None:
        """
        Time one cycle by each.

        :param turn: a number that was not used before.
        """
        # Recorded anew, since the decision counts what has ended after its note.
        recorded = record(lambda: cycle(self._ledger, f"recorded-{turn}"))
        # Whatever text differs from cycle to cycle is an id.
        renamed = {text: text[::-1] for text in recorded.texts() - self._earlier_texts}
        self._by_ledger.append(_milliseconds(lambda: cycle(self._ledger, f"timed-{turn}")))
        self._by_bare_driver.append(_milliseconds(lambda: recorded.replay(self._connection, renamed)))

    def times(self) -> CycleTimes:
        """Return what was measured."""
        return CycleTimes(
            self._driver, statistics.median(self._by_ledger), statistics.median(self._by_bare_driver)
        )

    def close(self) -> None:
        """Close the bare driver's connection."""
        self._connection.close()


def compare(new: Database, old: Database, cycles: int, ended_rows: int) -> tuple[CycleTimes, CycleTimes]:
    """
    Return the times of a cycle in a new ledger, and in one with many ended rows.

    They take turns cycle by cycle, so that all have the same machine.

    :param new: an empty database.
    :param old: another one, which gets the ended rows.
    :param cycles: how many cycles of each to measure.
    :param ended_rows: how many ended rows.
    """
    with closing(TimedCycles(new, 0)) as in_new, closing(TimedCycles(old, ended_rows)) as in_old:
        for turn in range(cycles):
            in_new.take_a_turn(turn)
            in_old.take_a_turn(turn)
        return in_new.times(), in_old.times()


def _milliseconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)
