"""End reservations that nobody spends from any more, and that no teardown has released."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from decimal import ROUND_CEILING

from airflow_provider_youcom.hooks._reservations.counts import Count, Runs, Tasks
from airflow_provider_youcom.money import format_usd
from airflow_provider_youcom.reservations.claim import Attempt, Gate
from airflow_provider_youcom.reservations.ledger import Ledger
from airflow_provider_youcom.reservations.reservation import Reservation
from airflow_provider_youcom.reservations.rule import EndReason, may_supersede

log = logging.getLogger(__name__)

# States in which a task spends, or will without asking its gate again. A task that waits for a retry is not
# among them: the cleared gate is in front of it.
MAY_SPEND = ("running", "restarting", "queued", "scheduled", "deferred")
_OVER = ("success", "failed")
_NOT_OVER = ("queued", "running")
_ASK_FOR_SECONDS = 10.0


def end_of_earlier_tries(ledger: Ledger, attempt: Attempt, count: Count) -> None:
    """
    End the reservations of earlier tries of a gate, once no task behind it can spend from them any more.

    :param ledger: where reservations are kept.
    :param attempt: the new try.
    :param count: asks Airflow.
    """
    # Read before Airflow is asked: a try that reserves meanwhile keeps what it reserves.
    earlier = standing_of_earlier_tries(ledger, attempt)
    if not earlier:
        return
    task_ids = tuple(sorted({task_id for each in earlier for task_id in each.task_ids}))
    gate = attempt.gate
    unfinished = _answer(count, Tasks(gate.dag_id, gate.run_id, task_ids, MAY_SPEND))
    if may_supersede(unfinished):
        _end(ledger, earlier, EndReason.SUPERSEDED, by=_name_of(gate))
        return
    log.info(
        "An earlier try of this gate keeps its %s, since %s of the tasks behind it may still spend it.",
        _total(earlier),
        "some" if unfinished is None else unfinished,
    )


def end_of_lost(ledger: Ledger, gate: Gate, count: Count) -> None:
    """
    End reservations that have expired, and those of this deployment whose runs are over.

    :param ledger: where reservations are kept.
    :param gate: the gate that does this, for the history.
    :param count: asks Airflow.
    """
    for reservation in ledger.end_expired(by=_name_of(gate)):
        _log_end(reservation)
    by_dag: dict[str, list[Reservation]] = defaultdict(list)
    for reservation in ledger.take_to_ask(gate.deployment):
        by_dag[reservation.gate.dag_id].append(reservation)
    deadline = time.monotonic() + _ASK_FOR_SECONDS
    for dag_id, reservations in by_dag.items():
        over = _runs_that_are_over(
            dag_id, sorted({each.gate.run_id for each in reservations}), count, deadline
        )
        left = [each for each in reservations if each.gate.run_id in over]
        _end(ledger, left, EndReason.RUN_OVER, by=_name_of(gate))


def standing_of_earlier_tries(ledger: Ledger, attempt: Attempt) -> list[Reservation]:
    """
    Return the standing reservations of earlier tries of a gate.

    :param ledger: where reservations are kept.
    :param attempt: the new try.
    """
    gate = attempt.gate
    standing = ledger.standing(
        deployment=gate.deployment,
        dag_id=gate.dag_id,
        run_id=gate.run_id,
        task_id=gate.task_id,
        map_index=gate.map_index,
    )
    return [each for each in standing if each.attempt.order < attempt.order]


def _end(ledger: Ledger, reservations: Iterable[Reservation], reason: EndReason, by: str) -> None:
    for reservation in ledger.end([each.id for each in reservations], reason, by):
        _log_end(reservation)


def _runs_that_are_over(dag_id: str, run_ids: list[str], count: Count, deadline: float) -> set[str]:
    # All in one question first; one by one only if some are over. A run that Airflow does not find is
    # neither, and what it reserved is left to expire.
    if _answer(count, Runs(dag_id, tuple(run_ids), _NOT_OVER)) in {None, len(run_ids)}:
        return set()
    over = set()
    for run_id in run_ids:
        if time.monotonic() > deadline:
            break
        if _answer(count, Runs(dag_id, (run_id,), _OVER)) == 1:
            over.add(run_id)
    return over


def _answer(count: Count, question: Tasks | Runs) -> int | None:
    try:
        return count(question)
    except Exception as error:  # noqa: BLE001 - it differs with the Airflow version; without an answer, nothing ends
        log.warning("Airflow did not say which tasks and runs are over (%s: %s)", type(error).__name__, error)
        return None


def _log_end(reservation: Reservation) -> None:
    gate = reservation.gate
    log.info(
        "The reservation of %s for task %s of run %s in DAG %s has ended: %s.",
        format_usd(reservation.amount_usd, ROUND_CEILING),
        gate.task_id,
        gate.run_id,
        gate.dag_id,
        reservation.end_reason and reservation.end_reason.value,
    )


def _total(reservations: Iterable[Reservation]) -> str:
    return " and ".join(format_usd(each.amount_usd, ROUND_CEILING) for each in reservations)


def _name_of(gate: Gate) -> str:
    return f"{gate.dag_id}.{gate.task_id} of {gate.run_id}" if gate.dag_id else gate.run_id
