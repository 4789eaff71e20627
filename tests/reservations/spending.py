"""What the tests of the ledger reserve, and how they let time pass."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.reservations.claim import Attempt, Claim, Gate
from airflow_provider_youcom.reservations.ledger import Ledger
from airflow_provider_youcom.reservations.reservation import Decision, Note, new_decision_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def attempt_of(run: str, attempt: int = 1, task_id: str = "gate", deployment: str = "production") -> Attempt:
    name = f"{deployment}/{run}/{task_id}/{attempt}"
    return Attempt(Gate(deployment, "research", run, task_id), id=name, order=f"{attempt:010d}")


def claim_of(run: str, usd: object = 25, attempt: int = 1, **options: object) -> Claim:
    names = {name: options.pop(name) for name in ("task_id", "deployment") if name in options}
    return Claim(attempt_of(run, attempt, **names), Decimal(str(usd)), **options)


def account_with(usd: object, account_id: str = "4f1c") -> AccountBalance:
    return AccountBalance(account_id, Decimal(str(usd)) * 100, NOON)


def reserve(ledger: Ledger, claim: Claim, usd: object, note: Note | None = None) -> Decision:
    return ledger.decide(claim, account_with(usd), note or ledger.note(), new_decision_id())


def pass_time(engine: sa.engine.Engine, seconds: float) -> None:
    """Let time pass by moving every time in the ledger into the past. Below 0, the clock goes back."""
    moved = ", ".join(
        f"{column} = {column} - {round(seconds * 1_000_000)}"
        for column in ("reserved_at", "expires_at", "asked_at", "counts_until", "ended_at")
    )
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(f"UPDATE youcom_reservations SET {moved}")
