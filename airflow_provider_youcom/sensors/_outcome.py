"""What a gate returns or raises at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_youcom import _metrics
from airflow_provider_youcom.gate import Action, Verdict
from airflow_provider_youcom.sensors._reservation import warn_if_never_released

if TYPE_CHECKING:
    from airflow_provider_youcom.sensors.balance import BalanceSensor


class ShortfallError(AirflowFailException):
    """The account holds less than the gate needs, and ``on_shortfall`` is ``"fail"``."""


def conclude(gate: BalanceSensor, verdict: Verdict) -> dict[str, Any]:
    """Return or raise what a verdict means for the task."""
    if verdict.action is Action.OPEN:
        _metrics.increment_gates_opened(gate.youcom_conn_id)
        if gate.reserve:
            warn_if_never_released(gate)
        return verdict.xcom
    if verdict.action is Action.SKIP:
        _metrics.increment_gates_skipped(gate.youcom_conn_id)
        raise AirflowSkipException(verdict.reason)
    if verdict.error is None:
        raise failure(gate, ShortfallError(verdict.reason))
    if verdict.action is Action.RETRY:
        raise failure(gate, verdict.error)
    raise failure(gate, AirflowFailException(verdict.reason)) from verdict.error


def failure(gate: BalanceSensor, error: Exception) -> Exception:
    """Return what to raise: the error, or a skip if ``soft_fail`` or ``never_fail`` applies."""
    # soft_fail is for a gate that stays shut. A refused key and a failed triggerer must stay red.
    is_soft = gate.soft_fail and isinstance(error, (ShortfallError, AirflowSensorTimeout))
    if not gate.never_fail and not is_soft:
        _metrics.increment_gates_failed(gate.youcom_conn_id)
        return error
    _metrics.increment_gates_skipped(gate.youcom_conn_id)
    option = "never_fail" if gate.never_fail else "soft_fail"
    return AirflowSkipException(f"Skipping, since {option} is set: {error}")
