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


@pytest.mark.parametrize(
    ("pause", "life"),
    [(0, 120), (40, 120), (41, 123), (1199, 3597), (1200, 3600), (100_000, 3600)],
)
def test_a_gate_waits_for_three_of_its_pauses_within_two_minutes_and_an_hour(
    pause: float, life: float
) -> None:
    assert line_rule.life_seconds(pause) == life
