"""The transaction of a decision."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance, AvailableCredits
from airflow_provider_youcom.ledger import _statements as statements
from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger._account_lock import lock
from airflow_provider_youcom.ledger._amounts import (
    US_PER_SECOND,
    balance_to_units,
    units_to_usd,
    within_bounds,
)
from airflow_provider_youcom.ledger._ends import end
from airflow_provider_youcom.ledger._line_transactions import held, leave, look, reset_patience
from airflow_provider_youcom.ledger._rows import newest_age, to_datetime, to_reservation
from airflow_provider_youcom.ledger.claim import Attempt, Claim
from airflow_provider_youcom.ledger.place import NOTHING_HELD, Held
from airflow_provider_youcom.ledger.reservation import Decision, Note, Reservation
from airflow_provider_youcom.ledger.rule import EndReason, Outcome


def decide(
    connection: sa.engine.Connection,
    claim: Claim,
    balance: AccountBalance,
    note: Note,
    settle_us: int,
    decision_id: str,
) -> tuple[Outcome, Decision]:
    """
    Reserve if enough is available, and return the outcome.

    Called again with the same id after a lost answer, it reserves nothing twice.
    """
    account_id = balance.account_id
    attempt = claim.attempt
    lock(connection, account_id)
    own = connection.execute(
        statements.OWN, {"this_account": account_id, "this_attempt": attempt.id, "decision_id": decision_id}
    ).all()
    stands = next((row for row in own if row.ended_at is None and not row.is_expired), None)
    expired = [row.id for row in own if row.ended_at is None and row.is_expired]
    if expired:
        end(connection, expired, EndReason.EXPIRED, by=f"attempt {attempt.id}")
    counter = note.of(account_id).counter
    account = connection.execute(
        statements.ACCOUNT,
        {
            "this_account": account_id,
            "this_attempt": attempt.id,
            "this_holder": attempt.holder.key,
            "run_key": attempt.holder.run_key,
            "counter": counter,
            "time": note.time,
        },
    ).one()
    if account.expired:
        # They still count for this note, so that the sums above hold.
        gone = connection.execute(statements.EXPIRED_IN_ACCOUNT, {"this_account": account_id}).scalars().all()
        end(connection, gone, EndReason.EXPIRED, by=f"attempt {attempt.id}")
    if stands is not None:
        return _decision(Outcome.OPEN, balance, account, to_reservation(stands))
    if any(row.id == decision_id for row in own):
        # An earlier call of this decision has reserved, and that reservation has ended since.
        return _decision(Outcome.OUTDATED, balance, account, None)
    in_line = look(connection, account_id, attempt.holder, account)
    outcome = rule.decide(
        needed_units=claim.needed_units,
        available_units=_available_units(balance, account) - int(in_line.held_units),
        counter=counter,
        oldest_counter=account.oldest_counter,
        age=attempt.age,
        newest_age=newest_age(account),
    )
    if outcome in {Outcome.OPEN, Outcome.SHORT}:
        _remember_attempt(connection, account_id, attempt, account)
    if outcome is not Outcome.OPEN:
        return _decision(outcome, balance, account, None, held(connection, account_id, in_line))
    row = _new_row(claim, account, account_id, decision_id, settle_us)
    _open(connection, row, account, left_units=_available_units(balance, account) - claim.needed_units)
    if account.is_in_line:
        leave(connection, account_id, attempt.holder)
    reset_patience(connection, account_id, in_line, claim.needed_units)
    _, decision = _decision(outcome, balance, account, _new_reservation(claim, row))
    return outcome, replace(decision, opened_units=decision.opened_units + claim.needed_units)


def _open(connection: sa.engine.Connection, row: dict[str, Any], account: Any, left_units: int) -> None:
    """Add a reservation to the account."""
    connection.execute(statements.ADD_RESERVATION, row)
    this_account = {"this_account": row["account_id"]}
    # A run that passes freely is no sign that those in line can be paid.
    passes_freely = bool(row["dag_id"]) and account.run_since is not None
    opened = {
        "amount": row["amount_units"],
        "left": within_bounds(left_units),
        "now": account.now,
        "opened_at": account.opened_at if passes_freely else account.now,
    }
    connection.execute(statements.OPENED, {**this_account, **opened})


def _remember_attempt(
    connection: sa.engine.Connection, account_id: str, attempt: Attempt, account: Any
) -> None:
    key = attempt.holder.key
    known_age = newest_age(account)
    if known_age is None:
        row = {"account_id": account_id, "holder_key": key, "newest_at": account.now}
        newest = {"newest_order": attempt.order, "newest_try": attempt.try_number}
        connection.execute(statements.ADD_HOLDER, row | newest)
    elif attempt.age != known_age:
        holder = {"this_account": account_id, "this_holder": key, "now": account.now}
        connection.execute(
            statements.RENEW_HOLDER, holder | {"order": attempt.order, "number": attempt.try_number}
        )


def _new_row(claim: Claim, account: Any, account_id: str, decision_id: str, settle_us: int) -> dict[str, Any]:
    holder = claim.attempt.holder
    return {
        "id": decision_id,
        "account_id": account_id,
        "deployment": holder.deployment,
        "dag_id": holder.dag_id,
        "run_id": holder.run_id,
        "task_id": holder.task_id,
        "map_index": holder.map_index,
        "holder_key": holder.key,
        "run_key": holder.run_key,
        "attempt_id": claim.attempt.id,
        "attempt_order": claim.attempt.order,
        "try_number": claim.attempt.try_number,
        "task_ids": json.dumps(claim.task_ids),
        "amount_units": claim.needed_units,
        "settle_us": settle_us,
        "reserved_at": account.now,
        "expires_at": account.now + claim.reserve_for_us,
        "asked_at": account.now,
        "end_number": rule.NOT_ENDED,
        "counts_until": 0,
        "newest_place": account.newest_place,
    }


def _new_reservation(claim: Claim, row: dict[str, Any]) -> Reservation:
    return Reservation(
        id=row["id"],
        account_id=row["account_id"],
        attempt=claim.attempt,
        task_ids=claim.task_ids,
        amount_usd=units_to_usd(claim.needed_units),
        settle_seconds=row["settle_us"] / US_PER_SECOND,
        reserved_at=to_datetime(row["reserved_at"]),
        expires_at=to_datetime(row["expires_at"]),
    )


def _available_units(balance: AccountBalance, account: Any) -> int:
    return balance_to_units(balance.balance_cents) - int(account.reserved)


def _decision(
    outcome: Outcome,
    balance: AccountBalance,
    account: Any,
    reservation: Reservation | None,
    held: Held = NOTHING_HELD,
) -> tuple[Outcome, Decision]:
    available = AvailableCredits(
        balance,
        available_usd=units_to_usd(_available_units(balance, account)),
        reserved_usd=units_to_usd(int(account.reserved)),
        reserved_runs=account.runs,
        own_run_usd=units_to_usd(int(account.own_run)),
        reservation_id=reservation.id if reservation else None,
        held_usd=held.usd,
        held_for=held.whom,
    )
    return outcome, Decision(available, reservation, account.opened_units)
