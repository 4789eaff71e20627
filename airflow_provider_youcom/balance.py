"""What an account holds: exact money, and how it is read, shown and handed on."""

from __future__ import annotations

import decimal
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

from airflow_provider_youcom.exceptions import YouComResponseError

# The default context rounds every result to 28 digits; this one loses nothing.
_EXACT = decimal.Context(prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_CENT = Decimal("0.01")
# A double has at most 309 digits and 1074 decimal places; an amount beyond that is no price, and JSON
# would be given Infinity for it.
_LARGEST_AMOUNT = Decimal(sys.float_info.max)
_LARGEST_EXPONENT = 308
_MOST_DECIMAL_PLACES = 1074


# Stands where a balance would, when a gate opened without one.
UNKNOWN_BALANCE = dict.fromkeys(("account_id", "balance_cents", "balance_usd", "checked_at"))


@dataclass(frozen=True)
class AccountBalance:
    """
    What a You.com account held when it was asked.

    :param account_id: You.com's stable hash of the account, an organization's or one user's.
    :param balance_cents: remaining credits in cents, exact; may be negative.
    :param checked_at: when You.com was asked, in UTC.
    """

    account_id: str
    balance_cents: Decimal
    checked_at: datetime

    @property
    def balance_usd(self) -> Decimal:
        """Remaining credits in dollars, exact."""
        return self.balance_cents.scaleb(-2, context=_EXACT)

    def __str__(self) -> str:
        return f"You.com account {self.account_id}: {format_usd(self.balance_usd)} left"

    def to_json(self) -> dict[str, Any]:
        """Give the balance as plain JSON, the form that XCom and events carry."""
        return {
            "account_id": self.account_id,
            "balance_cents": _json_number(self.balance_cents),
            "balance_usd": _json_number(self.balance_usd),
            "checked_at": self.checked_at.isoformat(),
        }

    @classmethod
    def from_response(cls, body: bytes, checked_at: datetime) -> AccountBalance:
        """
        Read the body of a 200 answer.

        https://you.com/docs/api-reference/billing/get-account-balance

        :param body: the answer's bytes.
        :param checked_at: when You.com was asked, in UTC.
        :raises YouComResponseError: if the body is not what that page promises.
        """
        document = _parse_json(body)
        data = _member(document, "data", dict, "an object")
        if _member(data, "type", str, "a string", "data.") != "account":
            raise _not_the_contract('data.type is not "account"')
        account_id = _member(data, "id", str, "a string", "data.")
        if not account_id.strip() or not account_id.isprintable():
            raise _not_the_contract("data.id is empty or not printable")
        attributes = _member(data, "attributes", dict, "an object", "data.")
        balance_cents = _member(attributes, "balance", Decimal, "a number", "data.attributes.")
        if not is_amount(balance_cents):
            raise _not_the_contract("data.attributes.balance is outside the range of a double")
        return cls(account_id=account_id, balance_cents=balance_cents, checked_at=checked_at)


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


def _parse_json(body: bytes) -> object:
    with suppress(ValueError, RecursionError, decimal.InvalidOperation):
        return json.loads(
            body.decode("utf-8"),
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_reject_constant,
            object_pairs_hook=_reject_duplicates,
        )
    # Not raised where it was caught: an error of json holds the whole body, whatever a server put there.
    raise _not_the_contract("the body is not JSON")


def _reject_constant(constant: str) -> NoReturn:
    raise _not_the_contract(f"{constant} is not a JSON number")


def _reject_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _not_the_contract("an object names the same member twice")
    return members


def _member(parent: object, name: str, kind: type, article_and_kind: str, path: str = "") -> Any:
    if not isinstance(parent, dict) or name not in parent:
        raise _not_the_contract(f"{path}{name} is missing")
    if not isinstance(parent[name], kind):
        raise _not_the_contract(f"{path}{name} is not {article_and_kind}")
    return parent[name]


def _not_the_contract(what: str) -> YouComResponseError:
    return YouComResponseError(
        f"You.com answered 200 with something that is not an account balance: {what}; "
        "expected the body described at https://you.com/docs/api-reference/billing/get-account-balance, "
        "so check that the connection's Base URL is You.com's.",
        status_code=200,
    )


def _json_number(amount: Decimal) -> int | float:
    # Beyond 2**53 JSON readers disagree about integers, and msgpack, which Airflow uses, fails at 2**64.
    if abs(amount) < 2**53 and amount == amount.to_integral_value():
        return int(amount)
    return float(amount)
