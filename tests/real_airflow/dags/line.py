"""Runs that wait in line for what their configuration says, and pay it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sensors.balance import BalanceSensor

FOLDER = Path(os.environ["RESERVATIONS_FOLDER"])
POOL = "busy_pool"
IN_THE_TRIGGERER = {"deferrable": True, "end_from_trigger": True, "poke_interval": 1}
# The test brings the next check forward: Airflow takes a task for killed that is rescheduled too soon.
IN_A_POOL = {"mode": "reschedule", "pool": POOL, "poke_interval": 600}


@task
def pay(youcom_conn_id: str, dag_run: Any = None) -> None:
    purchase = json.dumps({"usd": dag_run.conf["usd"], "api_key": youcom_conn_id}).encode()
    try:
        urlopen(Request(f"{YouComHook(youcom_conn_id).base_url}/sandbox/spend", purchase), timeout=30).close()
    except HTTPError:
        (FOLDER / "refused").touch()
        raise


@task(pool=POOL)
def occupy_the_pool(ti: Any = None) -> None:
    here = f"{ti.run_id}.{ti.task_id}"
    (FOLDER / f"{here}.{ti.try_number}.pid").write_text(str(os.getpid()))
    while not (FOLDER / f"{here}.go").exists():
        time.sleep(0.1)


for dag_id, account, waits in (
    ("run_in_line", "line", IN_THE_TRIGGERER),
    ("run_in_disturbed_line", "disturbed_line", IN_THE_TRIGGERER),
    ("rescheduled_run", "disturbed_line", IN_A_POOL),
):
    conn_id = f"youcom_reserving_{account}"
    with DAG(dag_id, schedule=None):
        gate = BalanceSensor(
            task_id="gate", youcom_conn_id=conn_id, min_usd="{{ dag_run.conf['usd'] }}", reserve=True,
            timeout=3600, **waits,
        )  # fmt: skip
        with gate.reservation():
            pay(conn_id)

with DAG("busy_pool", schedule=None):
    occupy_the_pool()
