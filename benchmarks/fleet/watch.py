"""A watch on the account and the ledger while a fleet spends."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComError

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_youcom.ledger.ledger import Ledger
    from airflow_provider_youcom.sandbox import Sandbox
    from benchmarks.fleet.plan import Plan


class Watch(threading.Thread):
    """
    Watches the account and the ledger inside a ``with`` block.

    :param sandbox: the You.com that the runs pay.
    :param ledger: the ledger of the gates that reserve.
    :param plan: what the runs pay.
    """

    def __init__(self, sandbox: Sandbox, ledger: Ledger, plan: Plan) -> None:
        super().__init__(daemon=True)
        self.balances: list[tuple[float, float]] = []
        self.checks_missed = 0
        self._sandbox = sandbox
        self._ledger = ledger
        self._plan = plan
        self._over = threading.Event()
        self._payable_since: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Read the balance fifty times a second, and the ledger every second."""
        readings = 0
        while not self._over.wait(0.02):
            usd = float(self._sandbox.balance_usd())
            if not self.balances or self.balances[-1][1] != usd:
                self.balances.append((time.time(), usd))
            readings += 1
            if readings % 50 == 0:
                self._read_ledger()

    def _read_ledger(self) -> None:
        asked = self._sandbox.request_count
        with suppress(YouComError):
            if not self._one_could_be_paid():
                self._payable_since = None
                return
            if self._payable_since is None:
                self._payable_since = asked
            # The first of these checks may have been under way when the money came.
            self.checks_missed = max(self.checks_missed, asked - self._payable_since - 1)

    def _one_could_be_paid(self) -> bool:
        note = self._ledger.note()
        account = self._sandbox.accounts[self._sandbox.api_key]
        cents = self._sandbox.posted_balance_cents(account)
        balance = AccountBalance(account.account_id, cents, datetime.now(UTC))
        waiting = self._plan.runs - len(self._ledger.history(limit=self._plan.runs))
        return waiting > 0 and note.available(balance).available_usd >= self._plan.run_usd
