"""The rule keeps its promise in every interleaving, and each part of it is needed."""

from __future__ import annotations

import pytest

from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger.rule import NOT_ENDED, EndReason
from tests.ledger.model import End, Ledger, Note, RefusedPaymentError, Row, Run, World, explore

pytestmark = [pytest.mark.long, pytest.mark.only_in_test]

# What may happen to two or three runs, each of which needs 2: the balance, and how often each kind of trouble
# may occur, at any moment.
CASES: dict[str, tuple[int, dict[str, int]]] = {
    "three runs and two top-ups": (3, {"posted": 2, "top_ups": 2}),
    "charges posted at once, and no settle time": (3, {"posted": 2, "top_ups": 2, "settle": 0}),
    "cleared half-way, after the end, or while the teardown runs": (2, {"posted": 4, "clears": 1}),
    "cleared, with a top-up": (2, {"posted": 2, "top_ups": 1, "clears": 1}),
    "one task cleared while the other pays": (2, {"posted": 3, "top_ups": 1, "task_clears": 1}),
    "one failed task cleared while the other pays": (2, {"posted": 4, "task_clears": 1, "failures": 1}),
    "a run marked failed": (3, {"posted": 4, "marks": 1}),
    "a run marked failed, and found to be over": (2, {"posted": 4, "marks": 1, "run_over_checks": 1}),
    "a task given up that pays on": (3, {"posted": 4, "failures": 1}),
    "cleared and marked failed": (2, {"posted": 2, "clears": 1, "marks": 1}),
    "cleared while somebody asks whether it is over": (2, {"posted": 2, "clears": 1, "run_over_checks": 1}),
    "a gate's worker crashes": (2, {"posted": 4, "crashes": 1, "failures": 1}),
    "a try that Airflow lost pays beside the next one": (3, {"posted": 3, "top_ups": 1, "lost_tries": 1}),
    "a run vanishes and its reservation expires": (3, {"posted": 4, "vanishings": 1}),
}


def world(runs: int, *, posted: int, **trouble: int) -> World:
    return World(posted, 0, 0, (Run(),) * runs, **trouble)


@pytest.mark.parametrize("case", CASES)
def test_no_payment_is_refused(case: str) -> None:
    runs, trouble = CASES[case]
    assert explore(world(runs, **trouble), Ledger()) > 1000


class NoCounter(Ledger):
    def counts(self, row: Row, note: Note, own: bool) -> bool:
        return super().counts(row, Note(NOT_ENDED - 1, note.time), own)


class NoLock(Ledger):
    def locks(self) -> bool:
        return False


class HeldAmountsArePaidOut(Ledger):
    def held(self) -> tuple[int, ...]:
        return tuple(-held for held in super().held())


class NoSettleTime(Ledger):
    def counts_until(self, reason: EndReason, settle: int) -> int:
        return super().counts_until(reason, settle=0)


class SettledAtTheDecision(Ledger):
    def counts(self, row: Row, note: Note, own: bool) -> bool:
        return super().counts(row, Note(note.counter, 0), own)


class EarlierTryServesTheNewOne(Ledger):
    def opens_with(self, row: Row, attempt: int) -> bool:
        return row.stands


class SupersedesAtOnce(Ledger):
    def may_supersede(self, unfinished: int) -> bool:
        return True


class OwnEndedDoNotCount(Ledger):
    def counts(self, row: Row, note: Note, own: bool) -> bool:
        return super().counts(row, note, own) and (row.stands or not own)


class TeardownEndsWhateverStands(Ledger):
    def ends_of_teardown(self, run: Run, end: End) -> tuple[int, ...]:
        return tuple(row.attempt for row in run.rows if row.stands)


class NoGraceForAMarkedRun(Ledger):
    def teardown_reason(self, run: Run) -> EndReason:
        return rule.teardown_reason(run_is_running=True, all_done=True, any_is_retried_soon=False)


class NoGraceForALostTry(Ledger):
    def teardown_reason(self, run: Run) -> EndReason:
        return super().teardown_reason(run._replace(is_retried_soon=False))


class NoGraceForAnEarlierTry(Ledger):
    def reason_of(self, row: Row, run: Run, reason: EndReason) -> EndReason:
        return reason


CHANGES: list[tuple[type[Ledger], str]] = [
    (NoCounter, "charges posted at once, and no settle time"),
    (NoLock, "three runs and two top-ups"),
    (HeldAmountsArePaidOut, "three runs and two top-ups"),
    (NoSettleTime, "three runs and two top-ups"),
    (SettledAtTheDecision, "three runs and two top-ups"),
    (EarlierTryServesTheNewOne, "one failed task cleared while the other pays"),
    (SupersedesAtOnce, "one task cleared while the other pays"),
    (OwnEndedDoNotCount, "cleared half-way, after the end, or while the teardown runs"),
    (TeardownEndsWhateverStands, "cleared half-way, after the end, or while the teardown runs"),
    (NoGraceForAMarkedRun, "a run marked failed"),
    (NoGraceForALostTry, "a try that Airflow lost pays beside the next one"),
    (NoGraceForAnEarlierTry, "cleared half-way, after the end, or while the teardown runs"),
]


@pytest.mark.parametrize(("change", "case"), CHANGES, ids=lambda value: getattr(value, "__name__", None))
def test_a_payment_is_refused_without_each_part_of_the_rule(change: type[Ledger], case: str) -> None:
    runs, trouble = CASES[case]
    with pytest.raises(RefusedPaymentError):
        explore(world(runs, **trouble), change())
