"""
The rule of reservations: which ones count, who may reserve, and how long an ended one goes on counting.

The rule uses no clock, no database and no Airflow. The ledger applies it, and so does the model in the
tests, which tries every interleaving of several runs.

A *reading* is You.com's answer, and a *note* is what the ledger held before You.com was asked. Amounts are
whole numbers of hundred-thousandths of a cent, times whole numbers of microseconds since 1970 in UTC.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

# An attempt's order, which sorts by time, and its try number.
Age = tuple[str, int]

# The end number of what stands: greater than the counter of any note.
NOT_ENDED = 2**63 - 1

DEFAULT_SETTLE_SECONDS = 60
DEFAULT_RESERVE_FOR_SECONDS = 24 * 60 * 60
GRACE_SECONDS = 120
"""How long a task may still spend after Airflow has given it up; Airflow 2.11 kills it after 60 s."""
ASK_AGAIN_SECONDS = 60
"""Airflow is asked about the run of a reservation at most this often."""
KEEP_ENDED_SECONDS = 30 * 24 * 60 * 60
"""How long an ended reservation is kept for the history, after it has stopped counting."""
PURGE_EVERY_SECONDS = 24 * 60 * 60
"""Ended reservations are deleted at most this often, since a deletion makes earlier notes useless."""


class EndReason(Enum):
    """Why a reservation ended."""

    RELEASED = "released"
    """By its teardown, when no task behind the gate can spend any more."""
    CUT_SHORT = "cut short"
    """By its teardown, while tasks that failed or were marked failed may still be running."""
    SUPERSEDED = "superseded"
    """By a new attempt of its gate, when no task behind the gate could still spend."""
    RUN_OVER = "run over"
    """Its DAG run was over, and no teardown had released it."""
    EXPIRED = "expired"
    """The time that it was reserved for was over."""
    BY_HAND = "by hand"
    """By a person."""

    @property
    def grace_seconds(self) -> int:
        """How long tasks may still spend after this end, in seconds."""
        return 0 if self is EndReason.RELEASED else GRACE_SECONDS


class Outcome(Enum):
    """The result of an attempt to reserve."""

    OPEN = "open"
    """Its reservation stands."""
    SHORT = "short"
    """Not enough is available, so nothing was reserved."""
    STALE = "stale"
    """A newer attempt of this gate is known, so nothing was reserved; a retry does not help."""
    OUTDATED = "outdated"
    """The note is too old: make a new note, ask You.com again, and decide with a new id."""


def counts(reservation: Any, note: Any) -> Any:
    """
    Return whether a reservation is subtracted from a reading that came after a note.

    It counts while it stands. An ended one counts in two cases: if it ended after the note, since the
    reading may be older than the end; and if You.com may not have posted all of its charges at the time of
    the note. The time of the decision does not matter, since a reading does not get newer by waiting.

    The function consists of comparisons only. With the columns of the ledger's table, it returns SQL.

    :param reservation: has ``end_number``, the account's counter after its end, or ``NOT_ENDED``; and
        ``counts_until``, the time by which its charges are posted, or 0 while it stands.
    :param note: has ``counter``, how many reservations of the account had ended, and ``time``, both from
        before You.com was asked.
    """
    return (reservation.end_number > note.counter) | (reservation.counts_until > note.time)


def counts_until(ended_at: Any, settle_us: Any, grace_us: Any) -> Any:
    """
    Return the time by which every charge of an ended reservation is posted.

    :param ended_at: when the reservation ended.
    :param settle_us: how late You.com may post a charge.
    :param grace_us: how long tasks may still spend after the end; see ``EndReason.grace_seconds``.
    """
    return ended_at + settle_us + grace_us


def decide(
    *,
    needed_units: int,
    available_units: int,
    counter: int,
    oldest_counter: int,
    age: Age,
    newest_age: Age | None,
) -> Outcome:
    """
    Return the outcome for an attempt without a standing reservation.

    :param needed_units: how much it wants to reserve.
    :param available_units: the reading, minus every reservation that counts.
    :param counter: the counter of the note.
    :param oldest_counter: the counter at the last purge; an older note may lack what was purged.
    :param age: the attempt's age.
    :param newest_age: the age of the newest attempt of this gate so far, if any.
    """
    if counter < oldest_counter:
        return Outcome.OUTDATED
    if newest_age is not None and is_older(age, newest_age):
        return Outcome.STALE
    return Outcome.OPEN if available_units >= needed_units else Outcome.SHORT


def is_older(age: Age, other: Age) -> bool:
    """
    Return whether an attempt is older than another attempt of the same gate.

    Both its order and its number must be lower: an order may come from a clock that runs ahead, and a run
    that is deleted and made again under its id starts at try number 1.

    :param age: the attempt's age.
    :param other: the other attempt's age.
    """
    return age[0] < other[0] and age[1] < other[1]


def may_supersede(unfinished_behind_the_gate: int | None) -> bool:
    """
    Return whether a new attempt of a gate may end what an earlier one has reserved.

    If someone clears one failed task of three, Airflow clears the gate too, and the other two go on spending.

    :param unfinished_behind_the_gate: how many tasks behind the gate are running, restarting, queued,
        scheduled or deferred, without this provider's gates and teardowns; None if that is unknown, and then
        they may be spending.
    """
    return unfinished_behind_the_gate == 0


def teardown_reason(*, run_is_running: bool, all_done: bool, any_is_retried_soon: bool) -> EndReason:
    """
    Return the reason why a teardown ends its reservations.

    A teardown also runs while a task that was marked failed has not stopped yet. And an abandoned attempt may
    still be spending when its retry finishes, if the retry delay was shorter than the grace.

    :param run_is_running: whether the DAG run is in the state running.
    :param all_done: whether all tasks behind the gate are in success or skipped.
    :param any_is_retried_soon: whether one of them has retries with a delay shorter than the grace.
    """
    in_order = run_is_running and all_done and not any_is_retried_soon
    return EndReason.RELEASED if in_order else EndReason.CUT_SHORT


def reason_of_end(reason: EndReason, age: Age, newest_age: Age | None) -> EndReason:
    """
    Return the reason to store for one reservation.

    When a gate is cleared, Airflow kills the tasks behind its earlier attempt, which may take some time to
    stop. A teardown that finds all tasks in success does not see them. So the reservation of the earlier
    attempt ends as superseded, and goes on counting for the grace.

    :param reason: the reason that the caller gives.
    :param age: the age of its attempt.
    :param newest_age: the age of the newest attempt of its gate so far, if any.
    """
    if reason is EndReason.RELEASED and age != newest_age:
        return EndReason.SUPERSEDED
    return reason
