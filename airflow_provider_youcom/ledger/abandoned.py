"""Find and end reservations that nobody spends from any more, and that no teardown has released."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import ROUND_CEILING

from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.ledger.claim import Attempt, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.questions import Ask, Runs, Tasks
from airflow_provider_youcom.ledger.reservation import Reservation
from airflow_provider_youcom.ledger.rule import EndReason, is_older, may_supersede
from airflow_provider_youcom.money import format_usd

log = logging.getLogger(__name__)

# States in which a task spends, or will without asking its gate again. A task that waits for a retry is not
# among them: the cleared gate is in front of it.
MAY_SPEND = ("running", "restarting", "queued", "scheduled", "deferred")
_OVER = ("success", "failed")
_ASK_FOR_SECONDS = 10.0


def end_earlier_attempts(ledger: Ledger, attempt: Attempt, ask: Ask) -> None:
    """
    End the reservations of earlier attempts of a gate, once no task behind it can spend from them any more.

    :param ledger: where reservations are kept.
    :param attempt: the new attempt.
    :param ask: asks Airflow.
    """
    with _failures_are_logged():
        _end_earlier_attempts(ledger, attempt, ask)


def _end_earlier_attempts(ledger: Ledger, attempt: Attempt, ask: Ask) -> None:
    # Read before Airflow is asked: an attempt that reserves meanwhile keeps what it reserves.
    earlier = standing_of_earlier_attempts(ledger, attempt)
    if not earlier:
        return
    task_ids = tuple(sorted({task_id for each in earlier for task_id in each.task_ids}))
    holder = attempt.holder
    unfinished = _answer(ask, Tasks(holder.dag_id, holder.run_id, task_ids, MAY_SPEND))
    if may_supersede(unfinished):
        _end(ledger, earlier, EndReason.SUPERSEDED, by=holder.name)
        return
    log.info(
        "An earlier attempt of this gate keeps its %s, since %s of the tasks behind it may still spend it.",
        _total(earlier),
        "some" if unfinished is None else unfinished,
    )


def end_lost(ledger: Ledger, holder: Holder, ask: Ask) -> None:
    """
    End reservations that have expired, and those of this deployment whose runs are over.

    :param ledger: where reservations are kept.
    :param holder: who does this, for the history.
    :param ask: asks Airflow.
    """
    with _failures_are_logged():
        _end_lost(ledger, holder, ask)


def _end_lost(ledger: Ledger, holder: Holder, ask: Ask) -> None:
    for reservation in ledger.end_expired(by=holder.name):
        _log_end(reservation)
    by_dag: dict[str, list[Reservation]] = defaultdict(list)
    for reservation in ledger.mark_asked(holder.deployment):
        by_dag[reservation.holder.dag_id].append(reservation)
    deadline = time.monotonic() + _ASK_FOR_SECONDS
    for dag_id, reservations in by_dag.items():
        run_ids = sorted({each.holder.run_id for each in reservations})
        over = set(_runs_that_are_over(dag_id, run_ids, ask, deadline))
        left = [each for each in reservations if each.holder.run_id in over]
        _end(ledger, left, EndReason.RUN_OVER, by=holder.name)


def standing_of_earlier_attempts(ledger: Ledger, attempt: Attempt) -> list[Reservation]:
    """
    Return the standing reservations of earlier attempts of a gate.

    :param ledger: where reservations are kept.
    :param attempt: the new attempt.
    """
    holder = attempt.holder
    standing = ledger.standing(
        deployment=holder.deployment,
        dag_id=holder.dag_id,
        run_id=holder.run_id,
        task_id=holder.task_id,
        map_index=holder.map_index,
    )
    # An attempt whose try number or order is not lower than this one's may have been made by a clock that
    # runs ahead.
    return [
        each
        for each in standing
        if each.attempt.age != attempt.age and not is_older(attempt.age, each.attempt.age)
    ]


@contextmanager
def _failures_are_logged() -> Iterator[None]:
    """Go on if the ledger does not answer: what is not ended now goes on counting, and is found again."""
    try:
        yield
    except YouComError as error:
        log.warning("Reservations that nobody spends from any more were not ended: %s", error)


def _end(ledger: Ledger, reservations: Iterable[Reservation], reason: EndReason, by: str) -> None:
    for reservation in ledger.end([each.id for each in reservations], reason, by):
        _log_end(reservation)


def _runs_that_are_over(dag_id: str, run_ids: list[str], ask: Ask, deadline: float) -> Iterator[str]:
    """Yield the runs that are over, and ask about half of them at a time until each is found."""
    # A run that Airflow does not find is not over, and what it has reserved is left to expire.
    if not run_ids or time.monotonic() > deadline:
        return
    over = _answer(ask, Runs(dag_id, tuple(run_ids), _OVER))
    if not over:
        return
    if over == len(run_ids):
        yield from run_ids
        return
    middle = len(run_ids) // 2
    yield from _runs_that_are_over(dag_id, run_ids[:middle], ask, deadline)
    yield from _runs_that_are_over(dag_id, run_ids[middle:], ask, deadline)


def _answer(ask: Ask, question: Tasks | Runs) -> int | None:
    try:
        return ask(question)
    except Exception as error:  # noqa: BLE001 - it differs with the Airflow version; without an answer, nothing ends
        log.warning("Airflow did not say which tasks and runs are over (%s: %s)", type(error).__name__, error)
        return None


def _log_end(reservation: Reservation) -> None:
    holder = reservation.holder
    log.info(
        "The reservation of %s for task %s of run %s in DAG %s has ended: %s.",
        format_usd(reservation.amount_usd, ROUND_CEILING),
        holder.task_id,
        holder.run_id,
        holder.dag_id,
        reservation.end_reason and reservation.end_reason.value,
    )


def _total(reservations: Iterable[Reservation]) -> str:
    return " and ".join(format_usd(each.amount_usd, ROUND_CEILING) for each in reservations)
