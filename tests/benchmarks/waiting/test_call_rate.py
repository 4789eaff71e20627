"""API calls per minute are counted over whole rounds of checks."""

from __future__ import annotations

import pytest

from benchmarks.waiting.call_rate import calls_per_minute, calls_to_end_of_round

pytestmark = pytest.mark.only_in_test

GATES = 20
PERIOD = 31.0
# Twenty gates in reschedule mode: each round of checks takes 4 s, and one begins every 31 s.
BURSTS = [burst * PERIOD + gate * 0.2 for burst in range(3) for gate in range(GATES)]


@pytest.mark.parametrize("first", range(GATES))
def test_the_rate_of_bursts_does_not_depend_on_where_the_count_begins(first: int) -> None:
    assert calls_per_minute(BURSTS[first:], GATES) == pytest.approx(GATES / PERIOD * 60)


def test_there_is_no_rate_without_a_burst() -> None:
    assert calls_per_minute([], GATES) is None
    assert calls_per_minute(BURSTS[:GATES], GATES) is None


def test_a_shared_poll_is_a_round_of_its_own() -> None:
    assert calls_per_minute([3.0, 13.0, 23.0], 1) == pytest.approx(6)


@pytest.mark.parametrize(("calls", "wanted"), [(0, 20), (1, 20), (20, 20), (21, 40)])
def test_a_round_that_is_under_way_is_waited_for(calls: int, wanted: int) -> None:
    assert calls_to_end_of_round(calls, GATES) == wanted
