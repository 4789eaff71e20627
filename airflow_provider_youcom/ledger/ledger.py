"""
The ledger: the reservations of all who spend from an account, in one SQL database.

To reserve takes three steps. Each is atomic, and anything may happen in between: note what is reserved, ask
You.com for the balance, and decide. ``Ledger.reserve`` takes all three. Gates that wait together call
``note`` once for all of them, and ``decide`` for each that could open.

Ask for the balance after the note, never before it. Otherwise, a reservation that ends in between would
count neither in the balance nor in the ledger.

End reservations by ids that were read before the reason for the end was known. Otherwise, a slow teardown
would end what a cleared gate has just reserved anew.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError
from airflow_provider_youcom.ledger import _decision, line_rule, rule
from airflow_provider_youcom.ledger import _ends as ends
from airflow_provider_youcom.ledger import _line_statements as line_statements
from airflow_provider_youcom.ledger import _statements as statements
from airflow_provider_youcom.ledger._amounts import seconds_to_us
from airflow_provider_youcom.ledger._creation import exists, prepare
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger._lists import ReservationLists
from airflow_provider_youcom.ledger._purge import purge
from airflow_provider_youcom.ledger._refusals import another_ledger, outdated, overtaken
from airflow_provider_youcom.ledger._rows import to_note, to_reservation
from airflow_provider_youcom.ledger.accounts import Accounts
from airflow_provider_youcom.ledger.claim import Claim
from airflow_provider_youcom.ledger.line import Line
from airflow_provider_youcom.ledger.reservation import Decision, Note, Reservation
from airflow_provider_youcom.ledger.rule import EndReason, Outcome

DEFAULT_ANSWER_WITHIN_SECONDS = 5


class Ledger(ReservationLists):
    """
    The ledger in one database. Its tables are created at the first use.

    Threads can share a ledger, as they can its engine. A forked process needs one of its own.

    Every method raises ``YouComLedgerUnavailableError`` if the database does not answer in time, and
    ``YouComLedgerRefusedError`` if someone must act: a right is missing, for example.

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
        self._id = ""
        self.line = Line(self._ready)
        self.accounts = Accounts(self._ready)

    @property
    def is_for_one_machine(self) -> bool:
        """Whether the ledger is a file, which other machines do not see: an SQLite database."""
        return self._database.dialect == "sqlite"

    @property
    def exists(self) -> bool:
        """Whether its tables exist already. Unlike all other uses, this does not create them."""
        return bool(self._id) or exists(self._database)

    @property
    def id(self) -> str:
        """The id of this ledger, made with its tables: one in another file or schema has another id."""
        self._ready()
        return self._id

    def check_id(self, expected_id: str) -> None:
        """Raise ``YouComLedgerRefusedError`` if an id is that of another ledger; an empty string is not."""
        if expected_id and expected_id != self.id:
            raise another_ledger(self._database.name, self.id, expected_id)

    def note(self) -> Note:
        """Return what is reserved in all accounts, and who waits; call it before you ask You.com."""

        def read(connection: sa.engine.Connection) -> Note:
            rows = connection.execute(statements.NOTE).all()
            places = connection.execute(line_statements.PLACES).all() if rows[0].somebody_waits else []
            return to_note(rows, places)

        return self._ready().read(read)

    def reserve(
        self,
        claim: Claim,
        ask: Callable[[], AccountBalance],
        settle_seconds: float = rule.DEFAULT_SETTLE_SECONDS,
        hold_seconds: float = line_rule.DEFAULT_HOLD_SECONDS,
    ) -> Decision:
        """
        Note what is reserved, ask You.com, and reserve if enough is available.

        :param claim: what to reserve.
        :param ask: returns You.com's answer; it may block.
        :param settle_seconds: how late You.com may post a charge, in seconds. Default: 60.
        :param hold_seconds: for how long credits are held for a gate in line while nothing opens and no more
            come in, in seconds. Default: 1 hour.
        :raises YouComRefusedError: if a newer attempt of the same holder has asked for credits.
        """
        while True:
            note = self.note()
            balance = ask()
            self.accounts.store(balance, note)
            if self.line.follow(note, balance, hold_seconds):
                # By this note, credits are held that are not held any more.
                continue
            if not note.needs_decision(claim, balance):
                return Decision(note.available(balance, claim.attempt.holder), None)
            outcome, decision = self._decide(claim, balance, note, settle_seconds)
            if outcome is not Outcome.OUTDATED:
                return decision

    def decide(
        self,
        claim: Claim,
        balance: AccountBalance,
        note: Note,
        settle_seconds: float = rule.DEFAULT_SETTLE_SECONDS,
    ) -> Decision:
        """
        Reserve if enough is available, by a note and an answer of You.com that several attempts share.

        If a reservation of the same attempt stands, it is returned again.

        :param claim: what to reserve.
        :param balance: You.com's answer, from after the note.
        :param note: from before You.com was asked.
        :param settle_seconds: how late You.com may post a charge, in seconds. Default: 60.
        :raises YouComRefusedError: if a newer attempt of the same holder has asked for credits.
        """
        outcome, decision = self._decide(claim, balance, note, settle_seconds)
        if outcome is Outcome.OUTDATED:
            raise outdated()
        return decision

    def end(self, ids: Iterable[str], reason: EndReason, by: str) -> list[Reservation]:
        """
        End reservations, and return them as they are now.

        A reservation that has ended before keeps its reason. Unknown ids are left out.

        :param ids: read before the reason was known.
        :param reason: why they end; it decides how long they go on counting.
        :param by: who ends them, for the history.
        """
        wanted = list(ids)
        if not wanted:
            return []
        rows = self._ready().write(lambda connection: ends.end_and_return(connection, wanted, reason, by))
        return [to_reservation(row) for row in rows]

    def end_expired(self, by: str) -> list[Reservation]:
        """Return the expired reservations of all accounts that this call has ended, up to 100."""
        rows = self._ready().write(lambda connection: ends.end_expired(connection, by))
        return [to_reservation(row) for row in rows]

    def mark_asked(self, deployment: str, limit: int = 100) -> list[Reservation]:
        """
        Mark standing reservations as asked about, and return them, so that the caller asks Airflow.

        Each is returned at most once a minute to all callers together, and for the first time a minute after
        it was made.

        :param deployment: the Airflow deployment that the caller can ask.
        :param limit: the most reservations to return. Default: 100.
        """
        rows = self._ready().write(lambda connection: ends.mark_asked(connection, deployment, limit))
        return [to_reservation(row) for row in rows]

    def purge(self, keep_seconds: float = rule.KEEP_ENDED_SECONDS) -> int:
        """
        Delete some of the reservations that ended long ago, and return how many.

        It works for two seconds at most, a few rows at a time, and leaves the rest to the next call. If the
        database fails, it logs that. A decision cannot use a note from before, so it begins once a day.

        :param keep_seconds: how long to keep an ended reservation after it has stopped counting. Default: 30
            days.
        """
        return purge(self._ready(), seconds_to_us(keep_seconds, "keep_seconds", least=0))

    def close(self) -> None:
        """Close the connections that no thread uses now."""
        self._database.close()

    def _decide(
        self, claim: Claim, balance: AccountBalance, note: Note, settle_seconds: float
    ) -> tuple[Outcome, Decision]:
        settle_us = seconds_to_us(settle_seconds, "settle_seconds", least=0)
        decision_id = uuid.uuid4().hex

        def decide(connection: sa.engine.Connection) -> tuple[Outcome, Decision]:
            return _decision.decide(connection, claim, balance, note, settle_us, decision_id)

        self.check_id(claim.ledger_id)
        try:
            outcome, decision = self._ready().write(decide)
        except YouComLedgerUnavailableError:
            # It may have been decided, and the answer lost: the same id reserves once.
            outcome, decision = self._ready().write(decide)
        if outcome is Outcome.STALE:
            raise overtaken(claim)
        return outcome, decision if decision.reservation else _with_place(decision, claim, note)

    def _ready(self) -> Database:
        if not self._id:
            self._id = prepare(self._database)
        return self._database


def _with_place(decision: Decision, claim: Claim, note: Note) -> Decision:
    place = note.of(decision.available.balance.account_id).line.position(claim.attempt.holder)
    return replace(decision, available=replace(decision.available, place=place))
