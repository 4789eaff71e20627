"""One check for all triggers that share a poll: what is reserved, and then the balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from airflow_provider_youcom._masking import no_key_in_errors
from airflow_provider_youcom._metrics import CHECK_FAILED, count, gauge
from airflow_provider_youcom._off_the_loop import run_off_the_loop
from airflow_provider_youcom.balance import AccountBalance, AvailableCredits
from airflow_provider_youcom.exceptions import YouComError, YouComLedgerUnavailableError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.claim import Claim
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Note

Result = TypeVar("Result")

# The ledger bounds each statement; this bounds a database that has frozen, or a network that swallows.
LEDGER_SECONDS = 20.0


@dataclass
class Noted:
    """
    What the ledger held before You.com was asked.

    :param ledger: where reservations are kept.
    :param note: what it held, and what those who share this check have reserved since.
    :param settle_seconds: how late You.com may post a charge.
    """

    ledger: Ledger
    note: Note
    settle_seconds: float
    _lost_are_ended: bool = field(default=False, init=False)

    async def decide(self, claim: Claim, balance: AccountBalance) -> AvailableCredits:
        """
        Reserve what is claimed if it is available, and return what is.

        :param claim: what a gate wants to reserve.
        :param balance: You.com's answer.
        :raises YouComLedgerUnavailableError: if the ledger does not answer.
        :raises YouComRefusedError: if a newer try of the gate has asked for credits.
        """
        if not self.note.could_open(claim, balance):
            return self.note.available(balance, claim.attempt.holder)
        note = self.note
        decision = await ask_ledger(lambda: self.ledger.decide(claim, balance, note, self.settle_seconds))
        self.note = self.note.after(decision)
        return decision.available

    def may_end_lost(self) -> bool:
        """Return True to the first of those who share this check, and False to the others."""
        is_first, self._lost_are_ended = not self._lost_are_ended, True
        return is_first


@dataclass
class Check:
    """
    One check of a connection.

    :param reading: the balance, or the error that took its place.
    :param noted: what was reserved before, or why that is unknown; None if the connection names no ledger.
    """

    reading: AccountBalance | YouComError
    noted: Noted | YouComError | None = None

    def report(self, youcom_conn_id: str) -> None:
        """
        Send what was found as metrics.

        :param youcom_conn_id: the connection.
        """
        if isinstance(self.reading, YouComError):
            count(CHECK_FAILED, youcom_conn_id)
            return
        gauge("balance_usd", self.reading.balance_usd, youcom_conn_id)
        if isinstance(self.noted, Noted):
            available = self.noted.note.available(self.reading)
            gauge("reserved_usd", available.reserved_usd, youcom_conn_id)
            gauge("available_usd", available.available_usd, youcom_conn_id)


async def check(youcom_conn_id: str) -> Check:
    """
    Return what is reserved and what the account holds, without blocking the event loop.

    :param youcom_conn_id: the connection. It is read each time, since its key may have been rotated.
    """
    hook = YouComHook(youcom_conn_id)
    try:
        with no_key_in_errors():
            await hook.aconnect()
            noted = await _note(hook) if hook.has_ledger else None
            return Check(await hook.client.aget_balance(), noted)
    except YouComError as error:
        return Check(error)


async def _note(hook: YouComHook) -> Noted | YouComError:
    try:
        ledger = await hook.aget_ledger()
        note = await ask_ledger(ledger.note)
    except YouComError as error:
        return error
    return Noted(ledger, note, hook.settle_seconds)


async def ask_ledger(call: Callable[[], Result]) -> Result:
    """
    Call the ledger without blocking the event loop.

    :param call: a call of the ledger.
    :raises YouComLedgerUnavailableError: if it takes too long.
    """
    try:
        return await run_off_the_loop(call, LEDGER_SECONDS)
    except TimeoutError:
        raise YouComLedgerUnavailableError(
            "What is reserved is unknown, since the ledger did not answer within "
            f"{LEDGER_SECONDS:g} s: check its database."
        ) from None
