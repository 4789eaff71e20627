"""A cycle of note, decision and release."""

from __future__ import annotations

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from benchmarks.ledger.hammer import balance_of, claim_of


def cycle(ledger: Ledger, run: str) -> None:
    """
    Note, decide and release once.

    :param ledger: the ledger.
    :param run: a run that has not reserved before.
    """
    decision = ledger.decide(claim_of(run, 1), balance_of(1000), ledger.note(), settle_seconds=0)
    if decision.reservation is None:
        raise RuntimeError("Nothing was reserved.")
    ledger.end([decision.reservation.id], EndReason.RELEASED, by="benchmark")
