"""What the commands do."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.utils.cli import suppress_logs_and_warning

from airflow_provider_youcom._cli.printing import print_rows
from airflow_provider_youcom._cli.rows import balance_row, end_row, reservation_row, sentence, waiting_row
from airflow_provider_youcom._cli.selection import standing_by_prefix
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.money import plain_text

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_provider_youcom.ledger.reservation import Note, Reservation

_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"
_QUESTION = "End what is reserved? A task that still spends it can then overspend the account. [y/N] "


@suppress_logs_and_warning
def show_balance(args: Namespace) -> None:
    """
    Print what the account holds, and how much of it is available.

    If the ledger cannot be read, the balance is printed before the error.

    :param args: ``conn_id``, ``output`` and ``verbose``.
    """
    with _errors_in_one_line():
        hook = YouComHook(args.conn_id)
        noted = _note_or_error(hook) if hook.has_ledger else None
        balance = hook.client.get_balance()
        if noted is None:
            row = balance_row(balance, "", plain_text(balance.balance_usd))
        elif isinstance(noted, YouComError):
            row = balance_row(balance, "", "")
        else:
            hook.ledger.accounts.store(balance, noted)
            available = noted.available(balance)
            row = balance_row(
                balance, plain_text(available.reserved_usd), plain_text(available.available_usd)
            )
        print_rows([row], args.output)
        if isinstance(noted, YouComError):
            raise noted


@suppress_logs_and_warning
def list_reservations(args: Namespace) -> None:
    """
    Print what counts against the balance in the connection's ledger.

    :param args: ``conn_id``, ``dag_id``, ``ended``, ``output`` and ``verbose``.
    """
    names = {} if args.dag_id is None else {"dag_id": args.dag_id}
    with _errors_in_one_line():
        ledger = YouComHook(args.conn_id).ledger
        if not args.ended:
            print_rows([reservation_row(each) for each in ledger.counting(**names)], args.output)
            return
        found = {each.id: each for each in (*ledger.history(**names), *ledger.counting(**names))}
        oldest_first = sorted(found.values(), key=lambda each: (each.reserved_at, each.id))
        print_rows([reservation_row(each) | end_row(each) for each in oldest_first], args.output)


@suppress_logs_and_warning
def list_waiting(args: Namespace) -> None:
    """
    Print the gates in line for the connection's account, with what each of them is missing now.

    :param args: ``conn_id``, ``output`` and ``verbose``.
    """
    with _errors_in_one_line():
        hook = YouComHook(args.conn_id)
        note = hook.ledger.note()
        balance = hook.client.get_balance()
        line = note.of(balance.account_id).line
        rows = [
            waiting_row(number, place, note.available(balance, place.holder))
            for number, place in enumerate(line.places, 1)
        ]
        print_rows(rows, args.output)


@suppress_logs_and_warning
def release_reservations(args: Namespace) -> None:
    """
    End reservations by hand, after a confirmation.

    :param args: ``ids``, ``conn_id``, ``yes`` and ``verbose``.
    """
    with _errors_in_one_line():
        ledger = YouComHook(args.conn_id).ledger
        standing = standing_by_prefix(ledger, args.ids)
        for reservation in standing:
            print(sentence(reservation))
        if not args.yes and not _confirmed():
            raise SystemExit("Nothing was ended.")
        by = _this_process()
        after = ledger.end([each.id for each in standing], EndReason.BY_HAND, by)
        print(_result([each for each in after if each.ended_by == by], len(standing)))


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    with _as_airflows_own_commands():
        try:
            yield
            print(end="", flush=True)
        except YouComError as error:
            raise SystemExit(str(error)) from None
        except BrokenPipeError:
            # Nobody reads any more, and Python would write once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None


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


def _note_or_error(hook: YouComHook) -> Note | YouComError:
    try:
        return hook.ledger.note()
    except YouComError as error:
        return error


def _confirmed() -> bool:
    try:
        return input(_QUESTION).strip().lower() == "y"
    except (KeyboardInterrupt, UnicodeDecodeError):
        print()
        return False
    except (EOFError, RuntimeError):
        # Python raises a RuntimeError if standard input is closed.
        print()
        raise SystemExit(
            "Nothing was ended, since nobody answered: run the command in a terminal, or add --yes."
        ) from None


def _this_process() -> str:
    """Return who ends reservations here; no other call has the same text at the same time."""
    return f"{_user()}@{socket.gethostname()}:{os.getpid()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as any uid, without an entry in /etc/passwd. Python 3.13 raises an OSError.
        return f"uid {os.getuid()}"


def _result(ended: Sequence[Reservation], wanted: int) -> str:
    until = max((each.counts_until for each in ended if each.counts_until), default=None)
    already = wanted - len(ended)
    meanwhile = f" {already} had already ended when you confirmed." if already else ""
    if until is None:
        return f"Ended 0.{meanwhile}"
    return (
        f"Ended {len(ended)}.{meanwhile} What was reserved goes on counting until {until:%F %T} UTC, since "
        "You.com may post charges late."
    )
