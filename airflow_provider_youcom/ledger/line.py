"""The line of the gates that wait, in the ledger's database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.ledger import _line_statements as statements
from airflow_provider_youcom.ledger import _line_transactions as transactions
from airflow_provider_youcom.ledger import line_rule, rule
from airflow_provider_youcom.ledger._amounts import balance_to_units, seconds_to_us, within_bounds
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger._rows import to_place
from airflow_provider_youcom.ledger.claim import Claim
from airflow_provider_youcom.ledger.place import Place
from airflow_provider_youcom.ledger.reservation import Note

log = logging.getLogger(__name__)


class Line:
    """
    The gates that wait for credits. ``Ledger.line`` is the line of a ledger.

    A gate that goes on waiting has a place for as long as it checks. A gate that opens leaves the line in the
    transaction in which it reserves. A failure of the database is logged and never raised, except by
    ``places``: without a place, a gate waits as it would if there were no line.

    :param ready: returns the database, with its tables.
    """

    def __init__(self, ready: Callable[[], Database]) -> None:
        self._ready = ready

    def places(self, account_id: str | None = None) -> list[Place]:
        """
        Return the places of the gates that wait, the first in line first.

        :param account_id: only those of this account. Default: None, for all accounts, one after the other.
        """
        rows = self._ready().read(lambda connection: connection.execute(statements.PLACES).all())
        return [to_place(row) for row in rows if row.is_alive and account_id in (None, row.account_id)]

    def join(self, claim: Claim, account_id: str, pause_seconds: float) -> int | None:
        """
        Take a place in line, and return which one it is: 1 for the first.

        Return None if the gate keeps the place that it has, or gets none: the database did not answer, or a
        newer attempt is known.

        :param claim: what the gate waits for.
        :param account_id: You.com's ``data.id``.
        :param pause_seconds: the time until its next check.
        """
        life_us = _life_us(pause_seconds)
        with _failures_are_logged():
            return self._ready().write(
                lambda connection: transactions.join(connection, account_id, claim, life_us)
            )
        return None

    def keep(
        self, claims: Sequence[Claim], account_id: str, pause_seconds: float, note: Note | None = None
    ) -> None:
        """
        Keep the places of gates that have just checked; those that have none take one.

        :param claims: what the gates wait for.
        :param account_id: You.com's ``data.id``.
        :param pause_seconds: the time until their next check.
        :param note: the note by which they wait; whoever has opened since takes no place. Default: None, for
            one from now.
        """
        life_us = _life_us(pause_seconds)

        counter = note.of(account_id).counter if note else rule.NOT_ENDED - 1

        def keep(connection: sa.engine.Connection) -> None:
            transactions.keep(connection, account_id, claims, life_us, counter)

        with _failures_are_logged():
            self._ready().write(keep)

    def stay(self, claims: Sequence[Claim], pause_seconds: float) -> None:
        """
        Keep the places of gates that have checked, but got no answer that names the account.

        :param claims: what the gates wait for.
        :param pause_seconds: the time until their next check.
        """
        with _failures_are_logged():
            by_account = self._ready().read(lambda connection: transactions.by_account(connection, claims))
            for account_id, of_account in by_account.items():
                self.keep(of_account, account_id, pause_seconds)

    def follow(self, note: Note, balance: AccountBalance, hold_seconds: float) -> bool:
        """
        Store that more has come in, or end the holds that were in vain; return whether holds have ended.

        Most checks have nothing to write. A note from before does not know of holds that have ended.

        :param note: from before You.com was asked.
        :param balance: You.com's answer.
        :param hold_seconds: for how long nothing may open or come in before a hold ends; if only nothing
            opens, it ends after twice as long.
        """
        account = note.of(balance.account_id)
        available_units = balance_to_units(balance.balance_cents) - account.reserved_units
        hold_us = seconds_to_us(hold_seconds, "hold_seconds", least=1)
        in_vain = account.line.held_in_vain(available_units, note.time, hold_us)
        if in_vain:
            moved_at = account.line.moved_at
            with _failures_are_logged():
                return self._ready().write(
                    lambda connection: transactions.end_holds(connection, in_vain, moved_at)
                )
        elif account.line.has_come_in(available_units):
            came_in = {"this_account": balance.account_id, "available": within_bounds(available_units)}
            with _failures_are_logged():
                self._ready().write(lambda connection: connection.execute(statements.CAME_IN, came_in))
        return False


def _life_us(pause_seconds: float) -> int:
    return seconds_to_us(line_rule.life_seconds(pause_seconds), "pause_seconds", least=1)


@contextmanager
def _failures_are_logged() -> Iterator[None]:
    try:
        yield
    except YouComError as error:
        log.warning("The places of gates in line were not written: %s", error)
    except Exception:
        # It is no reason to doubt the check.
        log.exception("The places of gates in line were not written")
