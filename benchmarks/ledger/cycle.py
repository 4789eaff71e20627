"""A cycle of note, decision and release."""

from __future__ import annotations

from airflow_provider_youcom.reservations.ledger import Ledger
from airflow_provider_youcom.reservations.reservation import new_decision_id
from airflow_provider_youcom.reservations.rule import EndReason
from benchmarks.ledger.hammer import balance_of, claim_of


def cycle(ledger: Ledger, run: str) -> None:
    """
    Note, decide and release once.

    :param ledger: the ledger.
    :param run: a run that has not reserved before.
    """
    claim = claim_of(run, 1, settle_seconds=0)
    decision = ledger.decide(claim, balance_of(1000), ledger.note(), new_decision_id())
    if decision.reservation is None:
        raise RuntimeError(f"A cycle was {decision.outcome.value}.")
    ledger.end([decision.reservation.id], EndReason.RELEASED, by="benchmark")
