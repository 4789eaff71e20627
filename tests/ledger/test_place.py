"""The line in memory: who stands where, what is held for whom, and what a decision changes."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_youcom.ledger.claim import Holder
from airflow_provider_youcom.ledger.place import NOTHING_HELD, AccountLine, Held, Place
from airflow_provider_youcom.ledger.reservation import AccountNote, Note
from tests.ledger.spending import NOON, account_with, attempt_of, claim_of

pytestmark = pytest.mark.only_in_test

DOLLAR = 10_000_000
HOUR = 3_600_000_000


def place_of(run: str, number: int, usd: int, *, is_held: bool = False, opened_before: int = 0) -> Place:
    return Place(
        account_id="4f1c",
        holder=attempt_of(run).holder,
        number=number,
        joined_at=NOON,
        amount_units=usd * DOLLAR,
        opened_before=opened_before,
        patience=4,
        is_held=is_held,
    )


# Tuesday's and Thursday's amounts are held.
LINE = AccountLine(
    places=(
        place_of("monday", 3, 10, opened_before=990 * DOLLAR),
        place_of("tuesday", 5, 20, is_held=True),
        place_of("wednesday", 6, 30, opened_before=990 * DOLLAR),
        place_of("thursday", 9, 40, is_held=True),
        place_of("friday", 12, 50, opened_before=990 * DOLLAR),
    ),
    opened_units=1000 * DOLLAR,
    best_units=7 * DOLLAR,
    moved_at=10 * HOUR,
    opened_at=10 * HOUR,
)


def holder(run: str) -> Holder:
    return attempt_of(run).holder


def test_in_a_new_account_nobody_waits_nothing_is_held_and_nothing_has_happened() -> None:
    assert AccountLine() == AccountLine((), opened_units=0, best_units=0, moved_at=0, opened_at=0, late={})
    assert AccountLine().held_before(holder("monday"), None) == NOTHING_HELD == Held(0, 0, None)


@pytest.mark.parametrize(
    ("run", "position", "number"), [("monday", 1, 3), ("wednesday", 3, 6), ("friday", 5, 12)]
)
def test_a_gate_in_line_has_a_place_and_a_position(run: str, position: int, number: int) -> None:
    place = LINE.of(holder(run))
    assert place is not None
    assert (place.holder, place.number) == (holder(run), number)
    assert LINE.position(holder(run)) == position


def test_somebody_who_is_not_in_line_has_neither() -> None:
    assert LINE.of(holder("sunday")) is None
    assert LINE.position(holder("sunday")) is None
    assert AccountLine().position(holder("monday")) is None


def test_a_place_and_a_line_tell_their_dollars() -> None:
    assert LINE.places[0].amount_usd == 10
    assert LINE.needed_usd == Decimal(150)
    assert Held(25 * DOLLAR, 1, holder("monday")).usd == 25


@pytest.mark.parametrize(
    ("run", "usd", "gates"),
    [
        pytest.param("monday", 0, 0, id="nothing is held for gates in front"),
        pytest.param("tuesday", 0, 0, id="its own amount is its own"),
        pytest.param("wednesday", 20, 1, id="behind one"),
        pytest.param("thursday", 20, 1, id="held itself, behind one"),
        pytest.param("friday", 60, 2, id="behind two"),
        pytest.param("sunday", 60, 2, id="without a place"),
    ],
)
def test_someone_leaves_alone_what_is_held_for_gates_in_front(run: str, usd: int, gates: int) -> None:
    held = LINE.held_before(holder(run), None)
    assert held == Held(usd * DOLLAR, gates, holder("tuesday") if gates else None)


@pytest.mark.parametrize(("run_since", "usd"), [(4, 0), (5, 20), (8, 20), (9, 60), (99, 60)])
def test_a_run_that_has_held_credits_since_before_passes_gates_that_joined_later(
    run_since: int, usd: int
) -> None:
    assert LINE.held_before(holder("sunday"), run_since).units == usd * DOLLAR
    assert LINE.held_before(holder("tuesday"), run_since) == NOTHING_HELD


def test_a_gate_whose_check_is_overdue_still_leaves_alone_only_those_in_front() -> None:
    late = replace(LINE, late={holder("sunday").key: 7})
    assert late.held_before(holder("sunday"), None).units == 20 * DOLLAR
    assert late.position(holder("sunday")) is None


def test_a_sentence_names_the_run_that_something_is_held_for_and_how_many_more() -> None:
    assert NOTHING_HELD.whom == ""
    assert LINE.held_before(holder("wednesday"), None).whom == "run tuesday of DAG research"
    assert LINE.held_before(holder("friday"), None).whom == "run tuesday of DAG research and 1 more in line"


@pytest.mark.parametrize(("usd", "has"), [(7, False), (8, True), (-3, False), (10**300, True)])
def test_more_has_come_in_if_more_is_available_than_since_the_last_opening(usd: int, has: bool) -> None:
    assert LINE.has_come_in(usd * DOLLAR) is has


def test_nothing_comes_in_while_nobody_waits() -> None:
    assert not replace(LINE, places=()).has_come_in(8 * DOLLAR)


def test_a_balance_beyond_what_the_ledger_can_write_comes_in_once() -> None:
    assert not replace(LINE, best_units=2**62).has_come_in(10**300)


@pytest.mark.parametrize(
    ("usd", "now", "in_vain"),
    [
        pytest.param(0, 11 * HOUR, [], id="nothing has moved for exactly an hour"),
        pytest.param(0, 11 * HOUR + 1, ["tuesday", "thursday"], id="for longer"),
        pytest.param(20, 11 * HOUR + 1, ["thursday"], id="the first could be paid"),
        pytest.param(40, 11 * HOUR + 1, ["thursday"], id="after the first, too little is left"),
        pytest.param(60, 11 * HOUR + 1, [], id="both could be paid"),
        pytest.param(0, 9 * HOUR, [], id="the clock was put back by an hour"),
        pytest.param(0, 9 * HOUR - 1, ["tuesday", "thursday"], id="the clock was put back by more"),
    ],
)
def test_holds_end_after_an_hour_without_movement_unless_they_can_be_paid(
    usd: int, now: int, in_vain: list[str]
) -> None:
    found = replace(LINE, best_units=60 * DOLLAR).held_in_vain(usd * DOLLAR, now, HOUR)
    assert [place.holder.run_id for place in found] == in_vain


@pytest.mark.parametrize(
    ("now", "in_vain"),
    [
        pytest.param(12 * HOUR, [], id="nothing has opened for exactly two hours"),
        pytest.param(12 * HOUR + 1, ["thursday"], id="for longer"),
    ],
)
def test_holds_end_after_two_hours_without_an_opening_although_more_has_just_come_in(
    now: int, in_vain: list[str]
) -> None:
    found = replace(LINE, moved_at=now).held_in_vain(30 * DOLLAR, now, HOUR)
    assert [place.holder.run_id for place in found] == in_vain
    found = LINE.held_in_vain(30 * DOLLAR, now, HOUR)
    assert [place.holder.run_id for place in found] == in_vain, "it comes in by this very check"


def test_whoever_opens_leaves_the_line_and_passes_the_others() -> None:
    after = LINE.after(1001 * DOLLAR, holder("tuesday"), 0)
    assert [place.holder.run_id for place in after.places] == ["monday", "wednesday", "thursday", "friday"]
    assert (after.opened_units, after.best_units, after.moved_at) == (1001 * DOLLAR, 7 * DOLLAR, 10 * HOUR)
    assert after.held_before(holder("friday"), None).units == 40 * DOLLAR
    assert len(LINE.places) == 5, "the line from before does not change"


def test_a_gate_that_opens_again_with_what_it_has_reserved_leaves_the_line() -> None:
    after = LINE.after(1000 * DOLLAR, holder("tuesday"), 0)
    assert after.of(holder("tuesday")) is None
    assert after.held_before(holder("friday"), None).units == 40 * DOLLAR


@pytest.mark.parametrize(("opened", "is_held"), [(940, False), (941, True)])
def test_an_opening_elsewhere_may_lead_to_a_hold(opened: int, is_held: bool) -> None:
    line = AccountLine((place_of("monday", 1, 10, opened_before=900 * DOLLAR),), 900 * DOLLAR)
    after = line.after(opened * DOLLAR, None, 0)
    assert [place.is_held for place in after.places] == [is_held]


@pytest.mark.parametrize(
    ("paid", "patience", "is_held"),
    [
        pytest.param(9, 8, False, id="less was paid"),
        pytest.param(10, 4, True, id="its amount was paid, so it has the first patience again"),
    ],
)
def test_an_amount_that_was_paid_is_held_earlier(paid: int, patience: int, is_held: bool) -> None:
    waiting = replace(place_of("monday", 1, 10), patience=8)
    line = AccountLine((waiting,)).after(50 * DOLLAR, holder("tuesday"), paid * DOLLAR)
    assert line.places == (replace(waiting, patience=patience, is_held=is_held),)


def test_the_total_never_falls_so_no_hold_is_forgotten() -> None:
    assert LINE.after(0, None, 0) is LINE
    assert LINE.after(1000 * DOLLAR, None, 0) is LINE
    assert LINE.after(0, holder("monday"), 0).held_before(holder("friday"), None).units == 60 * DOLLAR


@pytest.mark.parametrize("value", [LINE.places[0], Held(), LINE], ids=["a place", "what is held", "a line"])
def test_the_values_of_the_line_cannot_be_changed_since_threads_share_them(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)


# A reading of $100, of which $40 are reserved.
NOTE = Note(11 * HOUR, {"4f1c": AccountNote(reserved_units=40 * DOLLAR, line=LINE)})


@pytest.mark.parametrize(
    ("run", "usd", "needed"),
    [
        pytest.param("tuesday", 60, True, id="nothing is held for others"),
        pytest.param("wednesday", 40, True, id="enough besides what is held"),
        pytest.param("wednesday", 41, False, id="too little besides what is held"),
        pytest.param("sunday", 1, False, id="without a place"),
    ],
)
def test_a_decision_is_asked_for_only_if_enough_is_left_besides_what_is_held(
    run: str, usd: int, needed: bool
) -> None:
    assert NOTE.needs_decision(claim_of(run, usd), account_with(100)) is needed


def test_what_is_available_says_what_is_held_for_whom_and_the_place() -> None:
    seen = NOTE.available(account_with(100), holder("friday"))
    assert (seen.available_usd, seen.held_usd, seen.place) == (60, 60, 5)
    assert seen.held_for == "run tuesday of DAG research and 1 more in line"
    nobody = NOTE.available(account_with(100))
    assert (nobody.held_usd, nobody.held_for, nobody.place) == (0, "", None)


def test_code_outside_of_a_task_passes_nobody() -> None:
    script = Holder("", "", "host:1", "report")
    free = AccountNote(runs_since={script.run_key: 0, holder("monday").run_key: 0}, line=LINE)
    assert free.held_before(script).units == 60 * DOLLAR
    assert free.held_before(Holder("production", "research", "monday", "second")) == NOTHING_HELD
