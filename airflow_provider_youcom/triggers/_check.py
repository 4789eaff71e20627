"""One check for all triggers that share a poll: what is reserved, and then the balance."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakKeyDictionary

from airflow_provider_youcom import _metrics
from airflow_provider_youcom._masking import no_key_in_errors
from airflow_provider_youcom._off_the_loop import Threads
from airflow_provider_youcom.balance import AccountBalance, AvailableCredits
from airflow_provider_youcom.exceptions import YouComError, YouComLedgerUnavailableError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.claim import Claim
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Decision, Note

log = logging.getLogger(__name__)

Result = TypeVar("Result")

# The longest that a trigger waits for the ledger, its turn included.
LEDGER_SECONDS = 20.0
# Decisions of one ledger wait for one another in its database anyway. With few threads for each ledger, one
# that hangs holds up neither another ledger nor the checks of other connections.
_THREADS_FOR_A_LEDGER = 4
_threads: WeakKeyDictionary[Ledger, Threads] = WeakKeyDictionary()
# A check does not wait for longer than this to store what it has read.
_STORE_SECONDS = 1.0
_storing: WeakKeyDictionary[Ledger, Threads] = WeakKeyDictionary()
# They also ask Airflow, which may take long.
_housekeeping = Threads(2)


@dataclass
class Noted:
    """
    What the ledger held before You.com was asked.

    :param note: what it held, and what those who share this check have reserved since.
    :param settle_seconds: how late You.com may post a charge.
    :param hold_seconds: for how long credits are held for a gate while nothing opens and no more come in.
    """

    ledger: Ledger
    note: Note
    settle_seconds: float
    hold_seconds: float
    _lost_are_ended: bool = field(default=False, init=False)

    async def decide(self, claim: Claim, balance: AccountBalance) -> AvailableCredits:
        """
        Reserve what is claimed if it is available, and return what is.

        :raises YouComLedgerUnavailableError: if the ledger does not answer.
        :raises YouComRefusedError: if a newer attempt of the gate has asked for credits.
        """
        if not self.note.needs_decision(claim, balance):
            return self.note.available(balance, claim.attempt.holder)
        decision = await _ask_ledger(self.ledger, lambda: self._decide(claim, balance))
        self.note = self.note.after(decision)
        return decision.available

    async def follow(self, balance: AccountBalance) -> None:
        """Store that more has come in, or end the holds that were in vain."""
        await _write_line(self.ledger, lambda: self.ledger.line.follow(self.note, balance, self.hold_seconds))

    async def store(self, balance: AccountBalance) -> None:
        """Store what was read in the ledger. A failure is logged."""
        accounts, note = self.ledger.accounts, self.note
        # It also fails if no thread can be started.
        with suppress(TimeoutError, RuntimeError):
            await _storing.setdefault(self.ledger, Threads(1)).run(
                lambda: accounts.store(balance, note), _STORE_SECONDS
            )

    def start_ending_lost(self) -> bool:
        """Return True to the first of those who share this check, and False to the others."""
        is_first, self._lost_are_ended = not self._lost_are_ended, True
        return is_first

    def _decide(self, claim: Claim, balance: AccountBalance) -> Decision:
        note = self.note
        if not note.needs_decision(claim, balance):
            # Others of this check have reserved while this gate waited for its turn.
            return Decision(note.available(balance, claim.attempt.holder), None)
        return self.ledger.decide(claim, balance, note, self.settle_seconds)


@dataclass
class Check:
    """
    One check of a connection.

    :param reading: the balance, or the error that took its place.
    :param noted: what was reserved before, or why that is unknown; None if the connection names no ledger.
    :param account_id: the account of the last balance that was read, in this check or an earlier one; empty
        if there was none.
    :param next_in_seconds: when the next check is, if that is later than an interval; None if it is not.
    :param waiting: the claims of the gates that go on waiting, which each adds itself. All checks of a poll
        have the same list: a gate that adds itself to an earlier check is in line at the next one.
    """

    reading: AccountBalance | YouComError
    noted: Noted | YouComError | None = None
    account_id: str = ""
    next_in_seconds: float | None = None
    waiting: list[Claim] = field(default_factory=list)

    def report(self, youcom_conn_id: str) -> None:
        """Send what was found as metrics."""
        if isinstance(self.reading, YouComError):
            _metrics.increment_checks_without_balance(youcom_conn_id)
            return
        _metrics.set_balance(youcom_conn_id, self.reading.balance_usd)
        if isinstance(self.noted, Noted):
            available = self.noted.note.available(self.reading)
            _metrics.set_reserved(
                youcom_conn_id,
                reserved_usd=available.reserved_usd,
                available_usd=available.available_usd,
            )
            line = self.noted.note.of(self.reading.account_id).line
            _metrics.set_waiting(youcom_conn_id, gates=len(line.places), needed_usd=line.needed_usd)


async def check(youcom_conn_id: str, poke_interval: float = 60.0, last: Check | None = None) -> Check:
    """
    Return what is reserved and what the account holds, without blocking the event loop.

    :param youcom_conn_id: the connection. It is read each time, since its key may have been rotated.
    :param poke_interval: seconds between two checks. Default: 60.
    :param last: the check before, if any. The gates that went on waiting after it keep their places in line.
    """
    hook = YouComHook(youcom_conn_id)
    account_id, waiting = (last.account_id, last.waiting) if last else ("", [])
    in_line = _take_waiting(last) if last else None
    try:
        with no_key_in_errors():
            await hook.aconnect()
            noted = await _note(hook, in_line, poke_interval) if hook.has_ledger else None
            balance = await hook.client.aget_balance()
    except YouComError as error:
        return Check(error, account_id=account_id, waiting=waiting)
    if isinstance(noted, Noted):
        await noted.follow(balance)
        await noted.store(balance)
    return Check(balance, noted, balance.account_id, waiting=waiting)


@dataclass(frozen=True)
class _Waiting:
    """The gates that wait for the credits of an account, by a note."""

    claims: list[Claim]
    account_id: str
    note: Note | None


def _take_waiting(check: Check) -> _Waiting:
    """Empty the list of the gates that went on waiting after a check, and return each of them once."""
    claims = list({claim.attempt.id: claim for claim in check.waiting}.values())
    check.waiting.clear()
    return _Waiting(claims, check.account_id, check.noted.note if isinstance(check.noted, Noted) else None)


async def _note(hook: YouComHook, in_line: _Waiting | None, poke_interval: float) -> Noted | YouComError:
    try:
        ledger = await hook.aget_ledger()
        if in_line:
            await _keep(ledger, in_line, poke_interval)
        note = await _ask_ledger(ledger, ledger.note)
    except YouComError as error:
        return error
    except Exception as error:
        # Each gate that reserves fails its attempt. That is no reason to doubt the balance.
        log.exception("The ledger was not read")
        return YouComError(
            "What is reserved is unknown, since the ledger was not read (unexpected "
            f"{type(error).__name__}); the traceback is in the log of one of the gates on this connection, "
            "so please report it to the provider's developers."
        )
    return Noted(ledger, note, hook.settle_seconds, hook.hold_seconds)


async def keep_house(work: Callable[[], None]) -> None:
    """
    End reservations that are over, without blocking the event loop. A failure is logged.

    :param work: a function that asks the ledger and Airflow.
    """
    try:
        await _housekeeping.run(work, LEDGER_SECONDS)
    except TimeoutError:
        log.warning(
            "Airflow or the ledger is slow to say which reservations can be ended; trying again later."
        )
    except Exception:
        # It is no reason to doubt the reading.
        log.exception("Reservations that nobody spends from any more could not be ended; trying again later.")


async def keep_places(check: Check, poke_interval: float) -> None:
    """
    Keep the places of the gates that have seen a check, without waiting for the next check.

    :param check: the check.
    :param poke_interval: seconds between two checks.
    """
    if isinstance(check.noted, Noted):
        await _keep(check.noted.ledger, _take_waiting(check), poke_interval)


async def _keep(ledger: Ledger, waiting: _Waiting, poke_interval: float) -> None:
    line, claims, account_id = ledger.line, waiting.claims, waiting.account_id
    if not claims:
        return
    if account_id:
        await _write_line(ledger, lambda: line.keep(claims, account_id, poke_interval, waiting.note))
    else:
        # You.com has not answered since this poll began.
        await _write_line(ledger, lambda: line.stay(claims, poke_interval))


async def _write_line(ledger: Ledger, write: Callable[[], object]) -> None:
    """Write the line. A failure is logged, since the reading does not depend on it."""
    try:
        await _ask_ledger(ledger, write)
    except YouComLedgerUnavailableError as error:
        log.warning("The places of gates in line were not written: %s", error)
    except Exception:
        log.exception("The places of gates in line were not written")


async def _ask_ledger(ledger: Ledger, call: Callable[[], Result]) -> Result:
    threads = _threads.setdefault(ledger, Threads(_THREADS_FOR_A_LEDGER))
    try:
        return await threads.run(call, LEDGER_SECONDS)
    except TimeoutError:
        raise YouComLedgerUnavailableError(
            "What is reserved is unknown, since the ledger did not answer within "
            f"{LEDGER_SECONDS:g} s: check its database."
        ) from None
