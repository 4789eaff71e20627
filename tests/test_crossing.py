from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.crossing import Event, Line, Memory
from airflow_provider_youcom.exceptions import YouComRefusedError, YouComUnavailableError
from airflow_provider_youcom.gate import Reading

pytestmark = pytest.mark.on_the_ends

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BLIND_AFTER = 300.0
REFUSED = YouComRefusedError("You.com refused the key of connection 'youcom_default' (HTTP 401).")


def line(**options: Any) -> Line:
    described = {"above_usd": None, "below_usd": None, "rearm_usd": None, "at_start": None}
    named = {"youcom_conn_id": "youcom_default", "blind_after": BLIND_AFTER}
    return Line.from_options(**{**named, **described, **options})


def at(minute: int) -> datetime:
    return START + minute * MINUTE


def read(usd: object, minute: int) -> Reading:
    """Return a balance in dollars, or an error for None, at a minute."""
    if usd is None:
        return REFUSED
    return AccountBalance("4f1c", Decimal(str(usd)) * 100, at(minute))


def kinds(watched: Line, *balances_usd: object) -> list[str]:
    """Return what each check of a series fires, one check a minute; an empty string for nothing."""
    memory, fired = Memory(), []
    for minute, usd in enumerate(balances_usd):
        memory = watched.observe(memory, read(usd, minute), at(minute))
        fired.append(memory.unsaved["kind"] if memory.unsaved else "")
    return fired


def test_a_line_and_a_memory_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        line(below_usd=5).line_usd = Decimal(6)  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        Memory().armed = True  # type: ignore[misc]


def test_a_memory_is_read_back_as_it_was_written_with_its_time_in_utc():
    memory = Memory(armed=True, unknown_since=START, told_unknown=True)
    stored = memory.to_json()
    assert Memory.from_json(stored) == memory
    elsewhere = Memory.from_json({**stored, "unknown_since": "2026-11-22T14:00:00+02:00"})
    assert (elsewhere.unknown_since, elsewhere.unknown_since.tzinfo) == (START, UTC)


def test_the_event_of_a_balance_that_is_known_again_carries_it():
    watched, memory = line(below_usd=5), Memory(armed=True)
    for minute, usd in ((0, None), (10, None), (11, 7)):
        memory = watched.observe(memory, read(usd, minute), at(minute))
    assert memory.unsaved["kind"] == "known"
    assert memory.unsaved["balance"]["balance_usd"] == 7


def test_the_line_of_an_event_is_rounded_up():
    watched = line(below_usd="4.991")
    memory = watched.observe(Memory(armed=True), read(3, 0), at(0))
    assert memory.unsaved["reason"].endswith("has fallen below the line of $5.00.")


def test_a_line_of_more_cents_than_an_account_can_hold_is_refused():
    with pytest.raises(ValueError, match=r"below_usd=1\.8e\+306 is not a balance"):
        line(below_usd="1.8e306")


def test_a_balance_that_falls_below_the_line_fires_once():
    assert kinds(line(below_usd=5), 10, 5, "4.99", 3, -1) == ["", "", "below", "", ""]


def test_a_balance_that_reaches_the_line_from_below_fires_once():
    assert kinds(line(above_usd=5), 3, "4.99", 5, 100) == ["", "", "above", ""]


def test_a_balance_that_hovers_around_the_line_fires_once():
    assert kinds(line(below_usd=100), 101, 99, 101, 99, 104, 99)[1:] == ["below", "", "", "", ""]
    assert kinds(line(above_usd=100), 99, 101, 99, 101, 96, 101)[1:] == ["above", "", "", "", ""]


def test_a_balance_that_came_back_by_the_margin_fires_again():
    assert kinds(line(below_usd=100), 101, 99, 105, 99)[1:] == ["below", "", "below"]
    assert kinds(line(above_usd=100), 99, 101, 95, 101)[1:] == ["above", "", "above"]


def test_the_margin_may_be_zero():
    assert kinds(line(below_usd=5, rearm_usd=0), 6, 4, 5, 4) == ["", "below", "", "below"]
    assert kinds(line(above_usd=5, rearm_usd=0), 4, 5, "4.99", 5) == ["", "above", "", "above"]


@pytest.mark.parametrize(
    ("options", "fired"),
    [
        ({"below_usd": 5}, ["below", "", "", "below"]),
        ({"below_usd": 5, "at_start": "remember"}, ["", "", "", "below"]),
    ],
)
def test_a_balance_below_the_line_at_the_start_fires_unless_it_is_only_remembered(
    options: dict, fired: list[str]
):
    assert kinds(line(**options), 3, 3, 10, 3) == fired


@pytest.mark.parametrize(
    ("options", "fired"),
    [
        ({"above_usd": 5}, ["", "", "", "above"]),
        ({"above_usd": 5, "at_start": "fire"}, ["above", "", "", "above"]),
    ],
)
def test_a_balance_above_the_line_at_the_start_fires_only_on_request(options: dict, fired: list[str]):
    assert kinds(line(**options), 7, 7, 1, 7) == fired


def test_a_crossing_while_the_balance_is_unknown_fires_when_it_is_known():
    assert kinds(line(below_usd=5), None, 10, None, 3) == ["", "", "", "below"]


def test_the_event_says_what_happened_when_and_at_which_balance():
    memory = line(below_usd=5).observe(Memory(armed=True), read("3.20", 7), at(8))
    assert memory.unsaved == {
        "id": "youcom_default below 5 below 2026-11-22T12:07:00+00:00",
        "kind": "below",
        "line_usd": 5,
        "happened_at": "2026-11-22T12:07:00+00:00",
        "reason": "You.com account 4f1c holds $3.20 and has fallen below the line of $5.00.",
        "balance": {
            "account_id": "4f1c",
            "balance_cents": 320,
            "balance_usd": 3.2,
            "checked_at": "2026-11-22T12:07:00+00:00",
        },
        "youcom_conn_id": "youcom_default",
    }
    reached = line(above_usd="7.50").observe(Memory(armed=True), read(9, 0), at(0)).unsaved
    assert reached["reason"] == "You.com account 4f1c holds $9.00 and has reached the line of $7.50."


def test_no_two_events_of_one_check_have_the_same_id():
    watched = [
        line(**options)
        for options in (
            {"below_usd": 25},
            {"below_usd": 5},
            {"above_usd": 25},
            {"below_usd": 25, "youcom_conn_id": "youcom_other"},
        )
    ]
    for memory, reading in (
        (Memory(armed=True), read(3, 7)),
        (Memory(unknown_since=at(0)), REFUSED),
        (Memory(armed=False, unknown_since=at(0), told_unknown=True), read(30, 7)),
    ):
        events = [each.observe(memory, reading, at(7)).unsaved for each in watched]
        ids = [event["id"] for event in events if event]
        assert len(ids) >= 3
        assert len(set(ids)) == len(ids)


def test_the_events_of_two_checks_have_two_ids():
    watched = line(below_usd=5)
    first = watched.observe(Memory(armed=True), read(3, 7), at(7)).unsaved
    second = watched.observe(Memory(armed=True), read(3, 8), at(8)).unsaved
    assert first["id"] != second["id"]


def test_a_clock_that_was_ahead_when_the_checks_began_to_fail_does_not_delay_the_event():
    watched, months_ahead = line(below_usd=5), at(200_000)
    memory = watched.observe(Memory(armed=True), REFUSED, months_ahead)
    assert memory.unknown_since == months_ahead
    for minute in range(6):
        assert memory.unsaved is None
        memory = watched.observe(memory, REFUSED, at(minute))
    assert memory.unsaved["kind"] == "unknown"
    assert memory.unsaved["happened_at"] == at(0).isoformat()


def test_a_clock_that_is_set_does_not_change_how_long_the_balance_is_unknown():
    assert Memory(unknown_since=at(7)).after_clock_change(3 * MINUTE).unknown_since == at(10)
    assert Memory(unknown_since=at(7)).after_clock_change(-3 * MINUTE).unknown_since == at(4)
    assert Memory(armed=True).after_clock_change(MINUTE) == Memory(armed=True)


def test_a_balance_that_stays_unknown_fires_once_and_once_more_when_it_is_known():
    fired = kinds(line(below_usd=5), 10, *[None] * 8, 10, 10)
    assert fired == ["", "", "", "", "", "", "unknown", "", "", "known", ""]


def test_a_balance_that_is_unknown_for_a_shorter_time_fires_nothing():
    assert kinds(line(below_usd=5), *[None] * 5, 10, *[None] * 5, 10) == [""] * 12


def test_a_balance_that_is_known_again_and_has_crossed_the_line_is_one_event():
    assert kinds(line(below_usd=5), 10, *[None] * 6, 3, 10)[-3:] == ["unknown", "below", ""]


def test_the_event_of_an_unknown_balance_says_since_when_and_why():
    memory = Memory(armed=True, unknown_since=at(1))
    event = line(below_usd=5).observe(memory, REFUSED, at(6)).unsaved
    assert event["kind"] == "unknown"
    assert event["happened_at"] == "2026-11-22T12:01:00+00:00"
    assert event["reason"] == f"The balance has been unknown since 2026-11-22 12:01:00 UTC: {REFUSED}"
    assert event["balance"] is None


def test_the_event_of_a_balance_that_is_known_again_says_what_it_is():
    event = line(below_usd=5).observe(Memory(True, at(1), told_unknown=True), read(10, 9), at(9)).unsaved
    assert event["kind"] == "known"
    assert event["reason"] == "The balance is known again. You.com account 4f1c: $10.00 left."


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "above_usd=None and below_usd=None: set exactly one of them."),
        ({"above_usd": 1, "below_usd": 2}, "above_usd=1 and below_usd=2: set exactly one of them."),
        ({"above_usd": 0}, "above_usd=0 is not a line to watch: use an amount above 0."),
        ({"below_usd": -5}, "below_usd=-5 is not an amount in dollars"),
        ({"below_usd": "{{ params.line }}"}, "is not an amount in dollars"),
        ({"above_usd": "1e308"}, "above_usd=1e+308 is not a balance: use a smaller amount."),
        ({"below_usd": "1e308"}, "below_usd=1e+308 is not a balance: use a smaller amount."),
        ({"below_usd": 5, "rearm_usd": -1}, "rearm_usd=-1 is not an amount in dollars"),
        (
            {"below_usd": 5, "rearm_usd": "1e308"},
            "rearm_usd=1e+308 above below_usd=5 is more than",
        ),
        ({"below_usd": "1.75e306"}, "rearm_usd=8.75e+304 above below_usd=1.75e+306 is more than"),
        ({"above_usd": 5, "rearm_usd": 6}, "rearm_usd=6 is more than above_usd=5"),
        ({"below_usd": 5, "at_start": "wait"}, 'at_start=\'wait\' is not known: use "fire" or "remember".'),
    ],
)
def test_options_that_are_not_valid_are_refused_in_one_sentence(options: dict, problem: str):
    with pytest.raises(ValueError, match=re.escape(problem)) as refusal:
        line(**options)
    assert str(refusal.value).endswith(".")


def test_a_memory_in_an_unknown_format_is_refused():
    for stored in (
        {},
        {**Memory().to_json(), "unknown_since": "noon"},
        {**Memory().to_json(), "unsaved": [1]},
        {**Memory().to_json(), "unsaved": {"kind": "below"}},
    ):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Memory.from_json(stored)


def test_the_largest_amounts_that_an_account_can_hold_are_lines():
    assert line(above_usd="1.797e306").line_usd == Decimal("1.797e306")
    assert line(below_usd=5, rearm_usd="1.797e306").rearm_usd == Decimal("1.797e306")


lines = st.builds(
    lambda side, usd, margin, at_start: line(
        **{f"{side}_usd": usd}, rearm_usd=min(usd, margin), at_start=at_start
    ),
    st.sampled_from(["above", "below"]),
    st.integers(1, 20),
    st.integers(0, 10),
    st.sampled_from([None, "fire", "remember"]),
)
series = st.lists(st.none() | st.integers(-3, 25), min_size=1, max_size=40)


def is_beyond(watched: Line, usd: int) -> bool:
    return usd >= watched.line_usd if watched.direction == "above" else usd < watched.line_usd


THE_SAME_VALUES_EACH_TIME = settings(derandomize=True, deadline=None, max_examples=300)


class Killed(Enum):
    """The moment in a check at which the triggerer is killed. The next one makes the same check."""

    BEFORE_IT_STORES = 1
    BEFORE_AIRFLOW_SAVED = 2
    AFTER_AIRFLOW_SAVED = 3


def crossings(watched: Line, *balances_usd: object) -> int:
    return kinds(watched, *balances_usd).count(watched.direction)


@THE_SAME_VALUES_EACH_TIME
@given(lines, series)
def test_the_balance_comes_back_by_the_margin_between_two_events(watched: Line, usd: list) -> None:
    fired = [i for i, kind in enumerate(kinds(watched, *usd)) if kind == watched.direction]
    assert all(is_beyond(watched, usd[i]) for i in fired)
    for first, second in pairwise(fired):
        between = [each for each in usd[first:second] if each is not None and not is_beyond(watched, each)]
        assert any(abs(each - watched.line_usd) >= watched.rearm_usd for each in between)


@THE_SAME_VALUES_EACH_TIME
@given(lines, series)
def test_a_balance_that_stays_at_each_amount_fires_as_often_as_one_that_moves_on(
    watched: Line, usd: list
) -> None:
    stays = [each for each in usd for _ in range(3)]
    assert crossings(watched, *stays) == crossings(watched, *usd)


@THE_SAME_VALUES_EACH_TIME
@given(lines, st.lists(st.tuples(st.none() | st.integers(-3, 25), st.sampled_from([None, *Killed]))))
def test_a_triggerer_killed_at_any_moment_loses_no_event_and_repeats_at_most_that_of_the_last_check(
    watched: Line, checks: list[tuple[int | None, Killed | None]]
) -> None:
    undisturbed = memory = stored = Memory()
    expected: list[Event | None] = []
    saved: list[Event | None] = []
    may_be_repeated: list[Event | None] = []
    for minute, (usd, killed) in enumerate(checks):
        reading, now = read(usd, minute), at(minute)
        undisturbed = watched.observe(undisturbed, reading, now)
        expected.append(undisturbed.unsaved)
        if killed is Killed.BEFORE_IT_STORES:
            may_be_repeated.append(stored.unsaved)
        if killed is Killed.AFTER_AIRFLOW_SAVED:
            may_be_repeated.append(undisturbed.unsaved)

        memory = watched.observe(memory, reading, now)
        if killed is not Killed.BEFORE_IT_STORES:
            stored = memory
        if killed in (None, Killed.AFTER_AIRFLOW_SAVED):
            saved.append(memory.unsaved)
        if killed:
            recalled = Memory.from_json(json.loads(json.dumps(stored.to_json())))
            saved.append(recalled.unsaved)
            memory = stored = watched.observe(recalled, reading, now)
            saved.append(memory.unsaved)

    fired = [event for event in saved if event]
    once = [event for i, event in enumerate(fired) if event not in fired[:i]]
    assert once == [event for event in expected if event]
    assert all(event in may_be_repeated for i, event in enumerate(fired) if event in fired[:i])


def test_an_unavailable_you_com_counts_as_no_balance():
    watched = line(below_usd=5)
    memory = watched.observe(Memory(), YouComUnavailableError("No answer."), at(0))
    assert memory.unknown_since == at(0)
