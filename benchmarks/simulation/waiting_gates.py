"""The gates of a simulated fleet that wait."""

from __future__ import annotations

from bisect import bisect_right, insort

from benchmarks.simulation.runs import Run


class WaitingGates:
    """
    The gates that wait, by what they need and by when in an interval they check.

    :param interval: microseconds between two checks of a gate.
    """

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._by_need: dict[int, list[tuple[int, int, Run]]] = {}
        self._count = 0

    def add(self, run: Run) -> None:
        """
        Add a gate. It checks at whole intervals after its run arrived.

        :param run: its run.
        """
        phases = self._by_need.setdefault(run.needed, [])
        insort(phases, (run.arrived_at % self._interval, run.number, run))
        self._count += 1

    def next_check(self, now: int, available: int) -> tuple[int, Run] | None:
        """
        Return when the next gate checks for which enough is available, and its run.

        :param now: the time in microseconds.
        :param available: what its check would find, in cents.
        """
        if not self._count:
            return None
        phase = now % self._interval
        soonest = None
        for needed, phases in self._by_need.items():
            if needed > available or not phases:
                continue
            place = bisect_right(phases, phase, key=_phase)
            wait = phases[place][0] - phase if place < len(phases) else phases[0][0] - phase + self._interval
            if soonest is None or wait < soonest[0]:
                soonest = (wait, phases[place % len(phases)][2])
        return None if soonest is None else (now + soonest[0], soonest[1])

    def remove(self, run: Run) -> None:
        """
        Take a gate out.

        :param run: its run.
        """
        phases = self._by_need[run.needed]
        del phases[bisect_right(phases, (run.arrived_at % self._interval, run.number, run)) - 1]
        self._count -= 1


def _phase(waiting: tuple[int, int, Run]) -> int:
    return waiting[0]
