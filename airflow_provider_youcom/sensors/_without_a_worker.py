"""What a gate cannot have where no worker starts it, or ends it: refused when the DAG is parsed, not lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_youcom._templates import is_reference, is_template

if TYPE_CHECKING:
    from airflow_provider_youcom.sensors.balance import BalanceSensor

_LIMITS = ("max_active_tis_per_dag", "max_active_tis_per_dagrun")
# By the name of the argument: the attribute that holds it.
_DONE_BY_WORKERS = {
    "outlets": "outlets",
    "on_execute_callback": "on_execute_callback",
    "on_success_callback": "on_success_callback",
    "on_skipped_callback": "on_skipped_callback",
    "pre_execute": "_pre_execute_hook",
    "post_execute": "_post_execute_hook",
    "multiple_outputs": "multiple_outputs",
}


def check_start(gate: BalanceSensor) -> None:
    """
    Refuse what a start in the triggerer would pass over.

    :param gate: a gate with ``start_from_trigger``.
    :raises ValueError: if it has such a thing; says which option to drop.
    """
    for name in gate.template_fields:
        value = getattr(gate, name)
        if is_reference(value) or (is_template(value) and "xcom" in value):
            raise ValueError(
                f"start_from_trigger=True cannot take {name} from another task, since XComs are not "
                f"there in the triggerer: drop start_from_trigger, or give {name} as a value or as a "
                "template of params, conf or variables."
            )
    # Airflow lets such gates start beyond the limit, and then counts them: those that need a worker at their
    # end may not get one while others wait.
    passed_over = [name for name in _LIMITS if getattr(gate, name, None) is not None]
    if passed_over:
        raise ValueError(
            f"start_from_trigger=True would pass over {' and '.join(passed_over)}, since no scheduler counts "
            "a start in the triggerer: drop start_from_trigger, or limit the tasks behind the gate instead."
        )


def check_end(gate: BalanceSensor) -> None:
    """
    Refuse what an end in the triggerer would lose.

    :param gate: a gate with ``end_from_trigger``.
    :raises ValueError: if it has such a thing; says which option to drop.
    """
    lost = [name for name, attribute in _DONE_BY_WORKERS.items() if getattr(gate, attribute, None)]
    if lost:
        raise ValueError(
            f"end_from_trigger=True would lose {' and '.join(lost)} without a word, since no worker "
            "ends the task: drop end_from_trigger, or move them to another task."
        )
