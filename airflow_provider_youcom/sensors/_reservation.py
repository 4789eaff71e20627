"""What a gate does to reserve, besides checking the balance."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_youcom._airflow import LEDGER_ID_KEY, ask, attempt_of_gate, tasks_behind
from airflow_provider_youcom.exceptions import (
    YouComError,
    YouComLedgerUnavailableError,
    YouComRefusedError,
)
from airflow_provider_youcom.ledger.claim import Claim, duration_seconds
from airflow_provider_youcom.money import parse_usd

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_youcom.balance import AvailableCredits
    from airflow_provider_youcom.gate import Verdict
    from airflow_provider_youcom.hooks.youcom import YouComHook
    from airflow_provider_youcom.ledger.ledger import Ledger
    from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
    from airflow_provider_youcom.sensors.balance import BalanceSensor

log = logging.getLogger(__name__)

_ON_ONE_MACHINE = ("LocalExecutor", "SequentialExecutor", "DebugExecutor")


def needs_nothing(gate: BalanceSensor) -> bool:
    """Return whether a template or another task has set ``min_usd`` to 0."""
    try:
        return not parse_usd(gate.min_usd, "min_usd")
    except ValueError:
        # The rule says what is wrong with it.
        return False


def claim_of(gate: BalanceSensor, context: Any) -> Claim | None:
    """
    Return what a gate wants to reserve; None if it does not reserve, or needs nothing.

    :raises YouComRefusedError: if an option that a template rendered is not valid.
    """
    if not gate.reserve:
        return None
    if needs_nothing(gate):
        log.info("min_usd is 0, so this gate reserves nothing.")
        return None
    try:
        return Claim(
            attempt_of_gate(context),
            parse_usd(gate.min_usd, "min_usd"),
            reserve_for_seconds=duration_seconds(gate.reserve_for, "reserve_for"),
            task_ids=tuple(sorted(task.task_id for task in tasks_behind(gate))),
        )
    except ValueError as error:
        raise YouComRefusedError(str(error)) from None


def in_this_ledger(hook: YouComHook, claim: Claim) -> Claim:
    """Return a claim that only the ledger of this worker accepts, to send it to the triggerer."""
    try:
        return replace(claim, ledger_id=hook.ledger.id)
    except YouComError:
        # The ledger does not answer now, which the gate's policy has decided about.
        return claim


def reserve(hook: YouComHook, claim: Claim, context: Context) -> AvailableCredits:
    """Reserve what is claimed if it is available, and return what is."""
    # These import SQLAlchemy, which is not needed to parse a DAG.
    from airflow_provider_youcom.ledger.abandoned import end_earlier_attempts, end_lost

    ledger = hook.ledger
    if ledger.is_for_one_machine and not _runs_on_one_machine():
        log.warning(
            "The ledger is a file of this machine, and the executor uses several machines, which do not see "
            "each other's reservations: put the ledger into PostgreSQL."
        )
    # Before the note: what ends after it would count although it had ended.
    end_earlier_attempts(ledger, claim.attempt, ask)
    end_lost(ledger, claim.attempt.holder, ask)
    decision = ledger.reserve(claim, hook.client.get_balance, hook.settle_seconds, hook.hold_seconds)
    if decision.reservation is not None:
        _hand_on(ledger, context)
    return decision.available


def join_line(gate: BalanceSensor, hook: YouComHook, verdict: Verdict, context: Context) -> None:
    """Let a gate that goes on waiting for credits take its place in line, or keep it."""
    if not gate.reserve or gate.on_shortfall != "wait":
        return
    if isinstance(verdict.error, YouComLedgerUnavailableError):
        # The gate would wait for the ledger once more.
        return
    pause_seconds = gate.poke_interval * (2 if gate.exponential_backoff else 1)
    try:
        claim, ledger = claim_of(gate, context), hook.ledger
    except YouComError as error:
        log.warning("This gate waits without a place in line: %s", error)
        return
    if claim is None:
        return
    if verdict.balance is None:
        ledger.line.stay([claim], pause_seconds)
        return
    position = ledger.line.join(claim, verdict.balance["account_id"], pause_seconds)
    if position:
        log.info("This gate has joined the line of those that wait for credits, at place %s.", position)


def stands(hook: YouComHook, reservation_id: str | None, context: Context) -> bool:
    """
    Return whether a reservation that the triggerer has made still stands.

    It may have expired while the task waited for a worker, or somebody may have released it.
    """
    try:
        ledger = hook.ledger
        found = ledger.get([reservation_id] if reservation_id else [])
    except YouComError as error:
        log.warning("Checking again, since the ledger does not say whether the reservation stands: %s", error)
        return False
    if not any(each.stands for each in found):
        log.info("Checking again, since what the triggerer reserved does not stand any more.")
        return False
    _hand_on(ledger, context)
    return True


def _hand_on(ledger: Ledger, context: Context) -> None:
    """Tell the teardown in which ledger the gate has reserved."""
    context["ti"].xcom_push(key=LEDGER_ID_KEY, value=ledger.id)


def teardown_of(gate: BalanceSensor) -> ReleaseCreditsOperator:
    """Return the teardown that releases what a gate has reserved; the same one at each call."""
    from airflow_provider_youcom.operators.release import ReleaseCreditsOperator

    label = f"release_{gate.label}"
    group = gate.task_group
    task_id = group.child_id(label) if group else label
    if gate.dag.has_task(task_id):
        existing: Any = gate.dag.get_task(task_id)
        return existing  # type: ignore[no-any-return]
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
    """Warn of a gate whose reservation no task releases."""
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
