"""The lowest balance is found among the changes of an account."""

from __future__ import annotations

import pytest

from benchmarks.fleet.outcome import lowest_usd

pytestmark = pytest.mark.only_in_test


def test_the_lowest_balance_counts_only_after_the_first_charge():
    assert lowest_usd([(0, 0), (1, 45), (2, 40), (3, 35), (4, 80)]) == 35
    assert lowest_usd([(0, 0), (1, 45)]) == 0
