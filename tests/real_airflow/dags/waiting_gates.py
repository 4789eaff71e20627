"""Gates that wait for one account in every mode but poke, each with a task behind it that spends a dollar."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sensors.balance import BalanceSensor

CONN_ID = "youcom_waiting"
IN_THE_TRIGGERER = {"deferrable": True, "start_from_trigger": True, "end_from_trigger": True}
GATES = {
    # The test brings the next check forward, so that no crash can interrupt a check.
    "reschedule": {"mode": "reschedule", "poke_interval": 600},
    "deferred": {"deferrable": True, "poke_interval": 1},
    "triggerer": {**IN_THE_TRIGGERER, "poke_interval": 1},
}


@task
def spend() -> None:
    purchase = json.dumps({"usd": "1", "api_key": CONN_ID}).encode()
    urlopen(Request(f"{YouComHook(CONN_ID).base_url}/sandbox/spend", purchase), timeout=30).close()


with DAG("waiting_gates", schedule=None, default_args={"retries": 1}):
    for name, options in GATES.items():
        for number in (1, 2):
            gate = BalanceSensor(
                task_id=f"{name}_{number}", youcom_conn_id=CONN_ID, min_usd=5, timeout=900, **options
            )
            gate >> spend.override(task_id=f"spend_behind_{name}_{number}")()

with DAG("crowd", schedule=None):
    for number in range(20):
        BalanceSensor(
            task_id=f"gate_{number}", youcom_conn_id=CONN_ID, min_usd=5, timeout=900, poke_interval=1,
            **IN_THE_TRIGGERER,
        )  # fmt: skip

with DAG("measured_gate", schedule=None):
    BalanceSensor(
        task_id="gate", youcom_conn_id="youcom_measured", min_usd=5, timeout=900, **GATES["deferred"]
    )

with DAG("rotated_key", schedule=None):
    for name in ("deferred", "triggerer"):
        BalanceSensor(task_id=name, youcom_conn_id="youcom_rotated", min_usd=5, timeout=900, **GATES[name])
