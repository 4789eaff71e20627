"""Who reserves: the try of a task that runs, or this process."""

from __future__ import annotations

import os
import socket
import uuid
from typing import Any

from airflow.providers.common.compat.sdk import Variable, get_current_context

from airflow_provider_youcom.exceptions import YouComRefusedError
from airflow_provider_youcom.reservations.claim import Attempt, Gate

DEPLOYMENT_VARIABLE = "youcom_deployment_id"


def current_holder() -> Attempt:
    """
    Return the attempt that reserves, with an id of its own at each call.

    :raises YouComRefusedError: if this deployment has no id, and none can be saved.
    """
    try:
        context = get_current_context()
    except Exception:  # noqa: BLE001 - each Airflow version has another exception for code outside of a task
        return _this_process()
    return _this_try(context["ti"], context["dag_run"])


def attempt_of_gate(context: Any) -> Attempt:
    """
    Return the attempt of the running task; it is the same at each call within one try.

    :param context: Airflow's context.
    :raises YouComRefusedError: if this deployment has no id, and none can be saved.
    """
    task_instance, dag_run = context["ti"], context["dag_run"]
    gate = gate_of(task_instance)
    order = _order_of(task_instance, dag_run)
    is_unique = bool(getattr(task_instance, "id", None))
    return Attempt(gate, id=order if is_unique else f"{gate.key} {order}", order=order)


def gate_of(task_instance: Any) -> Gate:
    """
    Return the name of a task, for the ledger.

    :param task_instance: Airflow's task instance.
    :raises YouComRefusedError: if this deployment has no id, and none can be saved.
    """
    return Gate(
        _deployment_id(),
        task_instance.dag_id,
        task_instance.run_id,
        task_instance.task_id,
        task_instance.map_index,
    )


def _this_process() -> Attempt:
    name = f"{socket.gethostname()}:{os.getpid()}"
    return Attempt(Gate("", "", name, ""), id=uuid.uuid4().hex, order="")


def _this_try(task_instance: Any, dag_run: Any) -> Attempt:
    # Several reservations of one try differ by their id, and are equally old.
    return Attempt(gate_of(task_instance), id=uuid.uuid4().hex, order=_order_of(task_instance, dag_run))


def _order_of(task_instance: Any, dag_run: Any) -> str:
    # On Airflow 3, each retry and each clear gives the task instance a new id, which sorts by time. On 2.11
    # it has none, and the run's id and the try sort instead, before every id of Airflow 3.
    try_id = getattr(task_instance, "id", None)
    return str(try_id) if try_id else f"{dag_run.id:020d}-{task_instance.try_number:010d}"


def _deployment_id() -> str:
    """Return the id of this Airflow deployment, which is made at its first use."""
    try:
        deployment_id = Variable.get(DEPLOYMENT_VARIABLE, None)
        if not deployment_id:
            Variable.set(DEPLOYMENT_VARIABLE, uuid.uuid4().hex)
            # Read again, since another task may have been faster.
            deployment_id = Variable.get(DEPLOYMENT_VARIABLE)
    except Exception as error:  # noqa: BLE001 - it differs with the Airflow version and the reason
        raise YouComRefusedError(
            f"The Airflow Variable {DEPLOYMENT_VARIABLE} cannot be read and saved ({type(error).__name__}): "
            "set it by hand, to a text that no other Airflow deployment has."
        ) from None
    return str(deployment_id)
