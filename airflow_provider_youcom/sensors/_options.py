"""Refuse options that contradict each other or would be ignored, when the DAG is parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_youcom._templates import is_reference, is_template
from airflow_provider_youcom.gate import check_policies
from airflow_provider_youcom.ledger.claim import duration_seconds
from airflow_provider_youcom.money import parse_usd

if TYPE_CHECKING:
    from airflow_provider_youcom.sensors.balance import BalanceSensor

_LIMITS = ("max_active_tis_per_dag", "max_active_tis_per_dagrun")
# The argument, and the attribute that holds it.
_DONE_BY_WORKERS = {
    "outlets": "outlets",
    "on_execute_callback": "on_execute_callback",
    "on_success_callback": "on_success_callback",
    "on_skipped_callback": "on_skipped_callback",
    "pre_execute": "_pre_execute_hook",
    "post_execute": "_post_execute_hook",
    "multiple_outputs": "multiple_outputs",
}


def check_options(gate: BalanceSensor) -> None:
    """
    Check the options of a gate, except those that ``check_start`` checks.

    :raises ValueError: if an option is not valid, or two contradict each other.
    """
    check_policies(gate.on_shortfall, gate.on_unavailable)
    if _is_known(gate.min_usd):
        parse_usd(gate.min_usd, "min_usd")
    if gate.silent_fail and gate.on_unavailable == "fail":
        raise ValueError(
            'silent_fail=True and on_unavailable="fail" contradict each other: '
            "remove silent_fail to fail when You.com does not answer, or on_unavailable to go on waiting."
        )
    if (gate.start_from_trigger or gate.end_from_trigger) and not gate.deferrable:
        raise ValueError(
            "start_from_trigger and end_from_trigger need deferrable=True: "
            "add it, or remove them to wait on a worker."
        )
    if gate.end_from_trigger:
        _check_end(gate)
    if gate.reserve:
        _check_reservation(gate)


def check_start(gate: BalanceSensor) -> None:
    """
    Refuse options that a start in the triggerer would ignore.

    :raises ValueError: if it has such an option; the message says which one to remove.
    """
    for name in gate.template_fields:
        value = getattr(gate, name)
        if is_reference(value) or (is_template(value) and "xcom" in value):
            raise ValueError(
                f"start_from_trigger=True cannot take {name} from another task, since XComs are not "
                f"available in the triggerer: remove start_from_trigger, or set {name} to a value or to a "
                "template of params, conf or variables."
            )
    # Airflow starts such gates beyond the limit, and counts them afterwards: a gate that needs a worker at
    # its end would then wait for the others.
    ignored = [name for name in _LIMITS if getattr(gate, name, None) is not None]
    if ignored:
        raise ValueError(
            f"start_from_trigger=True would ignore {' and '.join(ignored)}, since no scheduler counts "
            "a start in the triggerer: remove start_from_trigger, or limit the tasks behind the gate instead."
        )


def _check_end(gate: BalanceSensor) -> None:
    lost = [name for name, attribute in _DONE_BY_WORKERS.items() if getattr(gate, attribute, None)]
    if lost:
        raise ValueError(
            f"end_from_trigger=True would ignore {' and '.join(lost)}, since no worker "
            "ends the task: remove end_from_trigger, or move them to another task."
        )


def _check_reservation(gate: BalanceSensor) -> None:
    duration_seconds(gate.reserve_for, "reserve_for")
    if _is_known(gate.min_usd) and not parse_usd(gate.min_usd, "min_usd"):
        raise ValueError(
            "reserve=True and min_usd=0 contradict each other: set min_usd to what the tasks behind the gate "
            "may spend, or remove reserve."
        )
    if gate.on_unavailable == "pass":
        raise ValueError(
            'reserve=True and on_unavailable="pass" contradict each other, since the gate would open with '
            'nothing reserved: use "wait" or "fail", or remove reserve.'
        )
    if gate.start_from_trigger:
        raise ValueError(
            "reserve=True needs a worker to start the task: remove start_from_trigger; end_from_trigger can "
            "stay."
        )


def _is_known(value: object) -> bool:
    return not is_template(value) and not is_reference(value)
