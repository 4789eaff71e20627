"""What the sandbox knows: accounts, and the faults to come."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Self

from airflow_provider_youcom.money import format_usd, parse_usd
from airflow_provider_youcom.sandbox._faults import Fault
from airflow_provider_youcom.sandbox._server import Server

DEFAULT_API_KEY = "sandbox-key"


@dataclass
class Account:
    """
    One account of the sandbox.

    :param account_id: as You.com would hash it.
    :param balance_cents: remaining credits in cents; spending and topping up change it.
    :param has_billing_scope: whether its key may ask for the balance; without, the answer is 403.
    """

    account_id: str
    balance_cents: Decimal
    has_billing_scope: bool = True


class Sandbox:
    """
    A You.com that runs on this machine.

    :param balance_usd: what the account of ``api_key`` starts with, in dollars.
    :param api_key: the key that is accepted.
    :param accounts: further keys, each with the dollars that its account starts with.
    :param host: a loopback address.
    :param port: 0 takes a free one.
    :raises ValueError: if ``host`` is not loopback, or an amount is not one.
    """

    def __init__(
        self,
        balance_usd: object = 100,
        *,
        api_key: str = DEFAULT_API_KEY,
        accounts: Mapping[str, object] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(
                f"host={host!r} would let others in: the sandbox listens on 127.0.0.1 or ::1 only."
            )
        self.api_key = api_key
        self.accounts = {
            key: _new_account(key, usd) for key, usd in {api_key: balance_usd, **(accounts or {})}.items()
        }
        self._address = (host, port)
        self._faults: dict[str | None, deque[Fault]] = {}
        self._lock = threading.Lock()
        self._server: Server | None = None
        self.request_count = 0
        self.connection_count = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, and answer in the background. A sandbox that was stopped comes back at the same port."""
        self._server = Server(self._address, self)
        self._address = self._server.server_address[:2]  # type: ignore[assignment]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and cut every connection; what the accounts hold is kept."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def base_url(self) -> str:
        """Where it listens, for a connection's host."""
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def connection(self, api_key: str | None = None) -> str:
        """
        Give the JSON to put into an ``AIRFLOW_CONN_…`` variable.

        :param api_key: whose account; the first one by default.
        """
        return json.dumps({"conn_type": "youcom", "host": self.base_url, "password": api_key or self.api_key})

    def balance_usd(self, api_key: str | None = None) -> Decimal:
        """
        Give what an account holds, in dollars.

        :param api_key: whose account; the first one by default.
        """
        return self.accounts[api_key or self.api_key].balance_cents / 100

    def set_balance(self, usd: object, api_key: str | None = None) -> None:
        """
        Make an account hold this much.

        :param usd: in dollars.
        :param api_key: whose account; the first one by default.
        """
        with self._lock:
            self.accounts[api_key or self.api_key].balance_cents = parse_usd(usd, "usd") * 100

    def top_up(self, usd: object, api_key: str | None = None) -> None:
        """
        Add credits to an account.

        :param usd: in dollars.
        :param api_key: whose account; the first one by default.
        """
        with self._lock:
            self.accounts[api_key or self.api_key].balance_cents += parse_usd(usd, "usd") * 100

    def spend(self, usd: object, api_key: str | None = None) -> bool:
        """
        Take credits from an account; tells whether it held enough.

        :param usd: in dollars.
        :param api_key: whose account; the first one by default.
        """
        cents = parse_usd(usd, "usd") * 100
        with self._lock:
            account = self.accounts[api_key or self.api_key]
            if account.balance_cents < cents:
                return False
            account.balance_cents -= cents
            return True

    def inject(self, fault: Fault, times: int | None = 1, api_key: str | None = None) -> None:
        """
        Let the next answers about a balance go wrong.

        :param fault: how.
        :param times: how many answers, behind those injected before; None for all until ``heal``.
        :param api_key: strike only this key's requests; all of them by default.
        """
        with self._lock:
            faults = self._faults.setdefault(api_key, deque())
            faults.extend([fault] * times if times is not None else [replace(fault, lasting=True)])

    def heal(self, api_key: str | None = None) -> None:
        """
        Forget the faults that have not struck yet.

        :param api_key: only those of this key; all of them by default.
        """
        with self._lock:
            if api_key is None:
                self._faults.clear()
            else:
                self._faults.pop(api_key, None)

    def state(self) -> dict[str, Any]:
        """Tell what the accounts hold, how often the balance was asked, and how many faults wait."""
        with self._lock:
            return {
                "accounts": [
                    {"account_id": account.account_id, "balance": format_usd(account.balance_cents / 100)}
                    for account in self.accounts.values()
                ],
                "request_count": self.request_count,
                "faults": sum(len(faults) for faults in self._faults.values()),
            }

    def next_fault(self, api_key: str) -> Fault:
        """
        Count a request for a balance, and give what strikes its answer.

        :param api_key: the key that came with it.
        """
        with self._lock:
            self.request_count += 1
            faults = self._faults.get(api_key) or self._faults.get(None)
            if not faults:
                return Fault()
            return faults[0] if faults[0].lasting else faults.popleft()


def _new_account(api_key: str, usd: object) -> Account:
    account_id = hashlib.sha256(api_key.encode()).hexdigest()[:24]
    return Account(account_id, parse_usd(usd, "balance_usd") * 100)
