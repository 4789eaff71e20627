"""Where the lines of a picture are."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_youcom._page.axes import NARROW, WIDE, Size
from airflow_provider_youcom._page.picture import Picture, Point, draw

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def picture(*history: tuple[float, str], size: Size = WIDE, daily: tuple[str, str] | None = None) -> Picture:
    """Draw a history: how many days ago, and how many dollars."""
    points = [Point(NOW - days * DAY, Decimal(usd)) for days, usd in history]
    return draw(points, NOW, size, daily and (Decimal(daily[0]), Decimal(daily[1])))


def corners(path: str) -> list[tuple[float, float]]:
    """The corners of a path of straight lines."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path)]


def test_the_balance_is_a_staircase_that_ends_at_the_dot() -> None:
    drawn = picture((20, "50"), (10, "150"), (0, "100"))
    assert [label.text for label in drawn.amounts] == ["$0", "$50", "$100", "$150"]
    y = {label.text: label.position for label in drawn.amounts}
    assert drawn.curve.startswith("M")
    assert re.findall(r"V([\d.]+)", drawn.curve) == [y["$150"], y["$100"]]
    assert drawn.dot == (drawn.now, y["$100"])


def test_what_the_account_held_at_the_beginning_is_what_was_read_before() -> None:
    drawn = picture((40, "70"), (35, "60"), (10, "50"), (0, "40"))
    assert drawn.first_usd == 60
    assert drawn.highest_usd == 60
    assert corners(drawn.curve)[0][0] == pytest.approx(drawn.left, abs=0.1)


@pytest.mark.parametrize(("age", "days"), [(0.1, 1), (1, 1), (1.1, 7), (7, 7), (7.1, 30), (90, 30)])
def test_a_young_history_fills_the_picture(age: float, days: int) -> None:
    assert picture((age, "10"), (0, "5")).days == days


def test_the_dates_are_as_far_apart_as_there_is_room() -> None:
    month = (("30 Oct", "6 Nov", "13 Nov", "20 Nov"), ("30 Oct", "13 Nov"))
    week = (
        ("20 Nov", "21 Nov", "22 Nov", "23 Nov", "24 Nov", "25 Nov", "26 Nov"),
        ("21 Nov", "23 Nov", "25 Nov"),
    )
    hours = (("12:00", "18:00", "00:00", "06:00"), ("12:00", "00:00"))
    for age, expected in ((30, month), (6, week), (0.5, hours)):
        drawn = (picture((age, "10"), size=size) for size in (WIDE, NARROW))
        assert tuple(tuple(label.text for label in each.dates) for each in drawn) == expected


def test_the_cone_ends_between_the_slow_and_the_fast_pace() -> None:
    drawn = picture((30, "100"), (0, "100"), daily=("2", "4"))
    y = {label.text: float(label.position) for label in drawn.amounts}
    (_, at_now), (_, fast), (end, slow) = corners(drawn.cone)
    per_dollar = (y["$0"] - y["$100"]) / 100
    assert at_now == y["$100"]
    # A quarter of the 30 days lies in the future.
    assert fast == pytest.approx(y["$100"] + 4 * 7.5 * per_dollar, abs=0.1)
    assert slow == pytest.approx(y["$100"] + 2 * 7.5 * per_dollar, abs=0.1)
    assert end == drawn.right


def test_the_cone_does_not_go_below_zero() -> None:
    drawn = picture((30, "10"), (0, "10"), daily=("2", "5"))
    bottom = {label.text: float(label.position) for label in drawn.amounts}["$0"]
    assert max(y for _, y in corners(drawn.cone)) == bottom
    assert [y for _, y in corners(drawn.cone)].count(bottom) == 3


@pytest.mark.parametrize(("last", "daily"), [("10", None), ("0", ("1", "2")), ("-3", ("1", "2"))])
def test_without_a_pace_or_a_balance_there_is_no_cone(last: str, daily: tuple[str, str] | None) -> None:
    assert picture((3, "20"), (0, last), daily=daily).cone == ""


def test_an_overdrawn_account_is_drawn_below_zero() -> None:
    drawn = picture((3, "20"), (0, "-12"))
    assert [label.text for label in drawn.amounts] == ["-$20", "-$10", "$0", "$10", "$20"]
    assert drawn.lowest_usd == -12


def test_cents_have_labels_in_cents() -> None:
    assert [label.text for label in picture((3, "0.05"), (0, "0.02")).amounts][:2] == ["$0.00", "$0.02"]


amounts = st.decimals(min_value=-1_000_000, max_value=10**12, places=2)


@given(
    st.lists(st.tuples(st.floats(0, 89), amounts), min_size=1, max_size=500), st.sampled_from([WIDE, NARROW])
)
def test_every_picture_stays_within_its_frame_and_keeps_its_extremes(
    history: list[tuple[float, Decimal]], size: Size
) -> None:
    points = [Point(NOW - days * DAY, usd) for days, usd in sorted(history, reverse=True)]
    drawn = draw(points, NOW, size, (Decimal(1), Decimal(2)))
    numbers = [tuple(map(float, each.split())) for each in drawn.points.split(";")]
    assert all(later[0] >= earlier[0] for earlier, later in pairwise(numbers))
    assert {drawn.lowest_usd, drawn.highest_usd} <= {
        Decimal(each.split()[1]) for each in drawn.points.split(";")
    }
    for label in drawn.amounts:
        assert 0 <= float(label.position) <= size.height
    vertical = [float(y) for y in re.findall(r"V([\d.-]+)", drawn.area)]
    assert all(-0.1 <= y <= size.height for y in vertical)
    assert len(numbers) <= 4 * (size.columns + 1)
    assert len(drawn.amounts) <= 9
