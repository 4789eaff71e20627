"""The rule of the line: when an amount is held, for whom, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_youcom.ledger import line_rule

pytestmark = pytest.mark.only_in_test


@dataclass
class Place:
    """What the rule needs of a place."""

    amount_units: int
    opened_before: int = 0
    patience: int = line_rule.FIRST_PATIENCE


@pytest.mark.parametrize(
    ("opened_before", "patience", "opened", "held"),
    [
        pytest.param(0, 4, 40, False, id="exactly four times its amount has passed"),
        pytest.param(0, 4, 41, True, id="more than four times its amount has passed"),
        pytest.param(1000, 4, 1040, False, id="what was reserved before it joined does not count"),
        pytest.param(1000, 4, 1041, True, id="more than four times its amount since it joined"),
        pytest.param(0, 8, 80, False, id="after a hold in vain, eight times its amount may pass"),
        pytest.param(0, 8, 81, True, id="after a hold in vain, more than eight times"),
    ],
)
def test_the_amount_of_a_gate_is_held_once_more_than_its_patience_has_passed(
    opened_before: int, patience: int, opened: int, held: bool
) -> None:
    assert line_rule.is_held(Place(10, opened_before, patience), opened) is held


@pytest.mark.parametrize(
    ("own", "run_since", "first_not_left_alone"),
    [
        pytest.param(None, None, line_rule.NO_BOUND, id="without a place, everybody is in front"),
        pytest.param(5, None, 5, id="those in front of its own place"),
        pytest.param(5, 2, 3, id="a run that has held credits since place 2 leaves alone places 1 and 2"),
        pytest.param(5, 4, 5, id="its own place bounds as well"),
        pytest.param(5, 9, 5, id="a reservation that is newer than its place frees it from nothing"),
        pytest.param(None, 2, 3, id="without a place, in a run that has held credits since place 2"),
        pytest.param(None, 0, 1, id="a run that has held credits since before anybody joined"),
    ],
)
def test_someone_leaves_alone_what_is_held_for_places_below_a_bound(
    own: int | None, run_since: int | None, first_not_left_alone: int
) -> None:
    assert line_rule.bound(own, run_since) == first_not_left_alone


def test_twice_as_much_must_pass_before_the_next_hold_up_to_512_times() -> None:
    patience = [line_rule.FIRST_PATIENCE]
    while len(patience) < 9:
        patience.append(line_rule.longer_patience(patience[-1]))
    assert patience == [4, 8, 16, 32, 64, 128, 256, 512, 512]


@pytest.mark.parametrize(("amount", "patience"), [(5, 4), (10, 16), (19, 16), (20, 16), (30, 64), (31, 64)])
def test_a_gate_that_joins_is_as_patient_as_those_that_need_no_more(amount: int, patience: int):
    in_line = [Place(10, patience=16), Place(20, patience=8), Place(30, patience=64)]
    assert line_rule.first_patience(amount, in_line) == patience
    assert line_rule.first_patience(amount, []) == 4


@pytest.mark.parametrize(
    ("now", "moved_at", "opened_at", "lasted"),
    [
        pytest.param(160, 100, 100, False, id="nothing has moved for exactly the time of a hold"),
        pytest.param(161, 100, 100, True, id="for longer"),
        pytest.param(220, 200, 100, False, id="more came in, nothing has opened for exactly twice as long"),
        pytest.param(221, 200, 100, True, id="more came in, nothing has opened for longer"),
        pytest.param(40, 100, 100, False, id="the clock was put back by the time of a hold"),
        pytest.param(39, 100, 100, True, id="the clock was put back by more"),
        pytest.param(80, 100, 200, False, id="the last opening lies exactly twice the time ahead"),
        pytest.param(79, 100, 200, True, id="the last opening lies further ahead"),
    ],
)
def test_holds_last_until_nothing_has_moved_for_their_time_or_opened_for_twice_as_long(
    now: int, moved_at: int, opened_at: int, lasted: bool
) -> None:
    assert line_rule.has_lasted(now, moved_at, opened_at, 60) is lasted


@pytest.mark.parametrize(
    ("amounts", "available", "in_vain"),
    [
        pytest.param([], 5, [], id="nothing is held"),
        pytest.param([5], 5, [], id="exactly enough"),
        pytest.param([6], 5, [6], id="not enough"),
        pytest.param([3, 5, 2], 5, [5], id="whoever is in front is paid first, and one behind may still be"),
        pytest.param([3, 3], 5, [3], id="each amount is paid once"),
        pytest.param([1], -1, [1], id="the balance is overdrawn"),
    ],
)
def test_the_hold_of_a_gate_that_cannot_be_paid_is_in_vain(
    amounts: list[int], available: int, in_vain: list[int]
) -> None:
    found = line_rule.held_in_vain([Place(amount) for amount in amounts], available)
    assert [place.amount_units for place in found] == in_vain


@given(st.lists(st.integers(1, 20)), st.integers(-5, 100))
def test_all_whose_hold_stays_can_be_paid_together(amounts: list[int], available: int) -> None:
    places = [Place(amount) for amount in amounts]
    in_vain = line_rule.held_in_vain(places, available)
    lost = {id(place) for place in in_vain}
    assert sum(place.amount_units for place in places if id(place) not in lost) <= max(0, available)
    if places and places[0].amount_units <= available:
        assert id(places[0]) not in lost, "the first is never put off if it can be paid"


def test_the_counts_of_all_that_need_as_much_as_the_smallest_hold_in_vain_start_over() -> None:
    assert line_rule.least_units([Place(30), Place(20), Place(40)]) == 20


@pytest.mark.parametrize(
    ("amount", "paid", "patience"),
    [
        pytest.param(10, 9, 16, id="less was paid"),
        pytest.param(10, 10, 4, id="as much was paid"),
        pytest.param(10, 11, 4, id="more was paid"),
    ],
)
def test_a_gate_that_needs_no_more_than_was_paid_has_the_first_patience_again(
    amount: int, paid: int, patience: int
) -> None:
    assert line_rule.patience_after(Place(amount, patience=16), paid) == patience


@pytest.mark.parametrize(
    ("pause", "life"),
    [(0, 120), (40, 120), (41, 123), (1199, 3597), (1200, 3600), (100_000, 3600)],
)
def test_a_gate_waits_for_three_of_its_pauses_within_two_minutes_and_an_hour(
    pause: float, life: float
) -> None:
    assert line_rule.life_seconds(pause) == life
