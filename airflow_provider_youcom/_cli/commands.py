"""What the commands do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.cli.simple_table import AirflowConsole
from airflow.utils.cli import suppress_logs_and_warning
from airflow.utils.platform import getuser

from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.money import plain_text

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_provider_youcom.ledger.reservation import Reservation

_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"
_QUESTION = "End what is reserved? A task that still spends it can then overspend the account. [y/N] "


@suppress_logs_and_warning
def show_balance(args: Namespace) -> None:
    """
    Print what the account holds, and how much of it is available.

    :param args: ``conn_id``, ``output`` and ``verbose``.
    """
    with _errors_in_one_line():
        hook = YouComHook(args.conn_id)
        if hook.has_ledger:
            available = hook.get_available()
            balance = available.balance
            reserved_usd: str = plain_text(available.reserved_usd)
            available_usd = plain_text(available.available_usd)
        else:
            balance = hook.get_balance()
            reserved_usd, available_usd = "", plain_text(balance.balance_usd)
    row = {
        "account": balance.account_id,
        "balance_usd": plain_text(balance.balance_usd),
        "reserved_usd": reserved_usd,
        "available_usd": available_usd,
        "checked_at": balance.checked_at.isoformat(timespec="seconds"),
    }
    AirflowConsole().print_as(data=[row], output=args.output)


@suppress_logs_and_warning
def list_reservations(args: Namespace) -> None:
    """
    Print what is reserved in the connection's ledger.

    :param args: ``conn_id``, ``dag_id``, ``ended``, ``output`` and ``verbose``.
    """
    names = {"dag_id": args.dag_id} if args.dag_id else {}
    with _errors_in_one_line():
        ledger = YouComHook(args.conn_id).ledger
        found = ledger.history(**names) if args.ended else ledger.standing(**names)
    rows = [_row(reservation) | (_end(reservation) if args.ended else {}) for reservation in found]
    AirflowConsole().print_as(data=rows, output=args.output)


@suppress_logs_and_warning
def release_reservations(args: Namespace) -> None:
    """
    End reservations by hand, after a confirmation.

    :param args: ``ids``, ``conn_id``, ``yes`` and ``verbose``.
    """
    with _errors_in_one_line():
        ledger = YouComHook(args.conn_id).ledger
        standing = [each for each in ledger.get(args.ids) if each.stands]
        _refuse_unknown(set(args.ids) - {each.id for each in standing})
        for reservation in standing:
            print(_sentence(reservation))
        if not args.yes and input(_QUESTION).strip().lower() != "y":
            raise SystemExit("Nothing was ended.")
        ended = ledger.end(args.ids, EndReason.BY_HAND, by=getuser())
    until = max(each.counts_until for each in ended if each.counts_until)
    print(
        f"Ended {len(ended)}. What was reserved goes on counting until {until:%F %T} UTC, since You.com may "
        "post charges late."
    )


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    with _as_airflows_own_commands():
        try:
            yield
        except YouComError as error:
            raise SystemExit(str(error)) from None


@contextmanager
def _as_airflows_own_commands() -> Iterator[None]:
    """Let Airflow read connections from its database too, as ``airflow connections test`` does."""
    before = os.environ.get(_CONTEXT)
    os.environ[_CONTEXT] = "server"
    try:
        yield
    finally:
        os.environ.pop(_CONTEXT)
        if before is not None:
            os.environ[_CONTEXT] = before


def _refuse_unknown(ids: set[str]) -> None:
    if ids:
        raise SystemExit(
            f"No standing reservation has the id {' or '.join(sorted(ids))}, so nothing was ended: use an id "
            'that the command "reservations" lists.'
        )


def _row(reservation: Reservation) -> dict[str, Any]:
    holder = reservation.holder
    return {
        "id": reservation.id,
        "account": reservation.account_id,
        "usd": plain_text(reservation.amount_usd),
        "dag_id": holder.dag_id,
        "run_id": holder.run_id,
        "task_id": holder.task_id,
        "map_index": holder.map_index,
        "reserved_at": reservation.reserved_at.isoformat(timespec="seconds"),
        "expires_at": reservation.expires_at.isoformat(timespec="seconds"),
    }


def _end(reservation: Reservation) -> dict[str, Any]:
    return {
        "ended_at": reservation.ended_at.isoformat(timespec="seconds") if reservation.ended_at else "",
        "end_reason": reservation.end_reason.value if reservation.end_reason else "",
        "ended_by": reservation.ended_by or "",
    }


def _sentence(reservation: Reservation) -> str:
    holder = reservation.holder
    return (
        f"${plain_text(reservation.amount_usd)} for task {holder.task_id} of run {holder.run_id} in DAG "
        f"{holder.dag_id}, since {reservation.reserved_at:%F %T} UTC"
    )
