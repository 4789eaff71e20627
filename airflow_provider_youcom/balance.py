"""What an account holds, and how it is read, shown and passed on."""

from __future__ import annotations

import decimal
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

from airflow_provider_youcom.exceptions import YouComResponseError
from airflow_provider_youcom.money import cents_to_usd, format_usd, is_amount, json_number, subtract_usd

# What a gate returns if it opened without knowing the balance.
UNKNOWN_BALANCE = dict.fromkeys(("account_id", "balance_cents", "balance_usd", "checked_at"))


@dataclass(frozen=True)
class AccountBalance:
    """
    What a You.com account held when it was checked.

    To return it from a task, call ``to_json``.

    :param account_id: You.com's stable hash of the account, which is an organization's or one user's.
    :param balance_cents: remaining credits in cents, exact; may be negative.
    :param checked_at: when You.com was asked, in UTC.
    """

    account_id: str
    balance_cents: Decimal
    checked_at: datetime

    @property
    def balance_usd(self) -> Decimal:
        """Remaining credits in dollars, exact."""
        return cents_to_usd(self.balance_cents)

    def __str__(self) -> str:
        return f"You.com account {self.account_id}: {format_usd(self.balance_usd)} left"

    def to_json(self) -> dict[str, Any]:
        """Return the balance as plain JSON, for XCom and events."""
        return {
            "account_id": self.account_id,
            "balance_cents": json_number(self.balance_cents),
            "balance_usd": json_number(self.balance_usd),
            "checked_at": self.checked_at.isoformat(),
        }

    def serialize(self) -> NoReturn:
        """Refuse to become an XCom. Airflow calls this when a task returns the balance itself."""
        # Airflow would store it, and the task that reads it would fail: it reads back only the classes in
        # [core] allowed_deserialization_classes. Not a TypeError, which Airflow 2.11 replaces.
        raise ValueError("An AccountBalance cannot be an XCom: return balance.to_json() instead.")

    @classmethod
    def from_response(cls, body: bytes, checked_at: datetime) -> AccountBalance:
        """
        Read the body of a 200 answer.

        https://you.com/docs/api-reference/billing/get-account-balance

        :param body: the answer's bytes.
        :param checked_at: when You.com was asked, in UTC.
        :raises YouComResponseError: if the body is not what that page describes.
        """
        document = _parse_json(body)
        data = _member(document, "data", dict, "an object")
        _member(data, "type", str, "a string", "data.")
        account_id = _printable(_member(data, "id", str, "a string", "data."))
        attributes = _member(data, "attributes", dict, "an object", "data.")
        balance_cents = _member(attributes, "balance", Decimal, "a number", "data.attributes.")
        if not is_amount(balance_cents):
            raise _not_the_contract("data.attributes.balance is outside the range of a double")
        return cls(account_id=account_id, balance_cents=balance_cents, checked_at=checked_at)


def balance_fall_usd(
    before: AccountBalance | Mapping[str, Any], after: AccountBalance | Mapping[str, Any]
) -> Decimal | None:
    """
    Return by how many dollars the balance fell between two readings of one account.

    This is not what a run has cost: others may have spent, too, and a top-up hides what was spent. Take the
    second reading after the connection's settle time, since You.com may post charges late.

    Return None if the balance rose, or if one of the readings has no balance.

    :param before: the first reading: a balance, or its JSON, such as the XCom of a gate.
    :param after: the second reading, likewise.
    :raises ValueError: if the readings are of two accounts.
    """
    (account_before, usd_before), (account_after, usd_after) = _read(before), _read(after)
    if usd_before is None or usd_after is None:
        return None
    if account_before != account_after:
        raise ValueError(
            f"These are the balances of two accounts, {account_before} and {account_after}: "
            "compare two readings of one account."
        )
    fall_usd = subtract_usd(usd_before, usd_after)
    return fall_usd if fall_usd >= 0 else None


def _read(reading: AccountBalance | Mapping[str, Any]) -> tuple[str, Decimal | None]:
    if isinstance(reading, AccountBalance):
        return reading.account_id, reading.balance_usd
    cents = reading["balance_cents"]
    return reading["account_id"], None if cents is None else cents_to_usd(Decimal(str(cents)))


def _parse_json(body: bytes) -> object:
    with suppress(ValueError, RecursionError, decimal.InvalidOperation):
        return json.loads(
            # RFC 8259 lets a reader ignore a byte order mark.
            body.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_reject_constant,
            object_pairs_hook=_reject_duplicates,
        )
    # Not raised in an except block: json's error, which would be its context, holds the whole body.
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


def _printable(text: str) -> str:
    """Escape characters that would break a log line or cannot be stored."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _not_the_contract(what: str) -> YouComResponseError:
    return YouComResponseError(
        f"You.com answered 200, but not with an account balance: {what}; "
        "expected the body described at https://you.com/docs/api-reference/billing/get-account-balance, "
        "so check that the connection's Base URL is You.com's.",
        status_code=200,
    )
