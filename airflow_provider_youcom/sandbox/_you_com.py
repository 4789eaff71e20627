"""A You.com in memory: its accounts, what their keys may spend, and the faults to come."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

from airflow_provider_youcom.money import add_exactly, cents_to_usd, format_usd, plain_text
from airflow_provider_youcom.sandbox._account import Account, Accounts
from airflow_provider_youcom.sandbox._checks import invalid, is_whole, parse_cents
from airflow_provider_youcom.sandbox._faults import Fault
from airflow_provider_youcom.sandbox._lock import ProcessLock
from airflow_provider_youcom.sandbox._spending import Spending


class Refusal(Enum):
    """Why You.com does not take a charge."""

    OUT_OF_CREDITS = "out of credits"
    SPEND_CAP_EXCEEDED = "spend cap exceeded"


class YouCom:
    """A You.com in memory, for the sandbox to serve; threads may share it."""

    def __init__(self, accounts: Mapping[str, Account], api_key: str) -> None:
        self.api_key = api_key
        self._accounts = Accounts(accounts)
        self.request_count = 0
        self.connection_count = 0
        self.refused_count = 0
        self._faults: dict[str | None, deque[tuple[Fault, int | None]]] = {}
        self._spending: dict[str, Spending] = defaultdict(Spending)
        self._lock = ProcessLock()

    @property
    def accounts(self) -> Accounts:
        """The accounts by their keys. Add one, or change one, while the sandbox runs."""
        return self._accounts

    def balance_usd(self, api_key: str | None = None) -> Decimal:
        """
        Return what an account holds, in dollars, whether its charges are posted or not.

        :param api_key: key of the account; the first one by default.
        """
        with self._lock:
            return _to_usd(self._account(api_key).balance_cents)

    def spent_usd(self, api_key: str | None = None) -> Decimal:
        """
        Return what a key has spent, in dollars.

        :param api_key: key of the account; the first one by default.
        """
        with self._lock:
            return _to_usd(self._spending_of(api_key).spent_cents)

    def set_balance(self, usd: object, api_key: str | None = None) -> None:
        """
        Replace the balance of an account, and post all its charges.

        :param usd: the new balance in dollars.
        :param api_key: key of the account; the first one by default.
        """
        account, cents = self._account(api_key), parse_cents(usd)
        with self._lock:
            account.balance_cents = cents
            account._unposted_charges.clear()

    def top_up(self, usd: object, api_key: str | None = None) -> None:
        """
        Add credits to an account, which the billing API shows at once.

        :param usd: the credits in dollars.
        :param api_key: key of the account; the first one by default.
        """
        account, cents = self._account(api_key), parse_cents(usd)
        with self._lock:
            account.balance_cents = add_exactly(account.balance_cents, cents)

    def set_spending_cap(self, usd: object, api_key: str | None = None) -> None:
        """
        Set the most that a key may spend, counted from the start of the sandbox.

        At its cap, You.com answers 429 to each request of the key, whatever the account holds.

        :param usd: the spending cap in dollars; None removes it.
        :param api_key: key of the account; the first one by default.
        """
        spending, cap_cents = self._spending_of(api_key), None if usd is None else parse_cents(usd)
        with self._lock:
            spending.cap_cents = cap_cents

    def spend(self, usd: object, api_key: str | None = None) -> bool:
        """
        Charge an account if it holds enough and the key's cap allows it, and return whether it was charged.

        :param usd: the charge in dollars.
        :param api_key: key of the account; the first one by default.
        """
        return self.charge(usd, api_key) is None

    def charge(self, usd: object, api_key: str | None = None) -> Refusal | None:
        """
        Charge an account if it can pay, and return why not otherwise.

        :param usd: the charge in dollars.
        :param api_key: key of the account; the first one by default.
        """
        account, spending, cents = self._account(api_key), self._spending_of(api_key), parse_cents(usd)
        with self._lock:
            refusal = _refusal(account, spending, cents)
            if refusal is not None:
                self.refused_count += 1
                return refusal
            account.balance_cents = add_exactly(account.balance_cents, cents.copy_negate())
            account._unposted_charges.append((time.monotonic() + account.post_charges_after, cents))
            spending.spent_cents = add_exactly(spending.spent_cents, cents)
            return None

    def is_at_cap(self, api_key: str) -> bool:
        """
        Return whether a key has spent all that its cap allows.

        :param api_key: key of the account.
        """
        with self._lock:
            return self._spending_of(api_key).is_at_cap

    def inject(self, fault: Fault, times: int | None = 1, api_key: str | None = None) -> None:
        """
        Make the next answers about a balance go wrong, after those of the faults injected before.

        :param fault: what goes wrong.
        :param times: number of answers, 1 by default; None for all answers until ``heal``.
        :param api_key: the key of an account, whose requests go wrong; those of all keys by default.
        """
        if not isinstance(fault, Fault):
            raise invalid("fault", "a Fault")
        if api_key is not None:
            self._account(api_key)
        if times is not None and not is_whole(times, 1, 10**9):
            raise invalid("times", "null, or a number from 1 to 1000000000")
        with self._lock:
            self._faults.setdefault(api_key, deque()).append((fault, times))

    def heal(self, api_key: str | None = None) -> None:
        """
        Drop the faults to come.

        :param api_key: drop only those of this key of an account; all of them by default.
        """
        if api_key is not None:
            self._account(api_key)
        with self._lock:
            if api_key is None:
                self._faults.clear()
            else:
                self._faults.pop(api_key, None)

    def state(self) -> dict[str, Any]:
        """
        Return what the accounts hold, and count requests for a balance, refused charges and faults.

        With each account is what its key has spent, and the key's spending cap.
        """
        with self._lock:
            return {
                "accounts": [
                    self._state_of(account, self._spending[api_key])
                    for api_key, account in list(self.accounts.data.items())
                ],
                "request_count": self.request_count,
                "refused_count": self.refused_count,
                "faults": sum(times or 1 for faults in self._faults.values() for _, times in faults),
            }

    def posted_balance_cents(self, account: Account) -> Decimal:
        """Return the balance that the billing API shows: without the charges that are not posted yet."""
        with self._lock:
            now = time.monotonic()
            account._unposted_charges = [charge for charge in account._unposted_charges if charge[0] > now]
            return add_exactly(account.balance_cents, *(cents for _, cents in account._unposted_charges))

    def take_fault(self, api_key: str) -> Fault:
        """Count a request for a balance, and return what goes wrong with the answer."""
        with self._lock:
            self.request_count += 1
            faults = self._faults.get(api_key) or self._faults.get(None)
            if not faults:
                return Fault()
            fault, times = faults.popleft()
            if times != 1:
                faults.appendleft((fault, times and times - 1))
            return fault

    def _account(self, api_key: str | None) -> Account:
        account = self.accounts.get(self.api_key if api_key is None else api_key)
        if account is None:
            raise invalid("api_key", "the key of an account")
        return account

    def _spending_of(self, api_key: str | None) -> Spending:
        self._account(api_key)
        return self._spending[self.api_key if api_key is None else api_key]

    def _state_of(self, account: Account, spending: Spending) -> dict[str, Any]:
        cap_cents = spending.cap_cents
        return {
            "account_id": account.account_id,
            "balance": _shown(account.balance_cents),
            "posted_balance": _shown(self.posted_balance_cents(account)),
            "spent": _shown(spending.spent_cents),
            "spending_cap": None if cap_cents is None else _shown(cap_cents),
        }


def _refusal(account: Account, spending: Spending, cents: Decimal) -> Refusal | None:
    # You.com looks at the key first, and at the account afterwards.
    if not spending.allows(cents):
        return Refusal.SPEND_CAP_EXCEEDED
    return Refusal.OUT_OF_CREDITS if account.balance_cents < cents else None


def _to_usd(cents: Decimal) -> Decimal:
    # Without the zeros that the conversion leaves at the end.
    return Decimal(plain_text(cents_to_usd(cents)))


def _shown(cents: Decimal) -> str:
    return format_usd(cents_to_usd(cents))
