"""Exact figures: whole hundred-thousandths of a cent, and whole microseconds."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import pytest

from airflow_provider_youcom.ledger._amounts import (
    LARGEST_AMOUNT_USD,
    LARGEST_SECONDS,
    balance_to_units,
    need_to_units,
    seconds_to_us,
    units_to_usd,
    usd_to_units,
    within_bounds,
)

pytestmark = pytest.mark.only_in_test

YEAR = 366 * 24 * 60 * 60


@pytest.mark.parametrize(("cents", "units"), [("1", 100_000), ("0.000019", 1), ("-0.000001", -1), ("0", 0)])
def test_a_balance_is_rounded_down_so_that_it_never_counts_money_that_is_not_there(
    cents: str, units: int
) -> None:
    assert balance_to_units(Decimal(cents)) == units


@pytest.mark.parametrize(("usd", "units"), [("1", 10_000_000), ("0.0000001", 1), ("0.00000011", 2)])
def test_an_amount_is_rounded_up_so_that_it_is_never_too_little(usd: str, units: int) -> None:
    assert usd_to_units(Decimal(usd)) == need_to_units(Decimal(usd)) == units


@pytest.mark.parametrize("units", [0, 1, -25, 10**300 + 1])
def test_units_are_exact_in_dollars_in_any_context(units: int) -> None:
    with localcontext() as context:
        context.prec = 2
        usd = units_to_usd(units)
    assert usd_to_units(usd) == units


def test_the_largest_amount_can_be_reserved_and_no_more() -> None:
    assert LARGEST_AMOUNT_USD == 900_000_000
    assert need_to_units(Decimal(LARGEST_AMOUNT_USD)) == 9 * 10**15
    for usd in (Decimal("900000000.0000001"), Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("Infinity")):
        with pytest.raises(ValueError, match=f"^amount_usd={usd} cannot be reserved: pass an amount above 0"):
            need_to_units(usd)


def test_a_balance_of_any_size_fits_into_eight_bytes() -> None:
    assert [within_bounds(units) for units in (10**300, -(10**300), 17)] == [2**62, -(2**62), 17]


def test_durations_are_whole_microseconds_and_last_a_century_at_most() -> None:
    assert LARGEST_SECONDS == 100 * YEAR
    assert seconds_to_us(100 * YEAR, "settle_seconds", least=0) == 100 * YEAR * 1_000_000
    assert seconds_to_us(0.0000011, "settle_seconds", least=0) == 2
    assert seconds_to_us(0, "settle_seconds", least=0) == 0
    assert seconds_to_us(1e-6, "settle_seconds", least=1) == 1


@pytest.mark.parametrize("seconds", ["60", True, None, float("nan"), float("inf"), -1e-9, 100 * YEAR + 1])
def test_what_is_no_duration_is_refused_in_one_sentence(seconds: Any) -> None:
    with pytest.raises(ValueError, match="settle_seconds=") as refused:
        seconds_to_us(seconds, "settle_seconds", least=0)
    assert str(refused.value) == (
        f"settle_seconds={seconds!r} is not a duration: use a timedelta or a number of seconds, 0 or more "
        "and up to 100 years."
    )


def test_a_duration_that_must_be_above_zero_is_refused_at_zero_and_long_values_are_cut() -> None:
    with pytest.raises(ValueError, match="a number of seconds, above 0 and"):
        seconds_to_us(0, "hold_seconds", least=1)
    with pytest.raises(ValueError, match=r"^hold_seconds='x{59} is not"):
        seconds_to_us("x" * 1000, "hold_seconds", least=1)  # type: ignore[arg-type]
