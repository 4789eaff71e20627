"""
The rule of reservations: what counts against a reading, who may reserve, and how long an end counts.

It knows no clock, no database and no Airflow. The ledger asks it, and so does the model in the tests that
walks every interleaving of several runs.

Figures are whole numbers: amounts in hundred-thousandths of a cent, times in microseconds since 1970 in
UTC. Nothing here depends on these units.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

# What stands has this number for its end: it ends after every note there will be.
NOT_ENDED = 2**63 - 1

DEFAULT_SETTLE_SECONDS = 60
DEFAULT_RESERVE_FOR_SECONDS = 24 * 60 * 60
GRACE_SECONDS = 120
"""How long a task may still pay after Airflow has given it up; on 2.11 it is killed after 60 s."""


class EndReason(Enum):
    """Why a reservation ended."""

    RELEASED = "released"
    """In order: nothing behind the gate can pay any more."""
    CUT_SHORT = "cut short"
    """By its teardown, while work that failed or was marked failed may still be dying."""
    SUPERSEDED = "superseded"
    """By a new try of its gate, once no task behind the gate could still pay."""
    RUN_OVER = "run over"
    """Its DAG run is over, and no teardown released it."""
    EXPIRED = "expired"
    """It stood for as long as it was reserved for."""
    BY_HAND = "by hand"
    """A person released it."""

    @property
    def grace_seconds(self) -> int:
        """How long work may still pay after this end."""
        return 0 if self is EndReason.RELEASED else GRACE_SECONDS


class Outcome(Enum):
    """What a gate is told about its attempt to reserve."""

    OPEN = "open"
    """Its reservation stands."""
    SHORT = "short"
    """Not enough is available: nothing was reserved."""
    STALE = "stale"
    """A newer attempt of this gate has been seen: nothing was reserved, and trying again does not help."""
    OUTDATED = "outdated"
    """Nothing stands for this decision: make a new note, ask You.com anew, and decide under a new id."""


def counts(reservation: Any, note: Any) -> Any:
    """
    Return whether a reservation counts against a reading that was asked for after a note.

    It counts while it stands. Once ended, it counts if it ended after the note, because the reading may be
    older than the end, and if You.com may not have posted all charges at the note. The time of the
    decision plays no part: the reading does not become newer by waiting.

    Comparisons alone decide, so that this turns the columns of the ledger's table into SQL.

    :param reservation: has ``end_number``, the account's counter after its end, or ``NOT_ENDED``; and
        ``counts_until``, the time by which its charges are posted, or 0 while it stands.
    :param note: has ``counter``, the account's counter of ends, and ``time``, both from before You.com
        was asked.
    """
    return (reservation.end_number > note.counter) | (reservation.counts_until > note.time)


def counts_until(ended_at: Any, settle: Any, grace: Any) -> Any:
    """
    Return the time by which every charge is posted.

    :param ended_at: when the reservation ended.
    :param settle: how late You.com may post a charge.
    :param grace: how long work may still pay after this end, see ``EndReason.grace_seconds``.
    """
    return ended_at + settle + grace


def decide(
    *, needed: int, available: int, counter: int, oldest_counter: int, order: str, newest_order: str | None
) -> Outcome:
    """
    Return what an attempt without a standing reservation is told.

    :param needed: what it wants to set aside.
    :param available: the reading, minus every reservation that counts.
    :param counter: the noted counter.
    :param oldest_counter: the counter at the last purge: an older note may miss what was purged.
    :param order: sorts the attempts of a gate, the oldest first; compared by code point.
    :param newest_order: the greatest order that the ledger has seen of this gate, if any.
    """
    if counter < oldest_counter:
        return Outcome.OUTDATED
    if newest_order is not None and order < newest_order:
        return Outcome.STALE
    return Outcome.OPEN if available >= needed else Outcome.SHORT


def may_supersede(unfinished_behind_the_gate: int | None) -> bool:
    """
    Return whether a new try may end what an earlier try of its gate has reserved.

    Clearing one failed task of three clears the gate with it, and the other two pay on.

    :param unfinished_behind_the_gate: how many tasks behind the gate are running, restarting, queued,
        scheduled or deferred, without our own gates and teardowns; None if nobody could say, which means
        that they may be paying.
    """
    return unfinished_behind_the_gate == 0


def teardown_reason(*, run_is_running: bool, all_done: bool, any_is_retried_soon: bool) -> EndReason:
    """
    Return the reason for which a teardown ends its reservations.

    A teardown also runs while work that somebody marked failed is still dying. And a try that Airflow took
    for lost may still spend when the next try has ended, if that did not wait for the grace.

    :param run_is_running: whether the DAG run is in the state running.
    :param all_done: whether all tasks behind the gate are in success or skipped.
    :param any_is_retried_soon: whether one of them has retries, and a delay shorter than the grace.
    """
    in_order = run_is_running and all_done and not any_is_retried_soon
    return EndReason.RELEASED if in_order else EndReason.CUT_SHORT


def reason_of_end(reason: EndReason, order: str, newest_order: str | None) -> EndReason:
    """
    Return the reason for which one reservation really ends.

    A teardown that finds all work in success knows nothing of an earlier try's processes, which were
    killed when the gate was cleared and may still be dying: that try's reservation gets its grace.

    :param reason: the reason for which somebody ends it.
    :param order: of its attempt.
    :param newest_order: the greatest order that the ledger has seen of its gate, if it knows any.
    """
    if reason is EndReason.RELEASED and order != newest_order:
        return EndReason.SUPERSEDED
    return reason
