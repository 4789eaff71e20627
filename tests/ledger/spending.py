"""What the tests of the ledger reserve, and how they let time pass."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger import _decision
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Decision, Note
from airflow_provider_youcom.ledger.rule import Outcome

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def attempt_of(run: str, attempt: int = 1, task_id: str = "gate", deployment: str = "production") -> Attempt:
    name = f"{deployment}/{run}/{task_id}/{attempt}"
    holder = Holder(deployment, "research", run, task_id)
    return Attempt(holder, id=name, order=f"{attempt:010d}", try_number=attempt)


def claim_of(run: str, usd: object = 25, attempt: int = 1, **options: object) -> Claim:
    names = {name: options.pop(name) for name in ("task_id", "deployment") if name in options}
    return Claim(attempt_of(run, attempt, **names), Decimal(str(usd)), **options)


def account_with(usd: object, account_id: str = "4f1c") -> AccountBalance:
    return AccountBalance(account_id, Decimal(str(usd)) * 100, NOON)


def reserve(
    ledger: Ledger, claim: Claim, usd: object, note: Note | None = None, settle_seconds: float = 60
) -> Decision:
    return ledger.decide(claim, account_with(usd), note or ledger.note(), settle_seconds)


def call_decide(
    ledger: Ledger, claim: Claim, balance: AccountBalance, note: Note, decision_id: str
) -> tuple[Outcome, Decision]:
    """Decide once; the ledger itself calls this again with the same id if an answer is lost."""
    return ledger._ready().write(
        lambda connection: _decision.decide(connection, claim, balance, note, 60_000_000, decision_id)
    )


def pass_time(engine: sa.engine.Engine, seconds: float) -> None:
    """Let time pass by moving every time in the ledger into the past. Below 0, the clock goes back."""
    moved = ", ".join(
        # A reservation that stands counts until 0.
        f"{column} = CASE WHEN {column} > 0 THEN {column} - {round(seconds * 1_000_000)} ELSE {column} END"
        for column in ("reserved_at", "expires_at", "asked_at", "counts_until", "ended_at")
    )
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(f"UPDATE youcom_reservations SET {moved}")
        for table, column in (
            ("youcom_accounts", "purge_before"),
            ("youcom_accounts", "moved_at"),
            ("youcom_accounts", "opened_at"),
            ("youcom_holders", "newest_at"),
            ("youcom_line", "joined_at"),
            ("youcom_line", "seen_at"),
            ("youcom_line", "alive_until"),
            ("youcom_readings", "time"),
            ("youcom_readings", "stored_at"),
        ):
            connection.exec_driver_sql(
                f"UPDATE {table} SET {column} = {column} - {round(seconds * 1_000_000)} WHERE {column} > 0"
            )


def pass_time_in_file(ledger_file: Path, seconds: float) -> None:
    """Let time pass in a ledger that is a file, which others have open."""
    engine = sa.create_engine(f"sqlite:///{ledger_file}")
    pass_time(engine, seconds)
    engine.dispose()


def statements_sent_from_now(engine: sa.engine.Engine) -> list[str]:
    """Return a list to which each statement that goes to the database is added, in order."""
    sent: list[str] = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def record(*arguments: Any) -> None:
        sent.append(arguments[2])

    return sent
