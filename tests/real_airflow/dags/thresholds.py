"""Gates whose threshold, or connection, is only known when the task runs."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_youcom.sensors.balance import BalanceSensor

MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
    "ended_in_the_triggerer": {"deferrable": True, "end_from_trigger": True},
    "triggerer": {"deferrable": True, "start_from_trigger": True, "end_from_trigger": True},
}
CONN_ID = "youcom_rich"


@task
def price() -> str:
    return "7.50"


with DAG("threshold_from_params", schedule=None, params={"min_usd": "5"}):
    for name, options in MODES.items():
        BalanceSensor(task_id=name, youcom_conn_id=CONN_ID, min_usd="{{ params.min_usd }}", **options)

with DAG("threshold_of_nothing", schedule=None):
    BalanceSensor(
        task_id="gate", youcom_conn_id=CONN_ID, min_usd="{{ params.typo or 0 }}", **MODES["triggerer"]
    )

with DAG("threshold_from_a_task", schedule=None):
    threshold = price()
    for name, options in MODES.items():
        if "start_from_trigger" not in options:
            BalanceSensor(task_id=name, youcom_conn_id=CONN_ID, min_usd=threshold, **options)

with DAG("mapped_gates", schedule=None):
    BalanceSensor.partial(task_id="gate", min_usd=5, **MODES["triggerer"]).expand(
        youcom_conn_id=["youcom_rich", "youcom_richer", "youcom_poor"]
    )
