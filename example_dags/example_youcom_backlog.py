"""
### Work through a backlog once credits come back

The Variable `youcom_backlog` holds the questions that could not be paid for, as a JSON list. A run starts
when the balance reaches $25 again. Its gate checks that the credits are still there, and `work_off` asks one
question after the other, until none is left or the credits run out.

Needs Airflow 3. The watcher runs while this DAG is not paused.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import Asset, AssetWatcher, Variable, dag, task

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sensors.balance import BalanceSensor
from airflow_provider_youcom.triggers.balance_event import BalanceEventTrigger

ENOUGH_USD = 25

CREDITS_ARE_BACK = Asset(
    "youcom_credits_are_back",
    watchers=[AssetWatcher(name="back", trigger=BalanceEventTrigger(above_usd=ENOUGH_USD, poke_interval=10))],
)


@dag(
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=[CREDITS_ARE_BACK],
    catchup=False,
    max_active_runs=1,
    tags=["example", "youcom"],
    doc_md=__doc__,
)
def example_youcom_backlog() -> None:
    still_enough = BalanceSensor(task_id="still_enough", min_usd=ENOUGH_USD, on_shortfall="skip")

    @task
    def work_off() -> list[str]:
        hook = YouComHook()
        backlog = Variable.get("youcom_backlog", default=[], deserialize_json=True)
        answers = []
        while backlog:
            response = hook.get_conn().post(
                f"{hook.base_url}/v1/research",
                json={"input": backlog[0], "research_effort": "lite"},
                timeout=120,
            )
            if response.status_code == 402:
                print(f"The credits have run out; {len(backlog)} questions wait for the next run.")
                break
            response.raise_for_status()
            answers.append(response.json()["output"]["content"])
            backlog.pop(0)
            Variable.set("youcom_backlog", backlog, serialize_json=True)
        return answers

    still_enough >> work_off()


example_youcom_backlog()
