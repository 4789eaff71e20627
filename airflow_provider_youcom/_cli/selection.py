"""Find the reservations that a user means by the first characters of their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Reservation


def standing_by_prefix(ledger: Ledger, prefixes: Sequence[str]) -> list[Reservation]:
    """
    Return the standing reservations whose ids begin so, each once.

    :param ledger: where they are kept.
    :param prefixes: ids, or the first characters of ids.
    :raises YouComError: if one of them fits no standing reservation, or several that count.
    """
    # Also those that have ended and still count, since the user has seen them in the same list.
    known = {each.id: each for each in (*ledger.counting(), *ledger.get(prefixes))}
    found = [_only_one(prefix.strip(), known.values()) for prefix in prefixes]
    return list({each.id: each for each in found}.values())


def _only_one(prefix: str, known: Iterable[Reservation]) -> Reservation:
    fitting = [each for each in known if prefix and each.id.startswith(prefix)]
    if not fitting:
        raise YouComError(
            f"No standing reservation has an id that begins with {prefix!r}, so nothing was ended: use an id "
            'that the command "reservations" lists.'
        )
    if len(fitting) > 1:
        ids = ", ".join(each.id for each in fitting)
        raise YouComError(
            f"The ids of {len(fitting)} reservations begin with {prefix!r}, so nothing was ended: type more "
            f"characters, to choose one of these: {ids}."
        )
    (reservation,) = fitting
    if reservation.end_reason is not None:
        raise YouComError(
            f"The reservation {reservation.id} has already ended ({reservation.end_reason.value}, by "
            f"{reservation.ended_by}), so nothing was ended: leave it out."
        )
    return reservation
