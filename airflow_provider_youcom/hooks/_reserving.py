"""Reserve credits for the code of one task, or of a script."""

from __future__ import annotations

import logging
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from airflow_provider_youcom.exceptions import YouComError, YouComRefusedError
from airflow_provider_youcom.hooks._holder import current_holder
from airflow_provider_youcom.money import format_usd
from airflow_provider_youcom.reservations.exceptions import YouComLedgerUnavailableError, YouComShortfallError
from airflow_provider_youcom.reservations.reservation import Claim, Decision, new_decision_id
from airflow_provider_youcom.reservations.rule import EndReason, Outcome

if TYPE_CHECKING:
    from airflow_provider_youcom.billing.client import BillingClient
    from airflow_provider_youcom.reservations.ledger import Ledger
    from airflow_provider_youcom.reservations.reservation import Reservation

log = logging.getLogger(__name__)


def reserve(
    client: BillingClient, ledger: Ledger, *, usd: Decimal, settle_seconds: float, reserve_for_seconds: float
) -> Reservation:
    """
    Return a reservation that now stands.

    :param client: reads the balance.
    :param ledger: where reservations are kept.
    :param usd: how much to reserve, in dollars.
    :param settle_seconds: how late You.com may post a charge.
    :param reserve_for_seconds: after how long the reservation expires.
    :raises YouComShortfallError: if less is available.
    :raises YouComRefusedError: if a newer try of this task has reserved.
    """
    claim = Claim(current_holder(), usd, settle_seconds, reserve_for_seconds)
    _end_what_earlier_tries_left(ledger, claim)
    decision = _decide(client, ledger, claim)
    while decision.outcome is Outcome.OUTDATED:
        decision = _decide(client, ledger, claim)
    if decision.outcome is Outcome.STALE:
        raise YouComRefusedError(
            f"A newer try of task {claim.attempt.gate.task_id!r} has reserved credits: let this one end."
        )
    if decision.reservation is None:
        raise _shortfall(decision, usd)
    log.info("%s", _describe(decision, usd))
    return decision.reservation


def release(ledger: Ledger, reservation: Reservation) -> None:
    """
    End a reservation whose code is done, or leave it to expire if the ledger does not answer.

    :param ledger: where reservations are kept.
    :param reservation: what to end.
    """
    _end(ledger, reservation, EndReason.RELEASED)


def give_up(ledger: Ledger, reservation: Reservation) -> None:
    """
    End a reservation whose code has failed, and whose calls may still be on their way.

    :param ledger: where reservations are kept.
    :param reservation: what to end.
    """
    _end(ledger, reservation, EndReason.CUT_SHORT)


def _end(ledger: Ledger, reservation: Reservation, reason: EndReason) -> None:
    try:
        (ended,) = ledger.end([reservation.id], reason, by="reserved_credits")
    except YouComError as error:
        log.warning(
            "The reservation %s is left to expire at %s: %s", reservation.id, reservation.expires_at, error
        )
        return
    if ended.end_reason is EndReason.EXPIRED:
        log.warning(
            "The reservation of %s expired at %s, before the code that it was for had ended; set reserve_for "
            "to a longer time.",
            format_usd(ended.amount_usd),
            ended.ended_at,
        )


def _end_what_earlier_tries_left(ledger: Ledger, claim: Claim) -> None:
    gate, order = claim.attempt.gate, claim.attempt.order
    standing = ledger.standing(
        deployment=gate.deployment,
        dag_id=gate.dag_id,
        run_id=gate.run_id,
        task_id=gate.task_id,
        map_index=gate.map_index,
    )
    left = [each.id for each in standing if each.attempt.order < order]
    ledger.end(left, EndReason.SUPERSEDED, by=f"attempt {claim.attempt.id}")


def _decide(client: BillingClient, ledger: Ledger, claim: Claim) -> Decision:
    note = ledger.note()
    balance = client.get_balance()
    decision_id = new_decision_id()
    try:
        return ledger.decide(claim, balance, note, decision_id)
    except YouComLedgerUnavailableError:
        # It may have been decided, and the answer lost: the same id reserves once.
        return ledger.decide(claim, balance, note, decision_id)


def _shortfall(decision: Decision, usd: Decimal) -> YouComShortfallError:
    return YouComShortfallError(
        f"{_available(decision)}, {format_usd(decision.missing_usd, ROUND_CEILING)} short of the "
        f"{format_usd(usd, ROUND_CEILING)} to reserve: top up the account, or wait for others to end.",
        missing_usd=decision.missing_usd,
    )


def _describe(decision: Decision, usd: Decimal) -> str:
    more = ""
    if decision.own_run_usd > 0:
        more = f" This run has reserved {format_usd(decision.own_run_usd, ROUND_CEILING)} besides."
    return f"Reserved {format_usd(usd, ROUND_CEILING)}. {_available(decision)} before.{more}"


def _available(decision: Decision) -> str:
    available = format_usd(decision.available_usd)
    if decision.reserved_usd == 0:
        return f"The account has {available} available"
    runs = "1 run" if decision.reserved_runs == 1 else f"{decision.reserved_runs} runs"
    reserved = format_usd(decision.reserved_usd, ROUND_CEILING)
    return f"The account has {available} available, besides {reserved} that {runs} reserved"
