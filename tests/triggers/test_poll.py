"""How long the poll waits between two checks."""

from __future__ import annotations

import pytest

from airflow_provider_youcom.exceptions import YouComRefusedError, YouComUnavailableError
from airflow_provider_youcom.triggers._poll import (
    SHORTEST_PAUSE,
    _first_pause,
    _pause,
    _rest_of_pause,
    poll_key,
)


@pytest.mark.parametrize(("conn_id", "interval"), [(1234, 60), ("1234", "60"), ("1234", 60.0)])
def test_triggers_share_a_poll_whatever_the_types_of_their_arguments(conn_id: object, interval: object):
    assert poll_key(conn_id, interval) == poll_key("1234", 60)


@pytest.mark.parametrize(
    ("now", "seconds"),
    [(100, 60), (130, 30), (9999, 0), (40, 60)],
    ids=["now", "half", "past", "other clock"],
)
def test_the_pause_after_a_workers_check_is_an_interval_at_most(now: float, seconds: float):
    assert _first_pause({**PLAIN, "looked_at": 100.0}, now) == seconds


PLAIN = {"poke_interval": 60.0, "exponential_backoff": False, "max_wait": None}
UNAVAILABLE = YouComUnavailableError("No answer.")


@pytest.mark.parametrize(("failures", "seconds"), [(1, 60), (2, 120), (3, 240), (4, 300), (50, 300)])
def test_the_pauses_grow_while_you_com_does_not_answer(failures: int, seconds: float):
    assert _pause(PLAIN, UNAVAILABLE, checks=9, failures=failures) == seconds


def test_you_com_may_ask_for_a_longer_pause_within_reason():
    assert _pause(PLAIN, YouComUnavailableError("Busy.", retry_after=90), checks=1, failures=1) == 90
    assert _pause(PLAIN, YouComUnavailableError("Busy.", retry_after=9999), checks=1, failures=1) == 300


def test_a_backoff_never_shortens_a_long_interval():
    assert _pause({**PLAIN, "poke_interval": 3600}, UNAVAILABLE, checks=1, failures=9) == 3600


@pytest.mark.parametrize(("checks", "seconds"), [(1, 60), (2, 120), (3, 200), (99, 200)])
def test_exponential_backoff_doubles_the_pauses_up_to_max_wait(checks: int, seconds: float):
    growing = {**PLAIN, "exponential_backoff": True, "max_wait": 200}
    assert _pause(growing, YouComRefusedError("No."), checks=checks, failures=0) == seconds


def test_no_pause_is_shorter_than_the_shortest():
    hasty = {"poke_interval": 0, "exponential_backoff": True, "max_wait": 0.001}
    assert _pause(hasty, YouComRefusedError("No."), checks=1, failures=0) == SHORTEST_PAUSE


@pytest.mark.parametrize(("check_took", "seconds"), [(0, 60), (15, 45), (59.5, 0.5), (60, 1), (90, 1)])
def test_the_pause_begins_with_the_check_and_no_slow_check_is_followed_by_another_at_once(
    check_took: float, seconds: float
):
    assert _rest_of_pause(60, check_took) == seconds
