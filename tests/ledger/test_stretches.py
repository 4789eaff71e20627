"""The time between readings, and in how many days a balance is spent at the earliest and at the latest."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from fractions import Fraction
from math import sqrt

import pytest

from airflow_provider_youcom.ledger import _stretches
from airflow_provider_youcom.ledger._stretches import Stretch, days_left

pytestmark = pytest.mark.only_in_test

# Two are longer than a day, and none falls as fast as another.
UNEQUAL = [
    Stretch(Fraction(1), Fraction(10)),
    Stretch(Fraction(3, 2), Fraction(12)),
    Stretch(Fraction(2), Fraction(26)),
]


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_the_range_ends_where_the_fall_give_or_take_what_is_not_known_equals_the_balance(copies: int) -> None:
    left_usd, lately = 100, UNEQUAL * copies
    days, mean = 4.5 * copies, 48 / 4.5
    squares = sum((float(each.usd) - mean * float(each.days)) ** 2 / float(each.days) for each in lately)
    variance = ((mean / 2) ** 2 + squares) / len(lately)
    spread = float({3: "1.638", 6: "1.440"}.get(len(lately), "1.415")) ** 2 * variance

    def give_or_take(after: float) -> float:
        return sqrt(spread * (after + after * after / days))

    earliest, latest = days_left(Fraction(left_usd), lately)
    assert latest is not None
    assert mean * float(earliest) + give_or_take(float(earliest)) == pytest.approx(left_usd)
    assert mean * float(latest) - give_or_take(float(latest)) == pytest.approx(left_usd)


@pytest.mark.parametrize("usd", ["0.1", "10"])
@pytest.mark.parametrize(("known", "has_a_latest"), [(1, False), (14, True)])
def test_a_balance_has_a_latest_day_once_enough_days_are_known(
    usd: str, known: int, has_a_latest: bool
) -> None:
    _, latest = days_left(Fraction(100), [Stretch(Fraction(1), Fraction(usd))] * known)
    assert (latest is not None) is has_a_latest


def test_there_is_no_latest_day_if_what_is_not_known_grows_as_fast_as_the_fall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_stretches, "_T", (2,))
    assert days_left(Fraction(100), [Stretch(Fraction(1), Fraction(10))])[1] is None


def test_a_stretch_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        UNEQUAL[0].days = Fraction(2)  # type: ignore[misc]
