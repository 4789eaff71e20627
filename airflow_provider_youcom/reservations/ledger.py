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

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.reservations import _statements as statements
from airflow_provider_youcom.reservations import rule
from airflow_provider_youcom.reservations._amounts import (
    MICROSECONDS,
    balance_to_units,
    seconds_to_microseconds,
    units_to_usd,
)
from airflow_provider_youcom.reservations._creation import prepare
from airflow_provider_youcom.reservations._database import Database
from airflow_provider_youcom.reservations._schema import STANDS, reservations
from airflow_provider_youcom.reservations.reservation import (
    AccountNote,
    Attempt,
    Claim,
    Decision,
    Gate,
    Note,
    Reservation,
    to_datetime,
)
from airflow_provider_youcom.reservations.rule import EndReason, Outcome

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

    def note(self) -> Note:
        """Return what must be known before You.com is asked, of all accounts, in one query."""
        rows = self._ready().read(lambda connection: connection.execute(statements.NOTE).all())
        return _to_note(rows)

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
        return self._ready().write(lambda connection: _decide(connection, claim, balance, note, decision_id))

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
        rows = self._ready().write(lambda connection: _end_and_return(connection, wanted, reason, by))
        return [_to_reservation(row) for row in rows]

    def end_expired(self, by: str, limit: int = 100) -> list[Reservation]:
        """
        End the reservations that have expired, and return those that this call has ended.

        :param by: who looked for them, for the history.
        :param limit: how many to end at most.
        """
        rows = self._ready().write(lambda connection: _end_expired(connection, by, limit))
        return [_to_reservation(row) for row in rows]

    def take_to_ask(self, deployment: str, limit: int = 100) -> list[Reservation]:
        """
        Return standing reservations about whose runs Airflow should be asked now, and remember that.

        Each is returned at most once a minute, whoever calls this, and first a minute after it was made.

        :param deployment: whose runs; nobody else's Airflow can be asked.
        :param limit: how many to return at most.
        """
        rows = self._ready().write(lambda connection: _take_to_ask(connection, deployment, limit))
        return [_to_reservation(row) for row in rows]

    def get(self, ids: Iterable[str]) -> list[Reservation]:
        """
        Return the reservations that these ids name, standing or ended.

        :param ids: ids of reservations; those that name nothing are left out.
        """
        wanted = {"ids": list(ids)}
        rows = self._ready().read(lambda connection: connection.execute(statements.BY_IDS, wanted).all())
        return [_to_reservation(row) for row in rows]

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
        return self._ready().write(lambda connection: _purge(connection, account_id, before))

    def _ready(self) -> Database:
        if not self._is_prepared:
            prepare(self._database)
            self._is_prepared = True
        return self._database

    def _select(self, query: Any, names: dict[str, str | int]) -> list[Reservation]:
        for name, value in names.items():
            query = query.where(reservations.c[name] == value)
        rows = self._ready().read(lambda connection: connection.execute(query).all())
        return [_to_reservation(row) for row in rows]


def _decide(
    connection: sa.engine.Connection, claim: Claim, balance: AccountBalance, note: Note, decision_id: str
) -> Decision:
    account_id = balance.account_id
    attempt = claim.attempt
    _lock(connection, account_id)
    own = connection.execute(
        statements.OWN, {"this_account": account_id, "this_attempt": attempt.id, "decision_id": decision_id}
    ).all()
    stands = next((row for row in own if row.ended_at is None and not row.is_expired), None)
    expired = [row.id for row in own if row.ended_at is None and row.is_expired]
    if expired:
        _end(connection, expired, EndReason.EXPIRED, by=f"attempt {attempt.id}")
    counter = note.of(account_id).counter
    account = connection.execute(
        statements.ACCOUNT,
        {
            "this_account": account_id,
            "this_attempt": attempt.id,
            "this_gate": attempt.gate.key,
            "run_key": attempt.gate.run_key,
            "counter": counter,
            "time": note.time,
        },
    ).one()
    available = balance_to_units(balance.balance_cents) - int(account.reserved)
    if stands is not None:
        return _decision(Outcome.OPEN, claim, account, available, _to_reservation(stands))
    if any(row.id == decision_id for row in own):
        # This very decision has reserved, and that has ended since.
        return _decision(Outcome.OUTDATED, claim, account, available, None)
    outcome = rule.decide(
        needed=claim.amount,
        available=available,
        counter=counter,
        oldest_counter=account.oldest_counter,
        order=attempt.order,
        newest_order=account.newest_order,
    )
    if outcome in {Outcome.OPEN, Outcome.SHORT}:
        _remember_attempt(connection, account_id, attempt, account)
    if outcome is not Outcome.OPEN:
        return _decision(outcome, claim, account, available, None)
    row = _new_row(claim, account_id, decision_id, account.now)
    connection.execute(statements.ADD_RESERVATION, row)
    return _decision(outcome, claim, account, available, _new_reservation(claim, row))


def _lock(connection: sa.engine.Connection, account_id: str) -> None:
    """Write the account's row, which every decision and every end does before it reads anything."""
    account = {"this_account": account_id}
    if connection.execute(statements.LOCK, account).rowcount == 0:
        connection.execute(statements.ADD_ACCOUNT, account)
        connection.execute(statements.LOCK, account)


def _remember_attempt(
    connection: sa.engine.Connection, account_id: str, attempt: Attempt, account: Any
) -> None:
    key = attempt.gate.key
    if account.newest_order is None:
        row = {"account_id": account_id, "gate_key": key, "newest_order": attempt.order}
        connection.execute(statements.ADD_GATE, {**row, "newest_at": account.now})
    elif attempt.order > account.newest_order:
        gate = {"this_account": account_id, "this_gate": key}
        connection.execute(statements.RENEW_GATE, {**gate, "order": attempt.order, "now": account.now})


def _new_row(claim: Claim, account_id: str, decision_id: str, now: int) -> dict[str, Any]:
    gate = claim.attempt.gate
    return {
        "id": decision_id,
        "account_id": account_id,
        "deployment": gate.deployment,
        "dag_id": gate.dag_id,
        "run_id": gate.run_id,
        "task_id": gate.task_id,
        "map_index": gate.map_index,
        "gate_key": gate.key,
        "run_key": gate.run_key,
        "attempt_id": claim.attempt.id,
        "attempt_order": claim.attempt.order,
        "task_ids": json.dumps(claim.task_ids),
        "amount": claim.amount,
        "settle": claim.settle,
        "reserved_at": now,
        "expires_at": now + claim.reserve_for,
        "asked_at": now,
        "end_number": rule.NOT_ENDED,
        "counts_until": 0,
    }


def _new_reservation(claim: Claim, row: dict[str, Any]) -> Reservation:
    return Reservation(
        id=row["id"],
        account_id=row["account_id"],
        attempt=claim.attempt,
        task_ids=claim.task_ids,
        amount_usd=units_to_usd(claim.amount),
        settle_seconds=claim.settle / MICROSECONDS,
        reserved_at=to_datetime(row["reserved_at"]),
        expires_at=to_datetime(row["expires_at"]),
    )


def _decision(
    outcome: Outcome, claim: Claim, account: Any, available: int, reservation: Reservation | None
) -> Decision:
    return Decision(
        outcome=outcome,
        reservation=reservation,
        available_usd=units_to_usd(available),
        reserved_usd=units_to_usd(int(account.reserved)),
        reserved_runs=account.runs,
        own_run_usd=units_to_usd(int(account.own_run)),
        missing_usd=units_to_usd(max(0, claim.amount - available) if reservation is None else 0),
    )


def _end(connection: sa.engine.Connection, ids: Sequence[str], reason: EndReason, by: str) -> list[str]:
    """End what stands, and return the ids of what this call has ended."""
    rows = connection.execute(statements.BY_IDS, {"ids": ids}).all()
    # Always in the same order, so that two who end in several accounts do not wait for each other.
    standing = sorted({row.account_id for row in rows if row.ended_at is None})
    return [
        ended for account_id in standing for ended in _end_in_account(connection, account_id, ids, reason, by)
    ]


def _end_in_account(
    connection: sa.engine.Connection, account_id: str, ids: Sequence[str], reason: EndReason, by: str
) -> list[str]:
    account = {"this_account": account_id}
    connection.execute(statements.LOCK_TO_END, account)
    ending = connection.execute(statements.ENDING, {**account, "ids": ids}).all()
    by_reason = defaultdict(list)
    for row in ending:
        by_reason[rule.reason_of_end(reason, row.attempt_order, row.newest_order)].append(row)
    for own_reason, rows in by_reason.items():
        _write_end(connection, rows, own_reason, by)
    return [row.id for row in ending]


def _write_end(connection: sa.engine.Connection, rows: Sequence[Any], reason: EndReason, by: str) -> None:
    connection.execute(
        statements.END,
        {
            "ids": [row.id for row in rows],
            "number": rows[0].counter,
            "now": rows[0].now,
            "grace": reason.grace_seconds * MICROSECONDS,
            "reason": reason.value,
            "by": by,
        },
    )


def _end_and_return(
    connection: sa.engine.Connection, ids: Sequence[str], reason: EndReason, by: str
) -> Sequence[Any]:
    _end(connection, ids, reason, by)
    return connection.execute(statements.BY_IDS, {"ids": ids}).all()


def _end_expired(connection: sa.engine.Connection, by: str, limit: int) -> Sequence[Any]:
    ids = connection.execute(statements.EXPIRED, {"limit": limit}).scalars().all()
    # Somebody else may have ended some of them before this call had written their accounts' rows.
    ended = _end(connection, ids, EndReason.EXPIRED, by) if ids else []
    return connection.execute(statements.BY_IDS, {"ids": ended}).all() if ended else []


def _take_to_ask(connection: sa.engine.Connection, deployment: str, limit: int) -> Sequence[Any]:
    rows = connection.execute(statements.TO_ASK, {"deployment": deployment, "limit": limit}).all()
    if rows:
        connection.execute(statements.ASKED, {"ids": [row.id for row in rows]})
    return rows


def _purge(connection: sa.engine.Connection, account_id: str, before: int) -> int:
    account = {"this_account": account_id}
    # The counter rises first: every note that was made until now is older.
    connection.execute(statements.LOCK_TO_END, account)
    connection.execute(statements.RAISE_OLDEST_COUNTER, account)
    purged: int = connection.execute(statements.PURGE_RESERVATIONS, {**account, "before": before}).rowcount
    connection.execute(statements.PURGE_GATES, {**account, "before": before})
    return purged


def _to_note(rows: Sequence[Any]) -> Note:
    grouped = defaultdict(list)
    for row in rows:
        grouped[row.account_id].append(row)
    return Note(
        # SQLite reads its clock anew for each row.
        time=min(row.now for row in rows),
        accounts={
            account_id: _to_account_note(of_account)
            for account_id, of_account in grouped.items()
            if account_id is not None
        },
    )


def _to_account_note(rows: Sequence[Any]) -> AccountNote:
    counting = [row for row in rows if row.amount is not None]
    standing = [row for row in counting if row.ended_at is None]
    runs: dict[str, int] = defaultdict(int)
    for row in standing:
        runs[row.run_key] += row.amount
    return AccountNote(
        counter=rows[0].counter,
        reserved=sum(row.amount for row in counting),
        runs=dict(runs),
        attempts=frozenset(row.attempt_id for row in standing),
    )


def _to_reservation(row: Any) -> Reservation:
    gate = Gate(row.deployment, row.dag_id, row.run_id, row.task_id, row.map_index)
    ended = row.ended_at is not None
    return Reservation(
        id=row.id,
        account_id=row.account_id,
        attempt=Attempt(gate, row.attempt_id, row.attempt_order),
        task_ids=tuple(json.loads(row.task_ids)),
        amount_usd=units_to_usd(row.amount),
        settle_seconds=row.settle / MICROSECONDS,
        reserved_at=to_datetime(row.reserved_at),
        expires_at=to_datetime(row.expires_at),
        ended_at=to_datetime(row.ended_at) if ended else None,
        end_reason=EndReason(row.end_reason) if ended else None,
        ended_by=row.ended_by,
        counts_until=to_datetime(row.counts_until) if ended else None,
    )
