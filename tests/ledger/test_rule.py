"""The rule of reservations, at each of its boundaries."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger.rule import Age, EndReason, Outcome

pytestmark = pytest.mark.only_in_test

MINUTE = 60
DAY = 24 * 60 * MINUTE


def test_the_documented_times_are_the_defaults() -> None:
    assert rule.DEFAULT_SETTLE_SECONDS == MINUTE
    assert rule.DEFAULT_RESERVE_FOR_SECONDS == DAY
    assert rule.GRACE_SECONDS == 2 * MINUTE
    assert rule.ASK_AGAIN_SECONDS == MINUTE
    assert rule.KEEP_ENDED_SECONDS == 30 * DAY
    assert rule.PURGE_EVERY_SECONDS == DAY


def test_what_stands_has_the_greatest_end_number_that_a_database_holds() -> None:
    assert rule.NOT_ENDED == 9223372036854775807


@pytest.mark.parametrize(
    ("end_number", "counts_until", "counts"),
    [
        pytest.param(rule.NOT_ENDED, 0, True, id="stands"),
        pytest.param(8, 0, True, id="ended after the note"),
        pytest.param(7, 101, True, id="ended before, and not all is posted"),
        pytest.param(7, 100, False, id="ended before, and just posted"),
        pytest.param(6, 99, False, id="ended before, and posted"),
    ],
)
def test_a_reservation_counts_until_the_reading_shows_its_charges(
    end_number: int, counts_until: int, counts: bool
) -> None:
    reservation = SimpleNamespace(end_number=end_number, counts_until=counts_until)
    assert rule.counts(reservation, SimpleNamespace(counter=7, time=100)) is counts


def test_the_settle_time_and_the_grace_both_follow_the_end() -> None:
    assert rule.counts_until(ended_at=1000, settle_us=60, grace_us=120) == 1180


@pytest.mark.parametrize("reason", EndReason)
def test_only_a_release_in_order_ends_without_a_grace(reason: EndReason) -> None:
    assert reason.grace_seconds == (0 if reason is EndReason.RELEASED else 120)


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        pytest.param({}, Outcome.OPEN, id="exactly enough"),
        pytest.param({"available_units": 24}, Outcome.SHORT, id="one unit short"),
        pytest.param({"oldest_counter": 5}, Outcome.OPEN, id="a note from the last purge"),
        pytest.param({"oldest_counter": 6}, Outcome.OUTDATED, id="a note from before the last purge"),
        pytest.param({"newest_age": ("b", 2)}, Outcome.OPEN, id="the newest attempt itself"),
        pytest.param({"newest_age": ("c", 3)}, Outcome.STALE, id="a newer attempt is known"),
        pytest.param(
            {"newest_age": ("c", 3), "available_units": 0},
            Outcome.STALE,
            id="stale, and short",
        ),
        pytest.param(
            {"newest_age": ("c", 3), "oldest_counter": 6},
            Outcome.OUTDATED,
            id="outdated, and stale",
        ),
    ],
)
def test_an_attempt_reserves_what_is_available_unless_its_note_or_itself_is_too_old(
    changed: dict[str, object], outcome: Outcome
) -> None:
    attempt = {
        "needed_units": 25,
        "available_units": 25,
        "counter": 5,
        "oldest_counter": 0,
        "age": ("b", 2),
        "newest_age": None,
    }
    assert rule.decide(**attempt | changed) is outcome


@pytest.mark.parametrize(
    ("age", "older"),
    [
        (("a", 1), True),
        (("a", 2), False),
        (("a", 3), False),
        (("b", 1), False),
        (("b", 2), False),
        (("c", 1), False),
    ],
)
def test_an_attempt_is_older_if_both_its_order_and_its_number_are_lower(age: Age, older: bool) -> None:
    assert rule.is_older(age, ("b", 2)) is older


@pytest.mark.parametrize(("unfinished", "may"), [(0, True), (1, False), (2, False), (None, False)])
def test_a_new_try_supersedes_only_if_no_task_behind_the_gate_can_spend(
    unfinished: int | None, may: bool
) -> None:
    assert rule.may_supersede(unfinished) is may


@pytest.mark.parametrize("run_is_running", [True, False])
@pytest.mark.parametrize("all_done", [True, False])
@pytest.mark.parametrize("any_is_retried_soon", [True, False])
def test_a_teardown_releases_in_order_only_if_no_task_may_still_spend(
    run_is_running: bool, all_done: bool, any_is_retried_soon: bool
) -> None:
    reason = rule.teardown_reason(
        run_is_running=run_is_running, all_done=all_done, any_is_retried_soon=any_is_retried_soon
    )
    in_order = (run_is_running, all_done, any_is_retried_soon) == (True, True, False)
    assert reason is (EndReason.RELEASED if in_order else EndReason.CUT_SHORT)


@pytest.mark.parametrize(
    ("given", "age", "stored"),
    [
        (EndReason.RELEASED, ("b", 2), EndReason.RELEASED),
        (EndReason.RELEASED, ("a", 1), EndReason.SUPERSEDED),
        (EndReason.CUT_SHORT, ("b", 2), EndReason.CUT_SHORT),
        (EndReason.CUT_SHORT, ("a", 1), EndReason.CUT_SHORT),
        (EndReason.RUN_OVER, ("a", 1), EndReason.RUN_OVER),
    ],
)
def test_a_release_supersedes_what_an_earlier_try_has_reserved(
    given: EndReason, age: Age, stored: EndReason
) -> None:
    assert rule.reason_of_end(given, age, newest_age=("b", 2)) is stored
