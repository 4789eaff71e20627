"""When a reading tells something new, when it was before another one, and which take its place."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest

from airflow_provider_youcom.ledger.reading import StoredReading, first_reading
from airflow_provider_youcom.ledger.reservation import AccountNote, Note
from tests.ledger.spending import account_with

pytestmark = pytest.mark.only_in_test

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def note_at(time: int) -> Note:
    return Note(time, {"4f1c": AccountNote(counter=7)})


READING = first_reading(account_with(100), note_at(HOUR), stored_at=HOUR + SECOND)


def test_the_first_reading_of_an_account_begins_its_totals() -> None:
    expected = StoredReading("4f1c", 1, HOUR, 7, HOUR + SECOND, Decimal(10_000), Decimal(0), Decimal(0), 0)
    assert expected == READING


def test_a_reading_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        READING.number = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("usd", "passed", "covered"),
    [
        pytest.param(100, 5 * MINUTE - 1, True, id="the same balance, just before five minutes"),
        pytest.param(100, 5 * MINUTE, False, id="the same balance after five minutes"),
        pytest.param(99, SECOND, False, id="another balance"),
    ],
)
def test_a_reading_covers_the_same_balance_for_five_minutes(usd: int, passed: int, covered: bool) -> None:
    assert READING.covers(account_with(usd), note_at(HOUR + passed)) is covered


@pytest.mark.parametrize(
    ("noted_at", "now", "is_before"),
    [
        pytest.param(HOUR + SECOND, HOUR + SECOND, False, id="noted when it was stored"),
        pytest.param(HOUR + SECOND + 1, HOUR + SECOND + 1, True, id="noted after it was stored"),
        pytest.param(HOUR, HOUR + SECOND - MINUTE, False, id="stored at most a minute ahead of the clock"),
        pytest.param(HOUR, HOUR + SECOND - MINUTE - 1, True, id="stored before the clock went back"),
    ],
)
def test_a_reading_is_before_another_if_it_was_stored_before_its_note_or_before_the_clock_went_back(
    noted_at: int, now: int, is_before: bool
) -> None:
    assert READING.is_before(note_at(noted_at), now) is is_before


@pytest.mark.parametrize(
    ("time", "same"),
    [(HOUR - 1, False), (HOUR, True), (HOUR + MINUTE - 1, True), (HOUR + MINUTE, False)],
)
def test_a_later_reading_takes_the_place_of_one_of_the_same_minute(time: int, same: bool) -> None:
    assert READING.is_of_the_same_minute(note_at(time)) is same
    later = READING.followed_by(account_with(100), note_at(time), time, was_reserved=False)
    assert later.number == (1 if same else 2)
