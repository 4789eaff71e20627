"""Reserve credits for the code of one task, or of a script."""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal

from airflow_provider_youcom.available import AvailableCredits
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComError, YouComShortfallError
from airflow_provider_youcom.hooks._reservations.ending import standing_of_earlier_tries
from airflow_provider_youcom.hooks._reservations.holder import current_holder
from airflow_provider_youcom.hooks._reservations.reserving import reserve
from airflow_provider_youcom.money import format_usd, subtract_usd
from airflow_provider_youcom.reservations.claim import Claim
from airflow_provider_youcom.reservations.ledger import Ledger
from airflow_provider_youcom.reservations.reservation import Reservation
from airflow_provider_youcom.reservations.rule import EndReason

log = logging.getLogger(__name__)


def reserve_for_code(
    ask: Callable[[], AccountBalance],
    ledger: Ledger,
    *,
    usd: Decimal,
    settle_seconds: float,
    reserve_for_seconds: float,
) -> Reservation:
    """
    Return a reservation that now stands.

    :param ask: asks You.com for the balance.
    :param ledger: where reservations are kept.
    :param usd: how much to reserve, in dollars.
    :param settle_seconds: how late You.com may post a charge.
    :param reserve_for_seconds: after how long the reservation expires.
    :raises YouComShortfallError: if less is available.
    :raises YouComRefusedError: if a newer try of this task has reserved.
    """
    claim = Claim(current_holder(), usd, settle_seconds, reserve_for_seconds)
    _end_what_earlier_tries_left(ledger, claim)
    available = reserve(ask, ledger, claim)
    if available.reservation_id is None:
        raise _shortfall(available, usd)
    log.info("%s. Reserved %s of it.", available, format_usd(usd, ROUND_CEILING))
    return ledger.get([available.reservation_id])[0]


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
    left = [each.id for each in standing_of_earlier_tries(ledger, claim.attempt)]
    ledger.end(left, EndReason.SUPERSEDED, by=f"attempt {claim.attempt.id}")


def _shortfall(available: AvailableCredits, usd: Decimal) -> YouComShortfallError:
    missing_usd = subtract_usd(usd, available.available_usd)
    return YouComShortfallError(
        f"{available}: {format_usd(missing_usd, ROUND_CEILING)} short of the "
        f"{format_usd(usd, ROUND_CEILING)} to reserve, so top up the account, or wait for others to end.",
        missing_usd=missing_usd,
    )
