"""Three kinds of gates in front of one simulated account: those that check, those that reserve, an ideal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger.rule import NOT_ENDED, EndReason, Outcome
from benchmarks.simulation.account import MICROSECONDS, Account

# The number of notes after which the rule sums up again what is reserved.
VERIFY_EVERY = 100


@dataclass(frozen=True)
class Note:
    """
    What a gate knows when its check begins.

    :param counter: how often reservations had ended.
    :param time: the time in microseconds.
    """

    counter: int
    time: int


class Reservation:
    """
    An amount set aside for a run.

    :param cents: how much.
    """

    __slots__ = ("cents", "counts_until", "end_number")

    def __init__(self, cents: int) -> None:
        self.cents = cents
        self.end_number = NOT_ENDED
        self.counts_until = 0


class CheckingGates:
    """
    Gates that open when the balance is enough, and reserve nothing.

    :param account: the account that they check.
    :param settle_seconds: how late a charge may be posted, in seconds.
    """

    def __init__(self, account: Account, settle_seconds: float) -> None:
        self.account = account
        self.settle = round(settle_seconds * MICROSECONDS)

    def available(self) -> int:
        """Return the cents that a check at this moment finds available."""
        return self.account.posted_cents

    def note(self, now: int) -> Note:
        """
        Return what is noted before You.com is asked.

        :param now: the time in microseconds.
        """
        return Note(0, now)

    def decide(self, run: int, needed: int, note: Note, reading: int) -> bool:
        """
        Return whether a gate opens.

        :param run: the number of its run.
        :param needed: its ``min_usd``, in cents.
        :param note: made before You.com was asked.
        :param reading: what You.com answered, in cents.
        """
        return reading >= needed

    def end(self, run: int, reason: EndReason, now: int) -> int | None:
        """
        End what a run has reserved, and return the time until which it counts; None if there is nothing.

        :param run: the number of the run.
        :param reason: why it ends.
        :param now: the time in microseconds.
        """
        return None

    def settled(self, run: int) -> None:
        """
        Stop counting an ended reservation in new notes.

        :param run: the number of its run.
        """

    def forget(self, run: int) -> None:
        """
        Drop a reservation that no note needs any more.

        :param run: the number of its run.
        """


class IdealGates(CheckingGates):
    """Gates that know every balance without delay, and what each run will still spend."""

    def available(self) -> int:
        """Return the cents that no run will spend."""
        return self.account.cents - self.account.committed_cents

    def decide(self, run: int, needed: int, note: Note, reading: int) -> bool:
        """Return whether a gate opens, by what is there at this moment."""
        return self.available() >= needed


class ReservingGates(CheckingGates):
    """
    Gates that reserve, by the provider's own rule.

    A running sum serves the checks, since nearly all of them find too little. The rule counts every
    reservation again for each decision, and from time to time for a note, where both must be equal.
    """

    def __init__(self, account: Account, settle_seconds: float) -> None:
        super().__init__(account, settle_seconds)
        self.reservations: dict[int, Reservation] = {}
        self.reserved = 0
        self._counter = 0
        self._notes = 0

    def available(self) -> int:
        """Return what a reading would show, minus what counts at this moment."""
        return self.account.posted_cents - self.reserved

    def note(self, now: int) -> Note:
        """Return the counter of ends and the time, before You.com is asked."""
        note = Note(self._counter, now)
        self._notes += 1
        if self._notes % VERIFY_EVERY == 0:
            self.verify(note)
        return note

    def verify(self, note: Note) -> None:
        """
        Compare the running sum with the sum by the rule.

        :param note: made at this moment.
        """
        by_the_rule = self.counted(note)
        if self.reserved != by_the_rule:
            raise AssertionError(
                f"The running sum is {self.reserved} cents, and the rule counts {by_the_rule}."
            )

    def counts(self, reservation: Reservation, note: Note) -> Any:
        """
        Return whether a reservation counts against a reading.

        :param reservation: the reservation.
        :param note: made before the reading.
        """
        return rule.counts(reservation, note)

    def counted(self, note: Note) -> int:
        """
        Return all cents that count against a reading.

        :param note: made before the reading.
        """
        counts = self.counts
        return sum(each.cents for each in self.reservations.values() if counts(each, note))

    def decide(self, run: int, needed: int, note: Note, reading: int) -> bool:
        """Reserve if enough is available, and return whether the gate opens."""
        outcome = rule.decide(
            needed_units=needed,
            available_units=reading - self.counted(note),
            counter=note.counter,
            oldest_counter=0,
            age=("", 0),
            newest_age=None,
        )
        if outcome is not Outcome.OPEN:
            return False
        self.reservations[run] = Reservation(needed)
        self.reserved += needed
        return True

    def end(self, run: int, reason: EndReason, now: int) -> int:
        """End a reservation, and return the time until which it counts."""
        reservation = self.reservations[run]
        self._counter += 1
        reservation.end_number = self._counter
        reservation.counts_until = rule.counts_until(now, self.settle, reason.grace_seconds * MICROSECONDS)
        return reservation.counts_until

    def settled(self, run: int) -> None:
        """Stop counting an ended reservation in new notes."""
        self.reserved -= self.reservations[run].cents

    def forget(self, run: int) -> None:
        """Drop a reservation that ended before every note in use, and has settled."""
        del self.reservations[run]
