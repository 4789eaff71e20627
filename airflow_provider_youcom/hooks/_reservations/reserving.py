"""Reserve credits in three steps: note what is reserved, ask You.com, decide."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_youcom.available import AvailableCredits
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError, YouComRefusedError
from airflow_provider_youcom.reservations.claim import Claim
from airflow_provider_youcom.reservations.ledger import Ledger
from airflow_provider_youcom.reservations.reservation import Decision, Note, new_decision_id
from airflow_provider_youcom.reservations.rule import Outcome


def reserve(ask: Callable[[], AccountBalance], ledger: Ledger, claim: Claim) -> AvailableCredits:
    """
    Reserve what is claimed if it is available, and return what is.

    :param ask: asks You.com for the balance.
    :param ledger: where reservations are kept.
    :param claim: who wants to reserve, and how much.
    :raises YouComRefusedError: if a newer try of the same task has reserved.
    """
    while True:
        note = ledger.note()
        available = decide(ledger, claim, ask(), note)
        if available is not None:
            return available


def decide(ledger: Ledger, claim: Claim, balance: AccountBalance, note: Note) -> AvailableCredits | None:
    """
    Reserve what is claimed if it is available, and return what is; None if the note is too old.

    :param ledger: where reservations are kept.
    :param claim: who wants to reserve, and how much.
    :param balance: You.com's answer; it was asked after the note was made.
    :param note: what the ledger held before.
    :raises YouComRefusedError: if a newer try of the same task has reserved.
    """
    if not note.could_open(claim, balance):
        return note.available(balance, claim.attempt.gate)
    decision = _decide_once(ledger, claim, balance, note)
    if decision.outcome is Outcome.OUTDATED:
        return None
    if decision.outcome is Outcome.STALE:
        raise YouComRefusedError(
            f"A newer try of task {claim.attempt.gate.task_id!r} has asked for credits, so this one "
            "reserves nothing: let it end."
        )
    return decision.available


def _decide_once(ledger: Ledger, claim: Claim, balance: AccountBalance, note: Note) -> Decision:
    decision_id = new_decision_id()
    try:
        return ledger.decide(claim, balance, note, decision_id)
    except YouComLedgerUnavailableError:
        # It may have been decided, and the answer lost: the same id reserves once.
        return ledger.decide(claim, balance, note, decision_id)
