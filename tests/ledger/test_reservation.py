"""The values of the ledger: what a note tells, alone and after a decision that was made with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from airflow_provider_youcom.balance import AvailableCredits
from airflow_provider_youcom.ledger._amounts import usd_to_units
from airflow_provider_youcom.ledger.claim import Attempt
from airflow_provider_youcom.ledger.reservation import AccountNote, Decision, Note, Reservation
from tests.ledger.spending import NOON, account_with, attempt_of, claim_of

pytestmark = pytest.mark.only_in_test

MONDAY = attempt_of("monday")
NOTED = AccountNote(
    counter=7,
    reserved_units=usd_to_units(Decimal(40)),
    reserved_runs=2,
    runs={MONDAY.holder.run_key: usd_to_units(Decimal(25))},
    attempts=frozenset({MONDAY.id}),
)
NOTE = Note(time=1, accounts={"4f1c": NOTED, "another": AccountNote(reserved_units=5)})


def reservation_of(attempt: Attempt, usd: int) -> Reservation:
    return Reservation("r1", "4f1c", attempt, (), Decimal(usd), 60, NOON, NOON + timedelta(days=1))


def decision(
    reserved_usd: int, runs: int, reservation: Reservation | None, account_id: str = "4f1c"
) -> Decision:
    balance = account_with(100, account_id)
    available = AvailableCredits(
        balance, Decimal(100 - reserved_usd), Decimal(reserved_usd), runs, own_run_usd=Decimal(0)
    )
    return Decision(available, reservation)


def test_nothing_is_reserved_in_an_account_that_the_ledger_does_not_know() -> None:
    unknown = NOTE.of("new")
    assert unknown == AccountNote(0, 0, 0, {}, frozenset(), False)
    assert unknown.reserved_usd == 0
    assert unknown.reserved_for_run_usd(MONDAY.holder) == 0


def test_what_is_reserved_is_subtracted_from_the_balance() -> None:
    seen = NOTE.available(account_with(60), MONDAY.holder)
    assert (seen.balance, seen.reservation_id) == (account_with(60), None)
    assert (seen.available_usd, seen.reserved_usd, seen.reserved_runs, seen.own_run_usd) == (20, 40, 2, 25)
    assert NOTE.available(account_with(60)).own_run_usd == 0
    assert NOTE.available(account_with(60), attempt_of("tuesday").holder).own_run_usd == 0


@pytest.mark.parametrize(
    ("run", "usd", "has_expired", "needed"),
    [
        pytest.param("tuesday", 65, False, True, id="exactly enough"),
        pytest.param("tuesday", "64.9999999", False, False, id="short"),
        pytest.param("tuesday", 0, True, True, id="short, and something has expired"),
        pytest.param("monday", 0, False, True, id="its own reservation stands"),
    ],
)
def test_a_decision_is_asked_for_if_it_could_open_the_gate_or_end_what_has_expired(
    run: str, usd: object, has_expired: bool, needed: bool
) -> None:
    note = Note(time=1, accounts={"4f1c": replace(NOTED, has_expired=has_expired)})
    assert note.needs_decision(claim_of(run), account_with(usd)) is needed


def test_a_note_after_a_decision_has_what_was_reserved() -> None:
    tuesday = attempt_of("tuesday")
    before = Note(1, {**NOTE.accounts, "4f1c": replace(NOTED, has_expired=True)})
    after = before.after(decision(40, 2, reservation_of(tuesday, 10)))
    assert after.of("4f1c") == replace(
        NOTED,
        reserved_units=usd_to_units(Decimal(50)),
        reserved_runs=3,
        runs={**NOTED.runs, tuesday.holder.run_key: usd_to_units(Decimal(10))},
    )
    assert (after.time, after.of("another")) == (1, NOTE.of("another"))
    assert NOTE.of("4f1c") is NOTED


def test_a_second_gate_of_a_run_adds_to_what_stands_for_the_run() -> None:
    second = attempt_of("monday", task_id="second_gate")
    after = NOTE.after(decision(40, 2, reservation_of(second, 10)))
    assert after.of("4f1c").reserved_for_run_usd(MONDAY.holder) == 35


def test_a_reservation_that_stood_before_the_note_counts_once() -> None:
    after = NOTE.after(decision(15, 1, reservation_of(MONDAY, 25)))
    assert after.of("4f1c") == NOTED


def test_a_decision_that_saw_more_reserved_raises_what_the_note_holds_and_never_lowers_it() -> None:
    more = NOTE.after(decision(70, 4, None)).of("4f1c")
    assert (more.reserved_usd, more.reserved_runs, more.runs) == (70, 4, NOTED.runs)
    assert NOTE.after(decision(10, 1, None)).of("4f1c") == NOTED


def test_a_decision_in_an_account_that_is_new_is_noted() -> None:
    after = NOTE.after(decision(0, 0, reservation_of(MONDAY, 25), account_id="new"))
    assert (after.of("new").reserved_usd, after.of("new").reserved_runs) == (25, 1)
    assert after.of("4f1c") is NOTED


def test_a_reservation_stands_until_it_has_ended() -> None:
    standing = reservation_of(MONDAY, 25)
    assert standing.stands
    assert standing.holder == MONDAY.holder
    assert not replace(standing, ended_at=NOON).stands


def test_notes_reservations_and_decisions_are_compared_by_value_and_cannot_be_changed() -> None:
    for value in (NOTE, NOTED, reservation_of(MONDAY, 25), decision(0, 0, None)):
        assert value == replace(value)
        with pytest.raises(AttributeError):
            value.time = 2  # type: ignore[misc, union-attr]
