"""Whose turn it is when gates wait: three rules, the provider's own among them."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from airflow_provider_youcom.ledger import line_rule
from benchmarks.simulation.account import MICROSECONDS
from benchmarks.simulation.runs import Run


class Place:
    """
    The place of a gate that waits, with the attributes that the provider's rule reads.

    :param number: rises with each gate that joins.
    :param run: the gate's run.
    :param opened_before: the total of all that had been reserved when it joined, in cents.
    """

    __slots__ = ("amount_units", "number", "opened_before", "patience", "run")

    def __init__(self, number: int, run: Run, opened_before: int) -> None:
        self.number = number
        self.run = run
        self.amount_units = run.needed
        self.opened_before = opened_before
        self.patience = line_rule.FIRST_PATIENCE


class FirstFit:
    """
    No line: whoever finds enough opens. The other rules build on it.

    :param hold_seconds: for how long nothing may move before a hold ends, in seconds.
    """

    def __init__(self, hold_seconds: float) -> None:
        self.hold = round(hold_seconds * MICROSECONDS)
        self.places: dict[int, Place] = {}
        self.opened_cents = 0
        self.holds_in_vain = 0
        self._newest = 0

    def join(self, run: Run) -> None:
        """
        Give a gate a place, unless it has one.

        :param run: its run.
        """
        if run.number not in self.places:
            self._newest += 1
            self.places[run.number] = Place(self._newest, run, self.opened_cents)

    def leave(self, run: Run) -> None:
        """
        Take the place of a gate away.

        :param run: its run.
        """
        self.places.pop(run.number, None)

    def open(self, run: Run, left_cents: int, now: int) -> None:
        """
        Let a gate open and leave the line.

        :param run: its run.
        :param left_cents: what is available after it.
        :param now: the time in microseconds.
        """
        self.opened_cents += run.needed
        self.leave(run)

    def held_before(self, run: Run) -> int:
        """
        Return how many cents a gate leaves alone.

        :param run: its run.
        """
        return 0

    def follow(self, available_cents: int, now: int) -> None:
        """
        See whether more has come in, or a hold has lasted too long.

        :param available_cents: what a check finds.
        :param now: the time in microseconds.
        """


class FirstCome(FirstFit):
    """First come, first served: nobody opens before those who joined earlier."""

    def held_before(self, run: Run) -> int:
        """Return more than the account ever holds, unless nobody is in front."""
        first = next(iter(self.places), run.number)
        return 0 if first == run.number else line_rule.NO_BOUND


class TheLine(FirstFit):
    """The provider's rule: what a gate needs is held once enough has passed it."""

    def __init__(self, hold_seconds: float) -> None:
        super().__init__(hold_seconds)
        self._best = 0
        self._moved_at = 0
        self._opened_at = 0
        self._held: list[Place] | None = None
        self._sums: list[int] = []

    def join(self, run: Run) -> None:
        """Give a gate the last place, unless it has one."""
        if run.number not in self.places:
            patience = line_rule.first_patience(run.needed, self.places.values())
            super().join(run)
            self.places[run.number].patience = patience

    def leave(self, run: Run) -> None:
        """Take the place of a gate away, and what is held for it."""
        super().leave(run)
        self._held = None

    def open(self, run: Run, left_cents: int, now: int) -> None:
        """Let a gate open, which passes those that go on waiting."""
        super().open(run, left_cents, now)
        self._best, self._moved_at, self._opened_at = left_cents, now, now
        for place in self.places.values():
            place.patience = line_rule.patience_after(place, run.needed)

    def held_before(self, run: Run) -> int:
        """Return what is held for gates that joined before."""
        place = self.places.get(run.number)
        held = self.held()
        end = line_rule.bound(place.number if place else None, run_since=None)
        return self._sums[bisect_left(held, end, key=_number)]

    def held(self) -> list[Place]:
        """Return the places whose amounts are held, in order."""
        if self._held is None:
            opened = self.opened_cents
            self._held = [place for place in self.places.values() if line_rule.is_held(place, opened)]
            self._sums = [0, *accumulate(place.amount_units for place in self._held)]
        return self._held

    def follow(self, available_cents: int, now: int) -> None:
        """See whether more has come in, or a hold has lasted too long."""
        if available_cents > self._best:
            self._best, self._moved_at = available_cents, now
        if line_rule.has_lasted(now, self._moved_at, self._opened_at, self.hold):
            self._start_over(line_rule.held_in_vain(self.held(), available_cents))

    def _start_over(self, in_vain: list[Place]) -> None:
        if not in_vain:
            return
        self.holds_in_vain += 1
        least, held = line_rule.least_units(in_vain), self.held()
        for place in self.places.values():
            if place in in_vain or (place not in held and place.amount_units >= least):
                place.patience = line_rule.longer_patience(place.patience)
                place.opened_before = self.opened_cents
        self._held = None


def _number(place: Place) -> int:
    return place.number
