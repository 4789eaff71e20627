"""Checks of what users write: over HTTP it can be any JSON, and in Python anything."""

from __future__ import annotations

import re
from decimal import Decimal

from airflow_provider_youcom.money import is_amount, parse_usd, usd_to_cents

SECONDS = "a number of seconds from 0 to 86400"
KEY = "a text of printable ASCII characters without spaces"
_LARGEST_AMOUNT_USD = 10**12


def invalid(name: str, expected: str) -> ValueError:
    """Return the error for a value that the sandbox cannot use."""
    return ValueError(f"{name} is not valid: expected {expected}.")


def is_whole(value: object, least: int, most: int) -> bool:
    """Return whether a value is a whole number in a range; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_seconds(value: object) -> bool:
    """Return whether a value is a number of seconds, up to a day."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 86_400


def is_key(value: object) -> bool:
    """Return whether a value can be sent as a key."""
    return isinstance(value, str) and re.fullmatch("[!-~]+", value) is not None


def is_cents(value: object) -> bool:
    """Return whether a value is an exact amount in cents."""
    return isinstance(value, Decimal) and is_amount(value)


def parse_cents(usd: object, name: str = "usd") -> Decimal:
    """Return an amount in dollars as cents."""
    amount_usd = parse_usd(usd, name)
    if amount_usd > _LARGEST_AMOUNT_USD:
        raise invalid(name, f"at most {_LARGEST_AMOUNT_USD}")
    return usd_to_cents(amount_usd)
