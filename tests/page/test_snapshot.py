"""What the page knows of an account: its picture and its words tell the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from airflow_provider_youcom._page.picture import Picture
from airflow_provider_youcom._page.snapshot import Figures, _account
from airflow_provider_youcom.ledger.overview import Overview
from airflow_provider_youcom.ledger.reading import StoredReading
from airflow_provider_youcom.ledger.reservation import AccountNote

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
HOUR_US = 3600 * 10**6


def figures_of(readings: Sequence[StoredReading]) -> Figures:
    return _account(Overview("4f1c", NOW, readings, [], []), AccountNote(0)).figures


def hourly(last: timedelta, left_usd: int) -> list[StoredReading]:
    """Readings of five days in which a dollar falls each hour; the last one was so long ago."""
    return [reading(last + HOUR * (120 - hour), left_usd + 120 - hour, hour) for hour in range(121)]


def reading(ago: timedelta, usd: int, hour: int = 0) -> StoredReading:
    time = int((NOW - ago).timestamp()) * 10**6
    return StoredReading(
        "4f1c", hour + 1, time, 0, time, Decimal(usd) * 100, Decimal(hour), Decimal(0), hour * HOUR_US
    )


def where(picture: Picture, moment: datetime) -> float:
    begin, end, left, right = map(float, picture.across.split())
    return left + (right - left) * (moment.timestamp() - begin) / (end - begin)


@pytest.mark.parametrize("hours_ago", [0, 12])
def test_the_cone_reaches_zero_when_the_words_say_that_the_balance_runs_out(hours_ago: int) -> None:
    figures = figures_of(hourly(hours_ago * HOUR, left_usd=24))
    runs_out = figures.runs_out
    assert runs_out is not None
    assert runs_out.latest is not None
    for picture in figures.pictures:
        corners = re.findall(r"([\d.]+) ([\d.]+)", picture.cone)
        (bottom,) = {label.position for label in picture.amounts if label.text == "$0"}
        earliest, latest, _ = sorted(float(x) for x, y in corners if y == bottom)
        assert earliest == pytest.approx(where(picture, runs_out.earliest), abs=0.2)
        assert latest == pytest.approx(where(picture, runs_out.latest), abs=0.2)


def test_a_reading_from_the_future_is_drawn_at_the_present() -> None:
    figures = figures_of([reading(DAY, 50), reading(-365 * DAY, 40)])
    for picture in figures.pictures:
        assert picture.dot[0] == picture.now
