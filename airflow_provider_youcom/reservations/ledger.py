"""
The ledger: where reservations stand, in one SQL database for all who spend from an account.

A look consists of three steps, each atomic, with anything in between::

    note = ledger.note()                    # before You.com is asked
    balance = hook.get_balance()            # ask
    decision = ledger.decide(claim, balance, note, new_decision_id())

Ask for the balance after the note, never before it: what ended in between would count neither in the
reading nor in the ledger.

End reservations by ids that were read before the reason for the end was established::

    standing = ledger.standing(run_id=...)  # which ids
    ...                                     # is the run over? has all work ended?
    ledger.end([reservation.id for reservation in standing], EndReason.RUN_OVER, by="triggerer-1")

Otherwise a slow teardown would end what a cleared gate has just reserved anew.
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
# Each purge makes the notes of that moment useless, so it is put off until it is worth it.
_PURGE_EVERY = 24 * 60 * 60 * MICROSECONDS


class Ledger:
    """
    The ledger in one database. Its tables are made at first use.

    A ledger can be used by several threads, like its engine, but not after a fork. Keep one for each
    process and connection: a hook makes a new engine at each call.

    Every method raises :class:`YouComLedgerUnavailableError` if the database does not answer in time, and
    :class:`YouComLedgerRefusedError` if someone must act: a database that is neither SQLite nor
    PostgreSQL, a missing right, tables of another version.

    :param engine: an engine made for this ledger alone; SQLAlchemy 1.4 or 2.
    :param name: what errors call the ledger, such as the id of its connection.
    :param answer_within: seconds to wait for a connection, and for each answer; default 5.
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
        """Whether the ledger is a file, which other machines do not see."""
        return self._database.dialect == "sqlite"

    def note(self) -> Note:
        """Return what must be known before You.com is asked, of all accounts, in one query."""
        rows = self._ready().read(lambda connection: connection.execute(statements.NOTE).all())
        return to_note(rows)

    def decide(self, claim: Claim, balance: AccountBalance, note: Note, decision_id: str) -> Decision:
        """
        Set credits aside, if enough are available, and return what the gate is told.

        A standing reservation of the same attempt opens the gate again. A lost answer can be asked for
        again under the same id: nothing is reserved twice, and :meth:`end` takes that id whether or not
        something was reserved under it.

        :param claim: what the gate wants.
        :param balance: You.com's answer; it was asked after the note was made. Digits beyond a
            hundred-thousandth of a cent are rounded down.
        :param note: made before You.com was asked.
        :param decision_id: unique for this call, from :func:`new_decision_id`; the reservation's id.
        """
        return self._ready().write(
            lambda connection: transactions.decide(connection, claim, balance, note, decision_id)
        )

    def end(self, ids: Iterable[str], reason: EndReason, by: str) -> list[Reservation]:
        """
        End reservations, and return all that these ids name as they are now.

        One that ended before keeps the reason it ended for. Ids that name nothing are left out.

        :param ids: read before the reason was established.
        :param reason: why they end; decides for how long they go on counting.
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
        End the reservations that have expired, and return those that this call has ended.

        :param by: who looked for them, for the history.
        :param limit: how many to end at most.
        """
        rows = self._ready().write(lambda connection: transactions.end_expired(connection, by, limit))
        return [to_reservation(row) for row in rows]

    def take_to_ask(self, deployment: str, limit: int = 100) -> list[Reservation]:
        """
        Return standing reservations about whose runs Airflow should be asked now, and remember that.

        Each is returned at most once a minute, whoever calls this, and first a minute after it was made.

        :param deployment: whose runs; nobody else's Airflow can be asked.
        :param limit: how many to return at most.
        """
        rows = self._ready().write(lambda connection: transactions.take_to_ask(connection, deployment, limit))
        return [to_reservation(row) for row in rows]

    def get(self, ids: Iterable[str]) -> list[Reservation]:
        """
        Return the reservations that these ids name, standing or ended.

        :param ids: ids of reservations; those that name nothing are left out.
        """
        wanted = {"ids": list(ids)}
        rows = self._ready().read(lambda connection: connection.execute(statements.BY_IDS, wanted).all())
        return [to_reservation(row) for row in rows]

    def standing(self, **names: str | int) -> list[Reservation]:
        """
        Return what stands, the oldest first.

        :param names: any of ``account_id``, ``deployment``, ``dag_id``, ``run_id``, ``task_id``,
            ``map_index`` and ``attempt_id``; all if there are none.
        """
        query = statements.ROWS.where(STANDS).order_by(reservations.c.reserved_at, reservations.c.id)
        return self._select(query, names)

    def history(self, limit: int = 100, **names: str | int) -> list[Reservation]:
        """
        Return what was reserved, standing and ended, the newest first.

        :param limit: how many to return at most.
        :param names: as for :meth:`standing`.
        """
        query = statements.ROWS.order_by(reservations.c.reserved_at.desc(), reservations.c.id).limit(limit)
        return self._select(query, names)

    def purge(self, keep_seconds: float = KEEP_ENDED_SECONDS) -> int:
        """
        Delete what ended long ago, and return how many reservations that were.

        At most once a day for each account: notes that were made before it can no longer be decided with.

        :param keep_seconds: for how long to keep an ended reservation after it has stopped counting.
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
