"""Amounts in dollars: exact, and rounded only for display."""

from __future__ import annotations

import decimal
import numbers
import sys
from decimal import Decimal
from functools import reduce


def _context(precision: int) -> decimal.Context:
    # What is left out is taken from DefaultContext, which the caller may have changed.
    return decimal.Context(
        prec=precision,
        rounding=decimal.ROUND_CEILING,
        Emin=decimal.MIN_EMIN,
        Emax=decimal.MAX_EMAX,
        traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
    )


# The caller's context may round every result to two digits; this one loses nothing.
_EXACT = _context(decimal.MAX_PREC)
_ROUNDING_UP = _context(28)
_CENT = Decimal("0.01")
# A double has at most 309 digits and 1074 decimal places. A larger amount is not a price, and would become
# Infinity in JSON. The caller may trap Decimal(float).
_LARGEST_AMOUNT = Decimal(int(sys.float_info.max))
_LARGEST_EXPONENT = 308
_MOST_DECIMAL_PLACES = 1074


def format_usd(amount_usd: Decimal, rounding: str = decimal.ROUND_FLOOR) -> str:
    """
    Return an amount as text, rounded to whole cents.

    :param amount_usd: any finite amount in dollars.
    :param rounding: a rounding mode of ``decimal``. The default, rounding down, never shows money that is
        not there. Round up what is needed or missing, so that topping up by that much is enough.
    """
    cents = amount_usd.quantize(_CENT, rounding=rounding, context=_EXACT)
    sign = "-" if cents < 0 else ""
    return f"{sign}${cents.copy_abs():,.2f}"


def describe_shortfall(available_usd: Decimal, needed_usd: Decimal) -> str:
    """
    Return how much is missing, as text: "$21.80 short of $25.00".

    :param available_usd: what there is, in dollars.
    :param needed_usd: what is needed, in dollars; more than that.
    """
    missing = format_usd(subtract_usd(needed_usd, available_usd), decimal.ROUND_CEILING)
    return f"{missing} short of {format_usd(needed_usd, decimal.ROUND_CEILING)}"


def add_exactly(*amounts: Decimal) -> Decimal:
    """
    Add amounts without rounding.

    :param amounts: any amounts, all in the same unit.
    """
    return reduce(_EXACT.add, amounts, Decimal(0))


def subtract_usd(minuend_usd: Decimal, subtrahend_usd: Decimal) -> Decimal:
    """
    Subtract dollars without rounding.

    :param minuend_usd: what to subtract from.
    :param subtrahend_usd: what to subtract.
    """
    return _EXACT.subtract(minuend_usd, subtrahend_usd)


def multiply_usd(amount_usd: Decimal, factor: Decimal) -> Decimal:
    """
    Multiply dollars without rounding.

    :param amount_usd: any amount in dollars.
    :param factor: how many times to take it.
    """
    return _EXACT.multiply(amount_usd, factor)


def cents_to_usd(amount_cents: Decimal) -> Decimal:
    """
    Convert cents to dollars without rounding.

    :param amount_cents: any amount in cents.
    """
    return amount_cents.scaleb(-2, context=_EXACT)


def usd_to_cents(amount_usd: Decimal) -> Decimal:
    """
    Convert dollars to cents without rounding.

    :param amount_usd: any amount in dollars.
    """
    return _EXACT.multiply(amount_usd, Decimal(100))


def plain_text(amount: Decimal) -> str:
    """
    Return the canonical text of an amount: exact, without an exponent and without trailing zeros.

    :param amount: any finite amount.
    """
    digits = f"{amount:f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def json_number(amount: Decimal) -> int | float:
    """
    Return an amount as a number that JSON can hold.

    :param amount: any finite amount.
    """
    # Beyond 2**53 JSON readers disagree about integers, and msgpack, which Airflow uses, fails at 2**64.
    if amount.copy_abs() < 2**53 and amount == amount.to_integral_value():
        return int(amount)
    return float(amount)


def parse_usd(amount: object, name: str) -> Decimal:
    """
    Return an amount in dollars exactly as it was written.

    :param amount: a Decimal, a str, or a number of any type, such as numpy's. A float is read through its
        ``str``. A fraction without an exact decimal form is rounded up at the 28th digit.
    :param name: the argument's name, for the error.
    :raises ValueError: if it is not a finite number of dollars, 0 or more.
    """
    try:
        amount_usd = _to_decimal(amount)
    except (decimal.InvalidOperation, TypeError, ValueError):
        raise ValueError(_not_dollars(amount, name)) from None
    if not is_amount(amount_usd) or amount_usd < 0:
        raise ValueError(_not_dollars(amount, name))
    return amount_usd


def _to_decimal(amount: object) -> Decimal:
    match amount:
        case bool():
            raise TypeError
        case Decimal():
            return amount
        case str() | numbers.Integral():
            return Decimal(str(amount))
        case numbers.Rational():
            return _ROUNDING_UP.divide(Decimal(int(amount.numerator)), Decimal(int(amount.denominator)))
        case numbers.Real():
            return Decimal(str(amount))
    raise TypeError


def is_amount(value: Decimal) -> bool:
    """
    Return whether a number is finite and within the range of a double.

    :param value: any Decimal, including NaN and infinity.
    """
    exponent = value.as_tuple().exponent
    return (
        # That of NaN and infinity is a letter.
        isinstance(exponent, int)
        and exponent >= -_MOST_DECIMAL_PLACES
        and exponent <= _LARGEST_EXPONENT
        and value.copy_abs() <= _LARGEST_AMOUNT
    )


def _not_dollars(amount: object, name: str) -> str:
    try:
        shown = repr(amount)
    except ValueError:
        # Python refuses to print an int of more than 4,300 digits.
        shown = "a huge int"
    if len(shown) > 60:
        shown = f"{shown[:57]}..."
    return (
        f'{name}={shown} is not an amount in dollars: use a finite number, 0 or more, such as 25 or "7.50".'
    )
