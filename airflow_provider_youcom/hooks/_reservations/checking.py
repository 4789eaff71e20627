"""One check for all triggers that share a poll: what is reserved, and then the balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

from airflow_provider_youcom._metrics import CHECK_FAILED, count, gauge
from airflow_provider_youcom.available import AvailableCredits
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.billing._masking import no_key_in_errors
from airflow_provider_youcom.exceptions import YouComError, YouComLedgerUnavailableError
from airflow_provider_youcom.hooks._asking import ask
from airflow_provider_youcom.hooks._connection import Settings
from airflow_provider_youcom.hooks._lookup import wait_for_connection
from airflow_provider_youcom.hooks._off_the_loop import run_off_the_loop
from airflow_provider_youcom.hooks._reservations.opening import aopen_ledger
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.money import subtract_usd
from airflow_provider_youcom.reservations.claim import Claim
from airflow_provider_youcom.reservations.ledger import Ledger
from airflow_provider_youcom.reservations.reservation import Note

Result = TypeVar("Result")

# The ledger bounds each statement; this bounds a database that has frozen, or a network that swallows.
LEDGER_SECONDS = 20.0


@dataclass
class Noted:
    """
    What the ledger held before You.com was asked.

    :param ledger: where reservations are kept.
    :param note: what it held.
    :param settle_seconds: how late You.com may post a charge.
    """

    ledger: Ledger
    note: Note
    settle_seconds: float
    _is_kept: bool = field(default=False, init=False)

    def take_keeping(self) -> bool:
        """Return True to the first of those who share this check, and False to the others."""
        was_kept, self._is_kept = self._is_kept, True
        return not was_kept


@dataclass
class Check:
    """
    One check of a connection.

    :param reading: the balance, or the error that took its place.
    :param noted: what was reserved before, or why that is unknown; None if the connection names no ledger.
    """

    reading: AccountBalance | YouComError
    noted: Noted | YouComError | None = None
    _left: AvailableCredits | None = field(default=None, init=False)

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

    def left_for(self, claim: Claim, noted: Noted, balance: AccountBalance) -> AvailableCredits | None:
        """
        Return what is available if that is too little to decide; None if it may be enough.

        A thousand gates that wait together have one note. Once some of them have reserved, the others know
        without asking the ledger.

        :param claim: what the gate wants.
        :param noted: what was reserved before this check.
        :param balance: its balance.
        """
        if claim.attempt.id in noted.note.of(balance.account_id).attempts:
            return None
        left = self._left or noted.note.available(balance)
        if left.available_usd >= claim.amount_usd:
            return None
        own = noted.note.of(balance.account_id).reserved_for_run_usd(claim.attempt.gate)
        return replace(left, own_run_usd=own)

    def remember(self, available: AvailableCredits, claim: Claim) -> None:
        """
        Remember what one gate has left for the others.

        :param available: what was available when it decided.
        :param claim: what it wanted.
        """
        reserved = claim.amount_usd if available.reservation_id is not None else Decimal(0)
        left = replace(
            available,
            available_usd=subtract_usd(available.available_usd, reserved),
            reserved_usd=subtract_usd(available.reserved_usd, reserved.copy_negate()),
            reserved_runs=available.reserved_runs + (available.reservation_id is not None),
            reservation_id=None,
        )
        if self._left is None or left.available_usd < self._left.available_usd:
            self._left = left


async def check(youcom_conn_id: str) -> Check:
    """
    Return what is reserved and what the account holds, without blocking the event loop.

    :param youcom_conn_id: the connection. It is read each time, since its key may have been rotated.
    """
    try:
        with no_key_in_errors():
            settings = await YouComHook(youcom_conn_id).aread_connection()
            noted = await _note(settings) if settings.ledger_conn_id else None
            return Check(await ask(settings.client), noted)
    except YouComError as error:
        return Check(error)


async def _note(settings: Settings) -> Noted | YouComError:
    try:
        opening = aopen_ledger(settings.ledger_conn_id, settings.client.key_name)
        ledger = await wait_for_connection(opening, f"connection {settings.ledger_conn_id!r}")
        note = await ask_ledger(ledger.note)
    except YouComError as error:
        return error
    return Noted(ledger, note, settings.settle_seconds)


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
