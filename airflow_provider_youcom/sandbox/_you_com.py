"""A You.com in memory: its accounts, and the faults to come."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import KW_ONLY, dataclass, field
from decimal import Decimal
from typing import Any

from airflow_provider_youcom.money import format_usd, parse_usd
from airflow_provider_youcom.sandbox._faults import Fault, invalid, is_whole

_LARGEST_AMOUNT_USD = 10**12


@dataclass
class Account:
    """
    One account of the sandbox.

    :param account_id: the hashed identifier that the billing API returns.
    :param balance_cents: remaining credits in cents, which charges and top-ups change.
    :param has_billing_scope: whether its key may read the balance; if not, the billing API answers 403.
    :param post_charges_after: seconds until the billing API shows a charge, 0 by default.
    """

    account_id: str
    balance_cents: Decimal
    has_billing_scope: bool = True
    _: KW_ONLY
    post_charges_after: float = 0.0
    _unposted_charges: list[tuple[float, Decimal]] = field(default_factory=list, init=False, repr=False)


class YouCom:
    """A You.com in memory, for the sandbox to serve; threads may share it."""

    def __init__(self, accounts: dict[str, Account], api_key: str) -> None:
        self.api_key = api_key
        self.accounts = accounts
        self.request_count = 0
        self.connection_count = 0
        self.refused_count = 0
        self._faults: dict[str | None, deque[tuple[Fault, int | None]]] = {}
        self._lock = threading.RLock()

    def balance_usd(self, api_key: str | None = None) -> Decimal:
        """
        Return what an account holds, in dollars, whether its charges are posted or not.

        :param api_key: key of the account; the first one by default.
        """
        return self._account(api_key).balance_cents / 100

    def set_balance(self, usd: object, api_key: str | None = None) -> None:
        """
        Replace the balance of an account, and post all its charges.

        :param usd: the new balance in dollars.
        :param api_key: key of the account; the first one by default.
        """
        account, cents = self._account(api_key), _parse_cents(usd)
        with self._lock:
            account.balance_cents = cents
            account._unposted_charges.clear()

    def top_up(self, usd: object, api_key: str | None = None) -> None:
        """
        Add credits to an account, which the billing API shows at once.

        :param usd: the credits in dollars.
        :param api_key: key of the account; the first one by default.
        """
        account, cents = self._account(api_key), _parse_cents(usd)
        with self._lock:
            account.balance_cents += cents

    def spend(self, usd: object, api_key: str | None = None) -> bool:
        """
        Charge an account if it holds enough, and return whether it did.

        :param usd: the charge in dollars.
        :param api_key: key of the account; the first one by default.
        """
        account, cents = self._account(api_key), _parse_cents(usd)
        with self._lock:
            if account.balance_cents < cents:
                self.refused_count += 1
                return False
            account.balance_cents -= cents
            account._unposted_charges.append((time.monotonic() + account.post_charges_after, cents))
            return True

    def inject(self, fault: Fault, times: int | None = 1, api_key: str | None = None) -> None:
        """
        Make the next answers about a balance go wrong, after those of the faults injected before.

        :param fault: what goes wrong.
        :param times: number of answers, 1 by default; None for all answers until ``heal``.
        :param api_key: the key whose requests go wrong; those of all keys by default.
        """
        if times is not None and not is_whole(times, 1, 10**9):
            raise invalid("times", "null, or a number from 1 to 1000000000")
        with self._lock:
            self._faults.setdefault(api_key, deque()).append((fault, times))

    def heal(self, api_key: str | None = None) -> None:
        """
        Drop the faults to come.

        :param api_key: drop only those of this key; all of them by default.
        """
        with self._lock:
            if api_key is None:
                self._faults.clear()
            else:
                self._faults.pop(api_key, None)

    def state(self) -> dict[str, Any]:
        """Return what the accounts hold, and count requests for a balance, refused charges and faults."""
        with self._lock:
            return {
                "accounts": [
                    {
                        "account_id": account.account_id,
                        "balance": format_usd(account.balance_cents / 100),
                        "posted_balance": format_usd(self.posted_balance_cents(account) / 100),
                    }
                    for account in list(self.accounts.values())
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
            return account.balance_cents + sum(cents for _, cents in account._unposted_charges)

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


def _parse_cents(usd: object) -> Decimal:
    amount_usd = parse_usd(usd, "usd")
    if amount_usd > _LARGEST_AMOUNT_USD:
        raise invalid("usd", f"at most {_LARGEST_AMOUNT_USD}")
    return amount_usd * 100
