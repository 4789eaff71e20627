"""The trigger of a gate that reserves: wait without a worker until enough is available, and reserve it."""

from __future__ import annotations

import asyncio
import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_youcom._airflow import LEDGER_ID_KEY
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComError, YouComRefusedError
from airflow_provider_youcom.triggers.balance import BalanceTrigger

if TYPE_CHECKING:
    from airflow_provider_youcom.balance import AvailableCredits
    from airflow_provider_youcom.gate import Reading, Verdict
    from airflow_provider_youcom.ledger.claim import Claim
    from airflow_provider_youcom.triggers._check import Check, Noted


@dataclasses.dataclass(eq=False, repr=False)
class ReservingBalanceTrigger(BalanceTrigger):
    """
    Fire once, when the gate decides, and reserve what it needs when it opens.

    It shares the poll of all gates on its connection. Only a gate that could open asks the ledger.

    :param claim: for whom to reserve ``min_usd``, as ``Claim.to_json`` returns it.
    """

    claim: dict[str, Any] = dataclasses.field(default_factory=dict)

    async def _read(self, check: Check) -> Reading:
        if isinstance(check.reading, YouComError):
            return check.reading
        if isinstance(check.noted, YouComError):
            return check.noted
        if check.noted is None:
            return YouComRefusedError(
                f"Connection {self.youcom_conn_id!r} does not name a ledger any more: put the id of a "
                'connection into its field "Ledger connection" again (extra ledger_conn_id).'
            )
        try:
            return await self._reserve(check.noted, check.reading)
        except YouComError as error:
            return error

    def _go_on_waiting(self, check: Check) -> None:
        # Those with another policy do not wait for credits, only for You.com to answer.
        if self.on_shortfall == "wait":
            check.waiting.append(self._claim())

    def _xcoms(self, verdict: Verdict) -> dict[str, Any]:
        return {**super()._xcoms(verdict), LEDGER_ID_KEY: self.claim["ledger_id"]}

    async def _reserve(self, noted: Noted, balance: AccountBalance) -> Reading:
        claim = self._claim()
        available = await noted.decide(claim, balance)
        if available.reservation_id is None:
            await self._end_what_is_over(noted, claim, available)
        return available

    def _claim(self) -> Claim:
        from airflow_provider_youcom.ledger.claim import Claim

        return Claim.from_json(self.claim, Decimal(self.min_usd))

    async def _end_what_is_over(self, noted: Noted, claim: Claim, available: AvailableCredits) -> None:
        """End reservations that nobody spends from any more, so that the next check does not count them."""
        from airflow_provider_youcom._airflow import ask_through
        from airflow_provider_youcom.ledger.abandoned import end_earlier_attempts, end_lost
        from airflow_provider_youcom.triggers._check import keep_house

        ask, attempt = ask_through(asyncio.get_running_loop()), claim.attempt
        if available.own_run_usd:
            await keep_house(lambda: end_earlier_attempts(noted.ledger, attempt, ask))
        if noted.start_ending_lost():
            await keep_house(lambda: end_lost(noted.ledger, attempt.holder, ask))
