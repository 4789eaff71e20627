"""
### Wait until the account can pay for a pipeline, and report by how much the balance fell

`enough_credit` waits, without a worker, until the account of the connection `youcom_default` holds `min_usd`.
`research` asks You.com the questions, and pays for each. `report` waits until You.com has posted all charges,
and says by how much the balance has fallen since the gate. Others may have spent from the same account, too.

`questions` can be empty. Then nothing is spent.
"""

from __future__ import annotations

import time
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_youcom.balance import balance_fall_usd
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sensors.balance import BalanceSensor


@dag(
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=None,
    catchup=False,
    params={
        "min_usd": Param(25, type="number", minimum=0, description="The least that the account must hold"),
        "questions": Param(
            ["Why is the sea salty?", "How do tides work?", "Who named the Pacific?"],
            type="array",
            items={"type": "string"},
            description="Questions for You.com, one in each line; each costs 1.2 cents",
        ),
    },
    render_template_as_native_obj=True,
    tags=["example", "youcom"],
    doc_md=__doc__,
)
def example_youcom_preflight_gate() -> None:
    enough_credit = BalanceSensor(
        task_id="enough_credit",
        min_usd="{{ params.min_usd }}",
        deferrable=True,
        poke_interval=10,
        timeout=60 * 60,
    )

    @task
    def research(questions: Any) -> list[str]:
        hook = YouComHook()
        answers = []
        for question in questions:
            response = hook.get_conn().post(
                f"{hook.base_url}/v1/research",
                json={"input": question, "research_effort": "lite"},
                timeout=120,
            )
            response.raise_for_status()
            answers.append(response.json()["output"]["content"])
        return answers

    @task
    def report(before: Any, answers: Any) -> dict[str, Any]:
        hook = YouComHook()
        if answers:
            time.sleep(hook.settle_seconds)
        after = hook.get_balance()
        fall_usd = balance_fall_usd(before, after)
        if fall_usd is None:
            print(f"{len(answers)} answers: the balance rose, which hides what they cost. {after}.")
            return {"answers": len(answers)}
        print(
            f"{len(answers)} answers: the balance fell by ${fall_usd:f}; others may have spent, too. {after}."
        )
        return {"answers": len(answers), "balance_fall_usd": float(fall_usd)}

    answers = research("{{ params.questions }}")
    enough_credit >> answers
    report(enough_credit.output, answers)


example_youcom_preflight_gate()
