"""Gates that reserve, and tasks behind them that wait, fail and pay as their run is configured."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from airflow.providers.common.compat.sdk import DAG, TaskGroup, task, task_group

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
from airflow_provider_youcom.sensors.balance import BalanceSensor

FOLDER = Path(os.environ["RESERVATIONS_FOLDER"])
RICH = "youcom_reserving_rich"
SHORT = "youcom_reserving_short"
WAITS = {"deferrable": True, "poke_interval": 1, "timeout": 900}
# Longer than work that Airflow has given up may still pay, so that a teardown has no reason to allow for it.
LATER = timedelta(minutes=5)
AT_ONCE = timedelta(0)


def gate(task_id: str = "gate", youcom_conn_id: str = RICH, **options: Any) -> BalanceSensor:
    return BalanceSensor(
        **{**WAITS, "task_id": task_id, "youcom_conn_id": youcom_conn_id, "min_usd": 5, "reserve": True}
        | options
    )


@task
def work(youcom_conn_id: str = RICH, ti: Any = None, dag_run: Any = None) -> None:
    """Do what the run's configuration orders for this task: hold, fail, or pay a dollar."""
    obey(youcom_conn_id, ti, dag_run)


@task
def work_on(what: Any, ti: Any = None, dag_run: Any = None) -> None:
    obey(RICH, ti, dag_run)


def obey(youcom_conn_id: str, ti: Any, dag_run: Any) -> None:
    orders = (dag_run.conf or {}).get(ti.task_id, ["pay"])
    here = f"{ti.run_id}.{ti.task_id}"
    if "hold" in orders:
        (FOLDER / f"{here}.{ti.try_number}.pid").write_text(str(os.getpid()))
        while not (FOLDER / f"{here}.go").exists():
            time.sleep(0.1)
    if "fail" in orders and not (FOLDER / f"{here}.may_succeed").exists():
        raise RuntimeError("this task is to fail")
    if "pay" in orders:
        pay(youcom_conn_id)


def pay(youcom_conn_id: str) -> None:
    purchase = json.dumps({"usd": "1", "api_key": youcom_conn_id}).encode()
    try:
        urlopen(Request(f"{YouComHook(youcom_conn_id).base_url}/sandbox/spend", purchase), timeout=30).close()
    except HTTPError:
        (FOLDER / "refused").touch()
        raise


def work_of(task_id: str, **options: Any) -> Any:
    return work.override(task_id=task_id, **options)


# One gate and one task behind it. A retry comes late, so that a success is an orderly end.
with DAG("reserved_run", schedule=None), gate().reservation():
    work_of("work", retries=1, retry_delay=LATER)()

with DAG("retried_run", schedule=None), gate().reservation():
    work_of("work", retries=1, retry_delay=AT_ONCE)()

with DAG("run_with_timeout", schedule=None, dagrun_timeout=timedelta(hours=1)), gate().reservation():
    work_of("work")()

with DAG("run_that_expires", schedule=None), gate(reserve_for=1).reservation():
    work_of("work")()

with DAG("skipped_run", schedule=None), gate(youcom_conn_id=SHORT, on_shortfall="skip").reservation():
    work_of("work")()

# Its gate waits until the test adds credits, and meanwhile ends the reservations that others left.
with DAG("waiting_run", schedule=None), gate(youcom_conn_id=SHORT, end_from_trigger=True).reservation():
    work_of("work")(SHORT)

# Its tasks survive the API server, which they need to end.
survives = {"retries": 50, "retry_delay": AT_ONCE}
with DAG("first_run", schedule=None, default_args=survives), gate(poke_interval=2).reservation():
    work_of("work")()

with DAG("task_left_out", schedule=None):
    opens = gate()
    with opens.reservation():
        opens >> work_of("inside")()
    opens >> work_of("left_out")()

# Two accounts that hold enough for one reservation only.
for mode, waits in {"worker": {"mode": "poke", "deferrable": False}, "triggerer": {}}.items():
    conn_id = f"youcom_reserving_{mode}"
    with DAG(f"siblings_{mode}", schedule=None), gate(youcom_conn_id=conn_id, **waits).reservation():
        for name in ("first", "second", "third"):
            work_of(name)(conn_id)

scarce = "youcom_reserving_scarce"
timeout = timedelta(hours=1)
with DAG("scarce_run", schedule=None, dagrun_timeout=timeout), gate(youcom_conn_id=scarce).reservation():
    work_of("work")(scarce)


with DAG("shapes", schedule=None):
    # A mapped gate has one teardown for all of its indexes.
    options = {**WAITS, "youcom_conn_id": RICH, "reserve": True}
    for name, amounts in {"mapped": [2, 3], "half_short": [2, 100_000]}.items():
        mapped_gate = BalanceSensor.partial(task_id=f"{name}_gate", on_shortfall="skip", **options).expand(
            min_usd=amounts
        )
        release = ReleaseCreditsOperator(
            task_id=f"release_{name}_gate", gate_task_id=f"{name}_gate", youcom_conn_id=RICH
        )
        with release.as_teardown(setups=mapped_gate):
            work_of(f"behind_{name}_gate")()

    with TaskGroup("group"):
        grouped_gate = gate()
        with grouped_gate.reservation():
            work_of("work")()

    @task_group
    def mapped_group(usd: int) -> None:
        with gate(min_usd=usd).reservation():
            work_of("work")()

    mapped_group.expand(usd=[2, 3])

    with gate("outer_gate").reservation():
        work_of("before_the_inner_gate")()
        with gate("inner_gate").reservation():
            work_of("behind_the_inner_gate")()

    with gate("gate_before_a_branch").reservation():

        @task.branch
        def branch() -> str:
            return "taken"

        branch() >> [work_of("taken")(), work_of("not_taken")()]

    with gate("gate_before_a_short_circuit").reservation():

        @task.short_circuit
        def short_circuit() -> bool:
            return False

        short_circuit() >> work_of("behind_a_short_circuit")()

    open_gate, shut_gate = gate("open_gate"), gate("shut_gate", SHORT, on_shortfall="skip")
    with open_gate.reservation(), shut_gate.reservation():
        work_of("behind_two_gates")()


# In each block, one task at least takes what is made outside.
for state, conn_id in {"open": RICH, "shut": SHORT}.items():
    with DAG(f"blocks_{state}", schedule=None):
        options = {"youcom_conn_id": conn_id, "on_shortfall": "skip"}

        @task
        def outside() -> list[int]:
            return [1, 2]

        outside_input = outside()

        with gate("gate_of_outside_input", **options).reservation():
            work_on.override(task_id="research")(outside_input)
            work_on.override(task_id="summarize")(outside_input)

        @task_group
        def each(what: int) -> None:
            work_on.override(task_id="research")(what)
            work_on.override(task_id="summarize")(what)

        with gate("gate_of_mapped_group", **options).reservation():
            each.expand(what=outside_input)

        with gate("gate_of_nested_groups", **options).reservation(), TaskGroup("outer"):
            work_of("research")()
            with TaskGroup("inner"):
                work_on.override(task_id="summarize")(outside_input)

        mapped_gate = BalanceSensor.partial(
            task_id="mapped_gate", **{**WAITS, "reserve": True, **options}
        ).expand(min_usd=[5, 6])
        release = ReleaseCreditsOperator(
            task_id="release_mapped_gate", gate_task_id="mapped_gate", youcom_conn_id=conn_id
        )
        mapped_gate.as_setup() >> release.as_teardown()
        with release:
            work_on.override(task_id="behind_mapped_gate")(outside_input)
            work_of("beside_it")()
