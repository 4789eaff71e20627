"""Hand a gate over to the triggerer, and take it back."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_youcom._templates import is_template
from airflow_provider_youcom.money import parse_usd

if TYPE_CHECKING:
    from airflow_provider_youcom.ledger.claim import Claim
    from airflow_provider_youcom.sensors.balance import BalanceSensor
    from airflow_provider_youcom.triggers.balance import BalanceTrigger

_TRIGGER = "airflow_provider_youcom.triggers.balance.BalanceTrigger"


def trigger_of(gate: BalanceSensor) -> BalanceTrigger:
    """Return the trigger that waits for a gate which has just checked the balance."""
    from airflow_provider_youcom.triggers.balance import BalanceTrigger

    return BalanceTrigger(**_options(gate), **_times(gate))


def reserving_trigger_of(gate: BalanceSensor, claim: Claim) -> BalanceTrigger:
    """Return the trigger that waits for a gate which reserves."""
    from airflow_provider_youcom.triggers.reserving import ReservingBalanceTrigger

    return ReservingBalanceTrigger(**_options(gate), **_times(gate), claim=claim.to_json())


def start_trigger_args(gate: BalanceSensor) -> Any:
    """Return how Airflow starts a gate in the triggerer."""
    from airflow.triggers.base import StartTriggerArgs

    return StartTriggerArgs(
        trigger_cls=_TRIGGER,
        trigger_kwargs=_options(gate),
        next_method="execute_complete",
        timeout=longest_wait(gate),
    )


def longest_wait(gate: BalanceSensor) -> timedelta:
    """Return how long a gate may wait in the triggerer."""
    # Airflow 3 does not apply execution_timeout while a task is deferred.
    return min(timedelta(seconds=gate.timeout), gate.execution_timeout or timedelta.max)


def has_timed_out(next_method: str, next_kwargs: dict[str, Any] | None) -> bool:
    """Return whether Airflow resumes a task because its deferral has timed out."""
    if next_method != "__fail__":
        return False
    kwargs = next_kwargs or {}
    # If the trigger fires at the moment of the timeout, Airflow (2.11 to 3.3) may store its event in place of
    # the error: the scheduler and the triggerer each write their own columns of the task.
    return "event" in kwargs or "timeout" in str(kwargs.get("error", "")).lower()


def _times(gate: BalanceSensor) -> dict[str, Any]:
    now = time.time()
    return {"looked_at": now, "ends_at": now + longest_wait(gate).total_seconds()}


def _options(gate: BalanceSensor) -> dict[str, Any]:
    return {
        "youcom_conn_id": gate.youcom_conn_id,
        "min_usd": gate.min_usd if is_template(gate.min_usd) else str(parse_usd(gate.min_usd, "min_usd")),
        "on_shortfall": gate.on_shortfall,
        "on_unavailable": gate.on_unavailable,
        "poke_interval": gate.poke_interval,
        "exponential_backoff": gate.exponential_backoff,
        "max_wait": gate.max_wait.total_seconds() if gate.max_wait else None,
        "silent_fail": gate.silent_fail,
        "end_from_trigger": gate.end_from_trigger,
        "do_xcom_push": gate.do_xcom_push,
    }
