"""Reserve credits for the code of one task, or of a script."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from airflow_provider_youcom._airflow import ask, current_attempt
from airflow_provider_youcom.balance import AvailableCredits
from airflow_provider_youcom.exceptions import YouComError, YouComShortfallError
from airflow_provider_youcom.ledger.abandoned import end_lost, standing_of_earlier_attempts
from airflow_provider_youcom.ledger.claim import Claim
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Reservation
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.money import format_usd, subtract_usd

if TYPE_CHECKING:
    from airflow_provider_youcom.hooks.youcom import YouComHook

log = logging.getLogger(__name__)


def reserve_for_code(
    hook: YouComHook, ledger: Ledger, usd: Decimal, reserve_for_seconds: float
) -> Reservation:
    """
    Return a reservation that now stands.

    :param usd: how much to reserve, in dollars.
    :param reserve_for_seconds: after how long the reservation expires.
    :raises YouComShortfallError: if less is available.
    :raises YouComRefusedError: if a newer attempt of this task has reserved.
    """
    attempt = current_attempt()
    claim = Claim(attempt, usd, reserve_for_seconds)
    _end_what_earlier_attempts_left(ledger, claim)
    if attempt.holder.dag_id:
        # Only a task can ask Airflow.
        end_lost(ledger, attempt.holder, ask)
    decision = ledger.reserve(claim, hook.client.get_balance, hook.settle_seconds, hook.hold_seconds)
    if decision.reservation is None:
        raise _shortfall(decision.available, usd)
    log.info("Reserved %s. %s", format_usd(usd, ROUND_CEILING), decision.available.sentence)
    return decision.reservation


@contextmanager
def released_at_exit(ledger: Ledger, reservation: Reservation) -> Iterator[Reservation]:
    """
    End a reservation after the block.

    The calls of a block that has failed may still be on their way, so what it reserved counts for longer.
    """
    try:
        yield reservation
    except BaseException:
        _end(ledger, reservation, EndReason.CUT_SHORT)
        raise
    _end(ledger, reservation, EndReason.RELEASED)


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
    # A fleet without gates has no teardown that does this.
    ledger.purge()


def _end_what_earlier_attempts_left(ledger: Ledger, claim: Claim) -> None:
    left = [each.id for each in standing_of_earlier_attempts(ledger, claim.attempt)]
    ledger.end(left, EndReason.SUPERSEDED, by=f"attempt {claim.attempt.id}")


def _shortfall(available: AvailableCredits, usd: Decimal) -> YouComShortfallError:
    return YouComShortfallError(
        f"{available.describe_shortfall(usd)}, so nothing was reserved: top up the account, or try again "
        f"when others have released enough. {available.sentence}",
        missing_usd=subtract_usd(usd, available.not_held_usd),
    )
