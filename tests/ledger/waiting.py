"""What the tests of the line do: gates that check and wait, and others that reserve meanwhile."""

from __future__ import annotations

import itertools
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.ledger.claim import Claim
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Decision, Note
from tests.ledger.spending import account_with, claim_of, reserve

ACCOUNT = "4f1c"
# Shorter than the longest time for which a gate counts as waiting without a check.
HOLD_SECONDS = 30 * 60
_numbers = itertools.count()


def look(
    ledger: Ledger,
    claim: Claim,
    available_usd: object,
    pause_seconds: float = 60,
    hold_seconds: float = HOLD_SECONDS,
) -> Decision:
    """Let a gate that waits on a worker check once, while so much is available."""
    reserved = ledger.note().of(ACCOUNT).reserved_usd
    balance = account_with(type(reserved)(str(available_usd)) + reserved)
    decision = ledger.reserve(claim, lambda: balance, settle_seconds=0, hold_seconds=hold_seconds)
    if decision.reservation is None:
        ledger.line.join(claim, ACCOUNT, pause_seconds)
    return decision


def others_reserve(ledger: Ledger, usd: object) -> None:
    """Let another run reserve so much, while no more is available besides what is held."""
    account = ledger.note().of(ACCOUNT)
    claim = claim_of(f"another {next(_numbers)}", usd)
    available_usd = account.held_before(claim.attempt.holder).usd + claim.amount_usd
    decision = reserve(ledger, claim, account.reserved_usd + available_usd)
    assert decision.reservation is not None


def keep(ledger: Ledger, *claims: Claim, pause_seconds: float = 60, note: Note | None = None) -> None:
    """Let gates that have checked together in the triggerer keep their places, or join."""
    ledger.line.keep(claims, ACCOUNT, pause_seconds, note)


def in_line(ledger: Ledger) -> list[str]:
    """Return the runs of the gates that wait, the first in line first."""
    return [place.holder.run_id for place in ledger.line.places(ACCOUNT)]


def held(ledger: Ledger) -> list[str]:
    """Return the runs of the gates whose amounts are held."""
    return [place.holder.run_id for place in ledger.line.places(ACCOUNT) if place.is_held]


def hold(ledger: Ledger, usd: int = 100, run: str = "large") -> None:
    """Let a gate wait until its amount is held."""
    look(ledger, claim_of(run, usd), 0, pause_seconds=10_000)
    others_reserve(ledger, 4 * usd + 1)
    assert run in held(ledger)


def scalar(engine: sa.engine.Engine, query: str) -> Any:
    """Return the first value that a query returns."""
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar()
