"""Exact figures for the ledger: whole hundred-thousandths of a cent, and whole microseconds."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

UNITS_PER_CENT = 100_000
UNITS_PER_DOLLAR = 100 * UNITS_PER_CENT
US_PER_SECOND = 1_000_000

# A thousandth of what fits into 8 bytes, so that the sum of many reservations fits as well.
LARGEST_AMOUNT_USD = 900_000_000
_LARGEST_UNITS = 2**62
LARGEST_SECONDS = 100 * 366 * 24 * 60 * 60


def balance_to_units(balance_cents: Decimal) -> int:
    """Return a balance in whole units, rounded down, so that it never counts money that isn't there."""
    return floor(Fraction(balance_cents) * UNITS_PER_CENT)


def need_to_units(amount_usd: Decimal) -> int:
    """
    Return an amount to reserve in whole units, rounded up.

    :raises ValueError: if it is not above 0, or more than the ledger can hold.
    """
    if not amount_usd.is_finite() or not 0 < amount_usd <= LARGEST_AMOUNT_USD:
        raise ValueError(
            f"amount_usd={amount_usd} cannot be reserved: pass an amount above 0 and up to "
            f"{LARGEST_AMOUNT_USD}, in dollars."
        )
    return usd_to_units(amount_usd)


def usd_to_units(amount_usd: Decimal) -> int:
    """Return an amount in whole units, rounded up."""
    return ceil(Fraction(amount_usd) * UNITS_PER_DOLLAR)


def units_to_usd(units: int) -> Decimal:
    """Return an exact amount in dollars."""
    # Not scaleb(), which rounds to the context's precision: a balance may have 300 digits.
    sign, digits, _ = Decimal(units).as_tuple()
    return Decimal((sign, digits, -7))


def within_bounds(units: int) -> int:
    """Return an amount that fits into 8 bytes; a balance may have 300 digits."""
    return max(-_LARGEST_UNITS, min(units, _LARGEST_UNITS))


def seconds_to_us(seconds: float, name: str, least: int) -> int:
    """
    Return a duration in whole microseconds, rounded up.

    :param name: the argument's name, for the error.
    :param least: the least number of microseconds that is allowed.
    :raises ValueError: if it is not a number, too small, or more than 100 years.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValueError(_not_seconds(seconds, name, least))
    if not seconds <= LARGEST_SECONDS or not seconds >= 0:
        raise ValueError(_not_seconds(seconds, name, least))
    microseconds = ceil(Fraction(seconds) * US_PER_SECOND)
    if microseconds < least:
        raise ValueError(_not_seconds(seconds, name, least))
    return microseconds


def _not_seconds(seconds: object, name: str, least: int) -> str:
    bound = "above 0" if least else "0 or more"
    return (
        f"{name}={repr(seconds)[:60]} is not a duration: use a timedelta or a number of seconds, {bound} and "
        "up to 100 years."
    )
