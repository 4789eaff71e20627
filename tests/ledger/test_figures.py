"""The figures of made-up histories with known answers."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger._amounts import UNITS_PER_DOLLAR
from airflow_provider_youcom.ledger.claim import Attempt, Holder
from airflow_provider_youcom.ledger.figures import RunsOut, available, fall, missing_usd, pace, runs_out
from airflow_provider_youcom.ledger.place import AccountLine, Place
from airflow_provider_youcom.ledger.reading import StoredReading, first_reading
from airflow_provider_youcom.ledger.reservation import AccountNote, Note, Reservation
from airflow_provider_youcom.money import usd_to_cents

pytestmark = pytest.mark.on_one_airflow

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Look = tuple[timedelta, object] | tuple[timedelta, object, bool]


def history(looks: Iterable[Look], account_id: str = "4f1c") -> list[StoredReading]:
    """Return readings: how long ago each was, what it found, and whether anything was reserved before it."""
    told: list[StoredReading] = []
    for ago, usd, *reserved in looks:
        time = NOW - ago
        at = AccountBalance(account_id, usd_to_cents(Decimal(str(usd))), time)
        note = Note((time - EPOCH) // timedelta(microseconds=1), {account_id: AccountNote(counter=7)})
        if told:
            told.append(told[-1].followed_by(at, note, note.time, was_reserved=any(reserved)))
        else:
            told.append(first_reading(at, note, note.time))
    return told


def steady(days: int, usd_per_day: str = "10", left_usd: str = "100") -> list[StoredReading]:
    """A look each hour; the same falls in each."""
    hourly = Decimal(usd_per_day) / 24
    return history((hour * HOUR, Decimal(left_usd) + hour * hourly) for hour in range(24 * days, -1, -1))


def days_of(found: RunsOut | None) -> tuple[float, float | None]:
    assert found is not None
    return (found.earliest - NOW) / DAY, None if found.latest is None else (found.latest - NOW) / DAY


# The pace


@pytest.mark.parametrize(
    ("looks", "usd_per_day"),
    [
        pytest.param([], None, id="nothing yet"),
        pytest.param([(HOUR, 100)], None, id="one reading"),
        pytest.param([(23 * HOUR, 100), (HOUR, 90)], None, id="less than a day"),
        pytest.param([(24 * HOUR, 100), (0 * HOUR, 90)], 10, id="a day"),
        pytest.param([(2 * DAY, 100), (DAY, 90), (0 * DAY, 70)], 15, id="two days"),
        pytest.param([(2 * DAY, 100), (0 * DAY, 90)], 5, id="a gap of two days"),
        pytest.param(
            [(2 * DAY, 50), (DAY + MINUTE, 30), (DAY, 130), (0 * DAY, 110)],
            "20.0069469",
            id="a top-up in the middle",
        ),
        pytest.param(
            [(3 * DAY, 50), (2 * DAY, 30), (DAY, 60), (0 * DAY, 40)], 20, id="a top-up in a day without looks"
        ),
        pytest.param(
            [(2 * DAY, 100), (DAY, 90), (DAY - HOUR, 91), (DAY - 2 * HOUR, 90), (0 * DAY, 79)],
            "11.2340426",
            id="a refund",
        ),
        pytest.param([(40 * DAY, 500), (HOUR, 90)], None, id="a reading after long silence"),
        pytest.param([(8 * DAY, 900), (6 * DAY, 100), (0 * DAY, 40)], 10, id="only seven days"),
        pytest.param([(2 * DAY, 100), (0 * DAY, 100)], 0, id="nothing fell"),
        pytest.param([(2 * DAY, 100), (0 * DAY, 700)], None, id="it only rose"),
        pytest.param([(2 * DAY, 3), (DAY, 1), (0 * DAY, -1)], 2, id="below zero"),
        pytest.param([(3 * DAY, 100), (0 * DAY, 99)], "0.3333334", id="rounded up"),
        pytest.param([(9 * DAY, 100), (8 * DAY, 90)], None, id="nobody has looked for a week"),
        pytest.param([(2 * DAY, 100), (0 * DAY, 80), (-DAY, 10)], 10, id="a reading from the future"),
    ],
)
def test_the_pace_of_a_history(looks: list[Look], usd_per_day: object) -> None:
    found = pace(history(looks), NOW)
    assert (found and found.usd_per_day) == (None if usd_per_day is None else Decimal(str(usd_per_day)))


def test_the_time_in_which_the_balance_rose_is_not_watched() -> None:
    found = pace(history([(2 * DAY, 50), (DAY + HOUR, 30), (DAY, 130), (0 * DAY, 110)]), NOW)
    assert found is not None
    assert found.watched == 2 * DAY - HOUR


def test_a_balance_that_rises_while_a_run_spends_falls_by_what_is_seen_of_it() -> None:
    readings = history(
        [(DAY + 2 * HOUR, 40, True), (DAY + HOUR, 35, True), (DAY, 125, True), (0 * DAY, 115, True)]
    )
    assert fall(readings, NOW) is not None
    found = pace(readings, NOW)
    assert found is not None
    # $15 in 25 hours: what the run spent in the hour of the top-up is not known, so that hour is left out.
    assert found.usd_per_day == Decimal("14.4")


def test_thinning_changes_no_figure() -> None:
    looks = [
        (minute * MINUTE, 100 + minute % 700 * Decimal("0.37"), minute % 900 < 400)
        for minute in range(6 * 24 * 60, -1, -5)
    ]
    full = history(looks)
    kept = [each for each in full if each.read_at.minute == 0]
    assert len(kept) == 6 * 24 + 1
    assert pace(kept, NOW) == pace(full, NOW)
    assert fall(kept, NOW) == fall(full, NOW)


def test_two_accounts_have_figures_of_their_own() -> None:
    one, other = history([(DAY, 100), (0 * DAY, 90)]), history([(DAY, 7), (0 * DAY, 6)], "another")
    assert [found.usd_per_day for found in (pace(one, NOW), pace(other, NOW)) if found] == [10, 1]


def test_ninety_days_of_readings_say_what_the_last_seven_say() -> None:
    readings = steady(90)
    found = pace(readings, NOW)
    assert found == pace(steady(7), NOW)
    assert found is not None
    assert found.usd_per_day == pytest.approx(Decimal(10), abs=Decimal("0.0000002"))


# When it runs out


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([], id="nothing yet"),
        pytest.param([(HOUR, 100)], id="one reading"),
        pytest.param([(23 * HOUR, 100), (HOUR, 90)], id="less than a day"),
        pytest.param([(2 * DAY, 100), (0 * DAY, 100)], id="nothing fell"),
        pytest.param([(DAY, "1000000"), (0 * DAY, "999999.99")], id="not within years"),
    ],
)
def test_it_is_not_known_when_it_runs_out(looks: list[Look]) -> None:
    assert runs_out(history(looks), NOW) is None


def test_a_steady_week_gives_a_narrow_range_around_what_is_left() -> None:
    earliest, latest = days_of(runs_out(steady(7), NOW))
    assert latest is not None
    assert 8.5 < earliest < 10 < latest < 12


def test_a_day_tells_only_how_soon_it_could_run_out() -> None:
    earliest, latest = days_of(runs_out(steady(1), NOW))
    assert 2 < earliest < 6
    assert latest is None


def test_more_days_narrow_the_range() -> None:
    ranges = [days_of(runs_out(steady(days), NOW)) for days in (2, 4, 7)]
    earliest = [each[0] for each in ranges]
    assert earliest == sorted(earliest)
    latest = [each[1] or float("inf") for each in ranges]
    assert latest == sorted(latest, reverse=True)


def test_uneven_days_widen_the_range() -> None:
    uneven = history(
        (day * DAY, usd)
        for day, usd in zip(range(7, -1, -1), (170, 169, 139, 138, 137, 107, 101, 100), strict=True)
    )
    even = days_of(runs_out(steady(7), NOW))
    earliest, latest = days_of(runs_out(uneven, NOW))
    assert earliest < even[0]
    assert latest is None or latest > (even[1] or 0)


def test_a_top_up_in_the_week_moves_the_end_by_what_it_brings() -> None:
    steadily = [(hour * HOUR, 100 + Decimal(hour)) for hour in range(7 * 24, -1, -1)]
    topped_up = [(ago, usd if ago <= 3 * DAY else usd - 50) for ago, usd in steadily]
    (earliest, latest), (same_earliest, same_latest) = (
        days_of(runs_out(history(looks), NOW)) for looks in (steadily, topped_up)
    )
    assert latest is not None
    assert same_latest is not None
    # The hour of the top-up is all that is not known.
    assert same_earliest == pytest.approx(earliest, abs=0.1)
    assert same_latest == pytest.approx(latest, abs=0.1)


def test_it_counts_from_the_last_reading() -> None:
    readings = history((day * DAY + 12 * HOUR, 100 + 10 * day) for day in range(6, -1, -1))
    earliest, _ = days_of(runs_out(readings, NOW))
    later, _ = days_of(runs_out(history((day * DAY, 100 + 10 * day) for day in range(6, -1, -1)), NOW))
    assert later - earliest == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(
    ("left_usd", "is_known", "latest_is_known"),
    [
        pytest.param(9839, True, True, id="at the latest just within three years"),
        pytest.param(9840, True, False, id="at the latest just after three years"),
        pytest.param(12060, True, False, id="at the earliest just within three years"),
        pytest.param(12061, False, False, id="at the earliest just after three years"),
    ],
)
def test_nothing_is_told_about_the_time_after_three_years(
    left_usd: int, is_known: bool, latest_is_known: bool
) -> None:
    found = runs_out(history((day * DAY, left_usd + 10 * day) for day in range(7, -1, -1)), NOW)
    assert (found is not None) is is_known
    assert (found is not None and found.latest is not None) is latest_is_known


def test_a_last_dollar_runs_out_later() -> None:
    earliest, latest = days_of(runs_out(steady(7, left_usd="1"), NOW))
    assert latest is not None
    assert 0 < earliest < 0.1 < latest < 0.5


def test_a_reading_of_exactly_seven_days_ago_is_one_of_the_last_seven_days() -> None:
    found = pace(history([(7 * DAY, 170), (0 * DAY, 100)]), NOW)
    assert found is not None
    assert (found.usd_per_day, found.watched) == (10, 7 * DAY)


def test_figures_cannot_be_changed() -> None:
    for found in (pace(steady(2), NOW), runs_out(steady(2), NOW), fall(steady(2), NOW)):
        with pytest.raises(FrozenInstanceError):
            setattr(found, next(iter(vars(found))), None)


@pytest.mark.parametrize("left_usd", ["0", "-12.5"])
def test_what_has_run_out_has_run_out_at_the_last_reading(left_usd: str) -> None:
    assert runs_out(steady(3, left_usd=left_usd), NOW) == RunsOut(NOW, NOW)


def test_a_huge_balance_that_falls_as_hugely_has_a_range() -> None:
    readings = history((day * DAY, Decimal(f"{300 + day}e297")) for day in range(7, -1, -1))
    earliest, latest = days_of(runs_out(readings, NOW))
    assert latest is not None
    assert 250 < earliest < 300 < latest < 400


def test_a_range_is_right_four_times_out_of_five() -> None:
    chance = random.Random(1)
    right = known = 0
    for _ in range(300):
        falls = [Decimal(chance.randint(2, 18)) for _ in range(60)]
        usd, looks = Decimal(150), [(0 * DAY, Decimal(150))]
        for day, fell in enumerate(falls[:7], 1):
            usd += fell
            looks.append((day * DAY, usd))
        earliest, latest = days_of(runs_out(history(reversed(looks)), NOW))
        spent, days = Decimal(0), 0
        for fell in falls[7:]:
            if spent >= 150:
                break
            spent, days = spent + fell, days + 1
        known += latest is not None
        right += earliest <= days <= (latest or float("inf"))
    assert known == 300
    assert 0.75 < right / 300 < 0.95


# What fell while nothing was reserved


def test_what_fell_without_a_reservation_is_told_apart() -> None:
    found = fall(
        history([(3 * DAY, 100), (2 * DAY, 90, True), (DAY, 87), (HOUR, 187), (0 * DAY, 180, True)]), NOW
    )
    assert found is not None
    assert (found.usd, found.unreserved_usd, found.since) == (20, 3, NOW - 3 * DAY)


def test_what_fell_before_the_last_seven_days_is_left_out() -> None:
    found = fall(history([(9 * DAY, 500), (8 * DAY, 100), (6 * DAY, 95), (0 * DAY, 90, True)]), NOW)
    assert found is not None
    assert (found.usd, found.unreserved_usd) == (5, 0)


@pytest.mark.parametrize("looks", [[], [(HOUR, 100)], [(9 * DAY, 100), (HOUR, 90)]])
def test_one_reading_in_seven_days_tells_nothing_of_a_fall(looks: list[Look]) -> None:
    assert fall(history(looks), NOW) is None


# What is available, and what is missing


def reserved(run: str, usd: str) -> Reservation:
    attempt = Attempt(Holder("production", "research", run, "gate"), run, run)
    return Reservation(run, "4f1c", attempt, (), Decimal(usd), 60, NOW - HOUR, NOW + HOUR)


def test_what_is_available_is_what_the_note_of_a_gate_says() -> None:
    (reading,) = history([(MINUTE, "122.40")])
    found = available(
        reading, [reserved("monday", "50"), reserved("tuesday", "37.5"), reserved("monday", "1")]
    )
    assert (found.available_usd, found.reserved_usd, found.reserved_runs) == (
        Decimal("33.9"),
        Decimal("88.5"),
        2,
    )
    assert found.balance.checked_at == NOW - MINUTE
    assert str(found) == ("You.com account 4f1c holds $122.40, of which 2 runs have reserved $88.50")


def test_what_is_available_is_rounded_down_like_the_rule_does() -> None:
    (reading,) = history([(MINUTE, "1.00000009")])
    assert available(reading, []).available_usd == 1


def gate_in_line(number: int, usd: int, *, is_held: bool = False) -> Place:
    holder = Holder("production", "research", f"run {number}", "gate")
    return Place("4f1c", holder, number, NOW, usd * UNITS_PER_DOLLAR, 0, 4, is_held)


def test_each_gate_in_line_lacks_what_is_held_before_it() -> None:
    places = (
        gate_in_line(1, 20),
        gate_in_line(2, 50, is_held=True),
        gate_in_line(3, 10),
        gate_in_line(4, 60, is_held=True),
    )
    account = AccountNote(line=AccountLine(places))
    assert missing_usd(Decimal(40), account) == [0, 10, 20, 70]
    assert missing_usd(Decimal(500), account) == [0, 0, 0, 0]
    assert missing_usd(Decimal("-3.5"), account) == [
        Decimal(each) for each in ("23.5", "53.5", "63.5", "113.5")
    ]
    assert missing_usd(Decimal(40), AccountNote()) == []


def test_a_gate_whose_run_reserved_before_a_held_gate_joined_does_not_leave_that_alone() -> None:
    held, free = gate_in_line(1, 50, is_held=True), gate_in_line(2, 10)
    line = AccountLine((held, free))
    assert missing_usd(Decimal(5), AccountNote(line=line, runs_since={free.holder.run_key: 0})) == [45, 5]
    assert missing_usd(Decimal(5), AccountNote(line=line, runs_since={free.holder.run_key: 1})) == [45, 55]
