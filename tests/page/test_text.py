"""How the page writes amounts, times, runs and the end of the balance."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_youcom._page import text
from airflow_provider_youcom._page.forecast import Forecast, forecast
from airflow_provider_youcom._page.snapshot import Figures
from airflow_provider_youcom.balance import AccountBalance, AvailableCredits
from airflow_provider_youcom.ledger.figures import Pace, RunsOut

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86400, "1 d")],
)
def test_a_duration_has_its_largest_unit(seconds: float, shown: str) -> None:
    assert text.span(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (0, "0 minutes"),
        (1 / 60, "1 minute"),
        (0.5, "30 minutes"),
        (1, "1 hour"),
        (47, "47 hours"),
        (48, "2 days"),
        (167.9, "7 days"),
    ],
)
def test_a_longer_duration_is_in_words(hours: float, words: str) -> None:
    assert text.words(timedelta(hours=hours)) == words


@pytest.mark.parametrize(
    ("run_id", "name"),
    [
        ("scheduled__2026-11-27T02:00:00+00:00", "scheduled 2026-11-27 02:00"),
        ("asset_triggered__2026-11-27T11:41:07.218343+00:00_k2Xq", "asset triggered 2026-11-27 11:41"),
        ("my run / 7", "my run / 7"),
    ],
)
def test_a_run_is_named_by_how_it_was_started(run_id: str, name: str) -> None:
    assert text.run_name(run_id) == name


def test_a_url_has_every_character_of_a_name_escaped() -> None:
    assert text.run_url("a/b?c", "x#y&z") == "../dags/a%2Fb%3Fc/runs/x%23y%26z"


def test_what_is_needed_is_rounded_up() -> None:
    assert text.up(Decimal("0.001")) == "$0.01"
    assert text.whole(Decimal("1499.01")) == "$1,500"


@pytest.mark.parametrize(
    ("part", "of", "share"), [("1", "4", 25), ("-1", "4", 0), ("5", "4", 100), ("1", "0", 0)]
)
def test_a_share_is_between_nothing_and_all(part: str, of: str, share: float) -> None:
    assert text.share(Decimal(part), Decimal(of)) == share


def figures(
    balance: str | None = "100",
    pace: str | None = "10",
    earliest: float | None = None,
    latest: float | None = None,
    read: float = 0,
) -> Figures:
    """Figures of an account that runs out in so many days."""
    available = None
    if balance is not None:
        held = AccountBalance("4f1c", Decimal(balance) * 100, _in(read))
        available = AvailableCredits(held, held.balance_usd, Decimal(0), 0)
    return Figures(
        "4f1c",
        available,
        None if pace is None else Pace(Decimal(pace), timedelta(days=6.9)),
        None if earliest is None else RunsOut(_in(earliest), None if latest is None else _in(latest)),
        None,
        (),
    )


def _in(days: float) -> datetime:
    return NOW + timedelta(days=days)


HOURS = "on 27 November, between {} and 22:48 UTC"
AT = "at $10.00 a day, as in the last 7 days; top-ups left out"


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (figures(balance=None), Forecast("Not known yet", "", "Nothing has been read yet.")),
        (figures(balance="0"), Forecast("It has run out", "", "The account holds nothing: top it up.")),
        (figures(pace=None), Forecast("Not known yet", "", "A day of readings is needed to tell.")),
        (
            figures(pace=None, read=-7.1),
            Forecast("Not known", "", "No reading is from the last 7 days."),
        ),
        (figures(pace="0"), Forecast("No end in sight", "", "The balance did not fall in the last 7 days.")),
        (figures(), Forecast("More than 3 years", "", AT)),
        (figures(earliest=9.5, latest=26.1), Forecast("9–27 days", "between 7 December and 23 December", AT)),
        (figures(earliest=9.5), Forecast("More than 9 days", "after 7 December", AT)),
        (figures(earliest=500, latest=900), Forecast("More than a year", "", AT)),
        (
            figures(earliest=-2, latest=-0.2),
            Forecast("It may have run out", "by 27 November, 07:12 UTC", f"{AT}; the next check will tell"),
        ),
        (figures(earliest=-2), Forecast("Perhaps within an hour", "", AT)),
        (figures(earliest=0.01, latest=900), Forecast("Perhaps within an hour", "", AT)),
        (
            figures(earliest=-2, latest=0.01),
            Forecast("Less than an hour", "on 27 November, between 12:00 and 12:14 UTC", AT),
        ),
        (
            figures(earliest=0.3, latest=0.45),
            Forecast("7–11 hours", HOURS.format("19:12"), AT),
        ),
        (
            figures(earliest=-1, latest=0.45),
            Forecast("0–11 hours", HOURS.format("12:00"), AT),
        ),
        (figures(earliest=9, latest=9), Forecast("9 days", "on 6 December, between 12:00 and 12:00 UTC", AT)),
    ],
)
def test_the_end_of_the_balance_in_words(known: Figures, says: Forecast) -> None:
    assert forecast(known, NOW) == says


days = st.floats(-1000, 2000)


@given(days, st.none() | days)
def test_a_span_counts_upwards_from_now(earliest: float, latest: float | None) -> None:
    first, last = (earliest, None) if latest is None else sorted([earliest, latest])
    said = forecast(figures(earliest=first, latest=last), NOW)
    numbers = [int(number) for number in re.findall(r"-?\d+", said.span)]
    assert numbers == sorted(numbers)
    assert all(number > 0 for number in numbers[-1:])
    assert not said.span.startswith("More than 0")
