"""The accounts of the sandbox, by their keys."""

from __future__ import annotations

import hashlib
from collections import UserDict
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from decimal import Decimal
from itertools import count

from airflow_provider_youcom.sandbox._checks import (
    KEY,
    SECONDS,
    invalid,
    is_cents,
    is_key,
    is_seconds,
    parse_cents,
)


@dataclass
class Account:
    """
    One account of the sandbox.

    :param account_id: the hashed identifier that the billing API returns.
    :param balance_cents: remaining credits in cents, which charges and top-ups change.
    :param has_billing_scope: whether its key may read the balance; if not, the billing API answers 403.
    :param post_charges_after: seconds until the billing API shows a charge, 0 by default.
    :raises ValueError: if a value has the wrong type or is out of range, also when it is assigned later.
    """

    account_id: str
    balance_cents: Decimal
    has_billing_scope: bool = True
    _: KW_ONLY
    post_charges_after: float = 0.0
    _unposted_charges: list[tuple[float, Decimal]] = field(default_factory=list, init=False, repr=False)

    def __setattr__(self, name: str, value: object) -> None:
        is_valid, expected = _FIELDS.get(name, (lambda _: True, ""))
        if not is_valid(value):
            raise invalid(name, expected)
        super().__setattr__(name, value)


_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "account_id": (lambda value: isinstance(value, str) and value != "", "a text"),
    "balance_cents": (is_cents, "a finite Decimal"),
    "has_billing_scope": (lambda value: isinstance(value, bool), "True or False"),
    "post_charges_after": (is_seconds, SECONDS),
}


class Accounts(UserDict[str, Account]):
    """Accounts by their keys."""

    def __setitem__(self, api_key: str, account: Account) -> None:
        if not is_key(api_key):
            raise invalid("The key of an account", KEY)
        if not isinstance(account, Account):
            raise invalid("The account of a key", "an Account")
        if api_key in account.account_id:
            # The client would take the id for its key, and mask it.
            raise invalid("account_id", "a text that does not contain the key of the account")
        super().__setitem__(api_key, account)


def new_account(api_key: str, usd: object, post_charges_after: float) -> Account:
    """Return the account of a key, whose id is a digest of the key that does not contain it."""
    if not is_key(api_key):
        raise invalid("The key of an account", KEY)
    digests = (hashlib.sha256(api_key.encode() + bytes(times)).hexdigest()[:24] for times in count())
    account_id = next(digest for digest in digests if api_key not in digest)
    cents = parse_cents(usd, "balance_usd")
    return Account(account_id, cents, post_charges_after=post_charges_after)
