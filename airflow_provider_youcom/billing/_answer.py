"""Read You.com's answer to the question what an account holds."""

from __future__ import annotations

import decimal
import json
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComResponseError
from airflow_provider_youcom.money import is_amount


def read_balance(body: bytes, checked_at: datetime) -> AccountBalance:
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
    return AccountBalance(account_id=account_id, balance_cents=balance_cents, checked_at=checked_at)


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
