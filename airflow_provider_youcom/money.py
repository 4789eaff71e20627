"""Amounts of dollars: exact, and rounded only to show them."""

from __future__ import annotations

import decimal
import sys
from decimal import Decimal

# The default context rounds every result to 28 digits; this one loses nothing.
_EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_CENT = Decimal("0.01")
# A double has at most 309 digits and 1074 decimal places; an amount beyond that is no price, and JSON
# would be given Infinity for it.
_LARGEST_AMOUNT = Decimal(sys.float_info.max)
_LARGEST_EXPONENT = 308
_MOST_DECIMAL_PLACES = 1074


def format_usd(amount_usd: Decimal, rounding: str = decimal.ROUND_FLOOR) -> str:
    """
    Show dollars at whole cents.

    :param amount_usd: any finite amount in dollars.
    :param rounding: rounding down, the default, never claims money that isn't there; what is needed or
        missing is rounded up, so that bringing just that much is enough.
    """
    cents = amount_usd.quantize(_CENT, rounding=rounding, context=_EXACT)
    sign = "-" if cents < 0 else ""
    return f"{sign}${cents.copy_abs():,.2f}"


def subtract_usd(minuend_usd: Decimal, subtrahend_usd: Decimal) -> Decimal:
    """
    Subtract dollars without rounding.

    :param minuend_usd: what to subtract from.
    :param subtrahend_usd: what to subtract.
    """
    return _EXACT.subtract(minuend_usd, subtrahend_usd)


def cents_to_usd(amount_cents: Decimal) -> Decimal:
    """
    Convert cents to dollars without rounding.

    :param amount_cents: any amount in cents.
    """
    return amount_cents.scaleb(-2, context=_EXACT)


def parse_usd(amount: object, name: str) -> Decimal:
    """
    Read an amount of dollars exactly as its author wrote it.

    :param amount: an int, Decimal, str, or a float, which is taken through its ``str``.
    :param name: the argument's name, for the error.
    :raises ValueError: if it is not a finite number of dollars, 0 or more.
    """
    if isinstance(amount, bool) or not isinstance(amount, (int, float, str, Decimal)):
        raise ValueError(_not_dollars(amount, name))
    try:
        amount_usd = amount if isinstance(amount, Decimal) else Decimal(str(amount).strip())
    except (decimal.InvalidOperation, ValueError):
        raise ValueError(_not_dollars(amount, name)) from None
    if not is_amount(amount_usd) or amount_usd < 0:
        raise ValueError(_not_dollars(amount, name))
    return amount_usd


def is_amount(value: Decimal) -> bool:
    """
    Tell whether a number is finite and of a size that an amount of money can have.

    :param value: any Decimal, NaN and infinities too.
    """
    if not value.is_finite():
        return False
    exponent = value.as_tuple().exponent
    return (
        isinstance(exponent, int)
        and exponent >= -_MOST_DECIMAL_PLACES
        and exponent <= _LARGEST_EXPONENT
        and value.copy_abs() <= _LARGEST_AMOUNT
    )


def _not_dollars(amount: object, name: str) -> str:
    try:
        shown = repr(amount)
    except ValueError:
        # Python refuses to write an int of more than 4,300 digits.
        shown = "a huge int"
    if len(shown) > 60:
        shown = f"{shown[:57]}..."
    return (
        f'{name}={shown} is not an amount in dollars: give a finite number, 0 or more, such as 25 or "7.50".'
    )
