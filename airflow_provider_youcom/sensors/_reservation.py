"""What a gate does to reserve, besides checking the balance."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_youcom._tasks_behind import tasks_behind
from airflow_provider_youcom.exceptions import YouComError, YouComRefusedError
from airflow_provider_youcom.money import parse_usd
from airflow_provider_youcom.reservations.claim import Claim, duration_seconds

if TYPE_CHECKING:
    from airflow_provider_youcom.available import AvailableCredits
    from airflow_provider_youcom.gate import Verdict
    from airflow_provider_youcom.hooks.youcom import YouComHook
    from airflow_provider_youcom.operators.release import ReleaseCreditsOperator

log = logging.getLogger(__name__)

_ON_ONE_MACHINE = ("LocalExecutor", "SequentialExecutor", "DebugExecutor")


def claim_of(gate: Any, context: Any) -> Claim:
    """
    Return what a gate wants to reserve. The settle time is that of the connection, when it is read.

    :param gate: a ``BalanceSensor`` with ``reserve``.
    :param context: Airflow's context.
    :raises YouComRefusedError: if an option that a template rendered is not valid.
    """
    from airflow_provider_youcom.hooks._reservations.holder import attempt_of_gate

    try:
        return Claim(
            attempt_of_gate(context),
            parse_usd(gate.min_usd, "min_usd"),
            reserve_for_seconds=duration_seconds(gate.reserve_for, "reserve_for"),
            task_ids=tuple(sorted(task.task_id for task in tasks_behind(gate))),
        )
    except ValueError as error:
        raise YouComRefusedError(str(error)) from None


def reserve(hook: YouComHook, claim: Claim) -> AvailableCredits:
    """
    Reserve what is claimed if it is available, and return what is.

    :param hook: connects to You.com and its ledger.
    :param claim: what the gate wants to reserve.
    """
    from airflow_provider_youcom.hooks._reservations.counts import count
    from airflow_provider_youcom.hooks._reservations.ending import end_of_earlier_tries, end_of_lost
    from airflow_provider_youcom.hooks._reservations.reserving import reserve as note_ask_decide

    ledger = hook.ledger
    if ledger.is_for_one_machine and not _runs_on_one_machine():
        log.warning(
            "The ledger is a file of this machine, and the executor uses several machines, which do not see "
            "each other's reservations: put the ledger into PostgreSQL."
        )
    # Before the note: what ends after it would count although it had ended.
    end_of_earlier_tries(ledger, claim.attempt, count)
    end_of_lost(ledger, claim.attempt.gate, count)
    return note_ask_decide(hook.get_balance, ledger, replace(claim, settle_seconds=hook.settle_seconds))


def stands(hook: YouComHook, verdict: Verdict) -> bool:
    """
    Return whether a reservation that the triggerer has made still stands.

    It may have expired while the task waited for a worker, or somebody may have released it.

    :param hook: connects to the ledger.
    :param verdict: the triggerer's, which opens the gate.
    """
    try:
        found = hook.ledger.get([verdict.reservation_id] if verdict.reservation_id else [])
    except YouComError as error:
        log.warning("Checking again, since the ledger does not say whether the reservation stands: %s", error)
        return False
    if not any(each.stands for each in found):
        log.info("Checking again, since what the triggerer reserved does not stand any more.")
        return False
    return True


def teardown_of(gate: Any) -> ReleaseCreditsOperator:
    """
    Return the teardown that releases what a gate has reserved; the same one at each call.

    :param gate: a ``BalanceSensor`` with ``reserve``.
    """
    from airflow_provider_youcom.operators.release import ReleaseCreditsOperator

    label = f"release_{gate.label}"
    group = gate.task_group
    task_id = group.child_id(label) if group else label
    if gate.dag.has_task(task_id):
        existing: ReleaseCreditsOperator = gate.dag.get_task(task_id)
        return existing
    teardown = ReleaseCreditsOperator(
        task_id=label,
        gate_task_id=gate.task_id,
        youcom_conn_id=gate.youcom_conn_id,
        dag=gate.dag,
        task_group=group,
    )
    teardown.as_teardown(setups=gate)
    return teardown


def warn_if_never_released(gate: Any) -> None:
    """
    Warn of a gate whose reservation no task releases.

    :param gate: a ``BalanceSensor`` with ``reserve``, on a worker, which has its DAG.
    """
    from airflow_provider_youcom.operators.release import ReleaseCreditsOperator

    behind = gate.dag.get_task(gate.task_id).get_flat_relatives(upstream=False)
    if any(isinstance(task, ReleaseCreditsOperator) and task.gate_task_id == gate.task_id for task in behind):
        return
    log.warning(
        "No task releases what gate %s reserves, so other gates go without it until the run is over: create "
        "the tasks that spend it in the with block of gate.reservation(), or, behind a mapped gate, in the "
        "with block of a ReleaseCreditsOperator.",
        gate.task_id,
    )


def _runs_on_one_machine() -> bool:
    executors = conf.get("core", "executor", fallback="LocalExecutor").split(",")
    return all(executor.split(":")[0].strip().endswith(_ON_ONE_MACHINE) for executor in executors)
