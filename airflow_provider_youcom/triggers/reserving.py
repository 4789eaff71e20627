"""The trigger of a gate that reserves: wait without a worker until enough is available, and reserve it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComError, YouComLedgerUnavailableError, YouComRefusedError
from airflow_provider_youcom.triggers.balance import BalanceTrigger

if TYPE_CHECKING:
    from airflow_provider_youcom.available import AvailableCredits
    from airflow_provider_youcom.gate import Reading
    from airflow_provider_youcom.hooks._reservations.checking import Check, Noted
    from airflow_provider_youcom.reservations.claim import Claim


@dataclasses.dataclass(eq=False, repr=False)
class ReservingBalanceTrigger(BalanceTrigger):
    """
    Fire once, when the gate decides, and reserve what it needs when it opens.

    It shares the poll of all gates on its connection. Only a gate that could open asks the ledger.

    :param claim: what to reserve and for whom, as ``Claim.to_json`` returns it.
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
            return await self._reserve(check, check.noted, check.reading)
        except YouComError as error:
            return error

    async def _reserve(self, check: Check, noted: Noted, balance: AccountBalance) -> Reading:
        from airflow_provider_youcom.hooks._reservations.checking import ask_ledger
        from airflow_provider_youcom.hooks._reservations.reserving import decide
        from airflow_provider_youcom.reservations.claim import Claim

        claim = dataclasses.replace(Claim.from_json(self.claim), settle_seconds=noted.settle_seconds)
        available = check.left_for(claim, noted, balance)
        if available is None:
            available = await ask_ledger(lambda: decide(noted.ledger, claim, balance, noted.note))
            if available is None:
                return YouComLedgerUnavailableError(
                    "What is reserved is unknown, since old entries of the ledger were deleted during this "
                    "check; the next one will tell."
                )
            check.remember(available, claim)
        if available.reservation_id is None:
            await self._end_what_is_over(noted, claim, available)
        return available

    async def _end_what_is_over(self, noted: Noted, claim: Claim, available: AvailableCredits) -> None:
        """End reservations that nobody spends from any more, so that the next check does not count them."""
        from airflow_provider_youcom.hooks._reservations.checking import ask_ledger
        from airflow_provider_youcom.hooks._reservations.counts import count_through
        from airflow_provider_youcom.hooks._reservations.ending import end_of_earlier_tries, end_of_lost

        count = count_through(asyncio.get_running_loop())
        if available.own_run_usd:
            await ask_ledger(lambda: end_of_earlier_tries(noted.ledger, claim.attempt, count))
        # One gate of a shared poll does it for all.
        if noted.take_keeping():
            await ask_ledger(lambda: end_of_lost(noted.ledger, claim.attempt.gate, count))
