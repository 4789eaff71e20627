"""
The ledger: the reservations of all who spend from an account, in one SQL database.

To reserve takes three steps. Each is atomic, and anything may happen in between::

    note = ledger.note()                    # before You.com is asked
    balance = hook.get_balance()            # ask
    decision = ledger.decide(claim, balance, note, new_decision_id())

Ask for the balance after the note, never before it. Otherwise, a reservation that ends in between would
count neither in the balance nor in the ledger.

End reservations by ids that were read before the reason for the end was known::

    standing = ledger.standing(run_id=...)  # read the ids
    ...                                     # ask Airflow whether the run is over
    ledger.end([reservation.id for reservation in standing], EndReason.RUN_OVER, by="triggerer-1")

Otherwise, a slow teardown would end what a cleared gate has just reserved anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.reservations import _statements as statements
from airflow_provider_youcom.reservations import _transactions as transactions
from airflow_provider_youcom.reservations._amounts import (
    MICROSECONDS,
    seconds_to_microseconds,
)
from airflow_provider_youcom.reservations._creation import prepare
from airflow_provider_youcom.reservations._database import Database
from airflow_provider_youcom.reservations._rows import to_note, to_reservation
from airflow_provider_youcom.reservations._schema import STANDS, reservations
from airflow_provider_youcom.reservations.claim import Claim
from airflow_provider_youcom.reservations.reservation import Decision, Note, Reservation
from airflow_provider_youcom.reservations.rule import EndReason

DEFAULT_ANSWER_WITHIN_SECONDS = 5
KEEP_ENDED_SECONDS = 30 * 24 * 60 * 60
# Each purge makes earlier notes useless, so it runs once a day at most.
_PURGE_EVERY = 24 * 60 * 60 * MICROSECONDS


class Ledger:
    """
    The ledger in one database. Its tables are created at the first use.

    A ledger can be used by several threads, like its engine, but not after a fork. Keep one for each
    process and connection, since Airflow's hooks create a new engine at each call.

    Every method raises ``YouComLedgerUnavailableError`` if the database does not answer in time, and
    ``YouComLedgerRefusedError`` if someone must act: the database is neither SQLite nor PostgreSQL, a right
    is missing, or the tables are of another version.

    :param engine: an engine that is used for this ledger only; SQLAlchemy 1.4 or 2.
    :param name: the name of the ledger in errors, such as the id of its connection.
    :param answer_within: seconds to wait for a connection, and for each answer. Default: 5.
    """

    def __init__(
        self,
        engine: sa.engine.Engine,
        name: str = "youcom_ledger",
        answer_within: float = DEFAULT_ANSWER_WITHIN_SECONDS,
    ) -> None:
        self._database = Database(engine, name, answer_within)
        self._is_prepared = False

    @property
    def is_for_one_machine(self) -> bool:
        """Whether the ledger is a file, which other machines do not see: an SQLite database."""
        return self._database.dialect == "sqlite"

    def note(self) -> Note:
        """Return what is reserved in all accounts, in one query; call it before You.com is asked."""
        rows = self._ready().read(lambda connection: connection.execute(statements.NOTE).all())
        return to_note(rows)

    def decide(self, claim: Claim, balance: AccountBalance, note: Note, decision_id: str) -> Decision:
        """
        Reserve if enough is available, and return the decision.

        If a reservation of the same attempt stands, the outcome is open again. If an answer is lost, call
        this again with the same id: nothing is reserved twice. ``end`` accepts the id whether or not
        something was reserved with it.

        :param claim: what to reserve.
        :param balance: You.com's answer, from after the note; it is rounded down to a hundred-thousandth of
            a cent.
        :param note: from before You.com was asked.
        :param decision_id: from ``new_decision_id``, a new one for each decision; the reservation's id.
        """
        return self._ready().write(
            lambda connection: transactions.decide(connection, claim, balance, note, decision_id)
        )

    def end(self, ids: Iterable[str], reason: EndReason, by: str) -> list[Reservation]:
        """
        End reservations, and return them as they are now.

        A reservation that has ended before keeps its reason. Unknown ids are left out.

        :param ids: ids that were read before the reason was known.
        :param reason: why they end; it decides how long they go on counting.
        :param by: who ends them, for the history.
        """
        wanted = list(ids)
        if not wanted:
            return []
        rows = self._ready().write(
            lambda connection: transactions.end_and_return(connection, wanted, reason, by)
        )
        return [to_reservation(row) for row in rows]

    def end_expired(self, by: str, limit: int = 100) -> list[Reservation]:
        """
        End reservations that have expired, and return those that this call has ended.

        :param by: who ends them, for the history.
        :param limit: the most reservations to end. Default: 100.
        """
        rows = self._ready().write(lambda connection: transactions.end_expired(connection, by, limit))
        return [to_reservation(row) for row in rows]

    def take_to_ask(self, deployment: str, limit: int = 100) -> list[Reservation]:
        """
        Return standing reservations whose runs may be over, so that the caller asks Airflow about them.

        The ledger stores that it has returned them: each is returned at most once a minute to all callers
        together, and for the first time a minute after it was made.

        :param deployment: the Airflow deployment that the caller can ask.
        :param limit: the most reservations to return. Default: 100.
        """
        rows = self._ready().write(lambda connection: transactions.take_to_ask(connection, deployment, limit))
        return [to_reservation(row) for row in rows]

    def get(self, ids: Iterable[str]) -> list[Reservation]:
        """
        Return reservations by their ids, standing or ended.

        :param ids: ids of reservations; unknown ids are left out.
        """
        wanted = {"ids": list(ids)}
        rows = self._ready().read(lambda connection: connection.execute(statements.BY_IDS, wanted).all())
        return [to_reservation(row) for row in rows]

    def standing(self, **names: str | int) -> list[Reservation]:
        """
        Return the standing reservations, the oldest first.

        :param names: filters: any of ``account_id``, ``deployment``, ``dag_id``, ``run_id``, ``task_id``,
            ``map_index`` and ``attempt_id``. Default: none, which returns all.
        """
        query = statements.ROWS.where(STANDS).order_by(reservations.c.reserved_at, reservations.c.id)
        return self._select(query, names)

    def history(self, limit: int = 100, **names: str | int) -> list[Reservation]:
        """
        Return standing and ended reservations, the newest first.

        :param limit: the most reservations to return. Default: 100.
        :param names: filters, as for ``standing``.
        """
        query = statements.ROWS.order_by(reservations.c.reserved_at.desc(), reservations.c.id).limit(limit)
        return self._select(query, names)

    def purge(self, keep_seconds: float = KEEP_ENDED_SECONDS) -> int:
        """
        Delete reservations that ended long ago, and return how many.

        It deletes at most once a day for each account, since a decision cannot use a note from before that.

        :param keep_seconds: how long to keep an ended reservation after it has stopped counting. Default: 30
            days.
        """
        keep = seconds_to_microseconds(keep_seconds, "keep_seconds", least=0)
        oldest = self._ready().read(lambda connection: connection.execute(statements.OLDEST_ENDS).all())
        purged = 0
        for row in oldest:
            if row.oldest <= row.now - keep - _PURGE_EVERY:
                purged += self._purge_account(row.account_id, row.now - keep)
        return purged

    def _purge_account(self, account_id: str, before: int) -> int:
        return self._ready().write(lambda connection: transactions.purge(connection, account_id, before))

    def _ready(self) -> Database:
        if not self._is_prepared:
            prepare(self._database)
            self._is_prepared = True
        return self._database

    def _select(self, query: Any, names: dict[str, str | int]) -> list[Reservation]:
        for name, value in names.items():
            query = query.where(reservations.c[name] == value)
        rows = self._ready().read(lambda connection: connection.execute(query).all())
        return [to_reservation(row) for row in rows]
