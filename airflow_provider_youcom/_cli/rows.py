"""What the commands show of a balance and of reservations, as text."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from airflow_provider_youcom.balance import AccountBalance, AvailableCredits
from airflow_provider_youcom.ledger.place import Place
from airflow_provider_youcom.ledger.reservation import Reservation
from airflow_provider_youcom.money import plain_text, subtract_usd


def balance_row(balance: AccountBalance, reserved_usd: str, available_usd: str) -> dict[str, str]:
    """
    Return the row of an account.

    :param balance: You.com's answer.
    :param reserved_usd: how much of it is reserved, in dollars; empty if that is unknown.
    :param available_usd: how much that leaves, in dollars; empty if that is unknown.
    """
    return {
        "account": balance.account_id,
        "balance_usd": plain_text(balance.balance_usd),
        "reserved_usd": reserved_usd,
        "available_usd": available_usd,
        "checked_at": _time(balance.checked_at),
    }


def reservation_row(reservation: Reservation) -> dict[str, str]:
    """
    Return the row of a reservation.

    :param reservation: one that stands, or one that has ended and may still count.
    """
    holder = reservation.holder
    return {
        "id": reservation.id,
        "usd": plain_text(reservation.amount_usd),
        "account": reservation.account_id,
        "dag_id": holder.dag_id,
        "run_id": holder.run_id,
        "task_id": holder.task_id,
        "map_index": str(holder.map_index),
        "reserved_at": _time(reservation.reserved_at),
        "expires_at": _time(reservation.expires_at),
        "counts_until": _time(reservation.counts_until),
    }


def end_row(reservation: Reservation) -> dict[str, str]:
    """
    Return what the row of a reservation has in addition with ``--ended``.

    :param reservation: one that stands or has ended.
    """
    return {
        "ended_at": _time(reservation.ended_at),
        "end_reason": reservation.end_reason.value if reservation.end_reason else "",
        "ended_by": reservation.ended_by or "",
    }


def waiting_row(number: int, place: Place, available: AvailableCredits) -> dict[str, str]:
    """
    Return the row of a gate in line.

    :param number: 1 for the first in line.
    :param place: its place.
    :param available: what is available, and what is held for gates in front of it.
    """
    holder = place.holder
    missing_usd = subtract_usd(place.amount_usd, available.not_held_usd)
    return {
        "place": str(number),
        "dag_id": holder.dag_id,
        "run_id": holder.run_id,
        "task_id": holder.task_id,
        "map_index": str(holder.map_index),
        "needs_usd": plain_text(place.amount_usd),
        "missing_usd": plain_text(max(missing_usd, Decimal(0))),
        "waits_since": _time(place.joined_at),
        "is_held": "yes" if place.is_held else "no",
    }


def sentence(reservation: Reservation) -> str:
    """
    Return whose a reservation is, and how much it holds.

    :param reservation: one that stands or has ended.
    """
    holder = reservation.holder
    task = f"{holder.task_id}[{holder.map_index}]" if holder.map_index >= 0 else holder.task_id
    name = f"task {task} of run {holder.run_id} in DAG {holder.dag_id}" if holder.dag_id else holder.name
    return (
        f"{reservation.id}: ${plain_text(reservation.amount_usd)} for {name}, since "
        f"{reservation.reserved_at:%F %T} UTC"
    )


def _time(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""
