"""
### Reserve the credits of a run

`enough_credit` waits until `min_usd` of the account are available: the balance, minus what other runs have
reserved. It opens and reserves that amount atomically, so two runs never get the same credits.
`research` and `summarize` spend them, and `release_enough_credit` releases them when both have ended.

Trigger it twice while the account holds enough for one run: the second run waits for the first.

The connection `youcom_default` must name a ledger. `questions` can be empty. Then nothing is spent.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sensors.balance import BalanceSensor


def ask(question: str) -> str:
    hook = YouComHook()
    response = hook.get_conn().post(
        f"{hook.base_url}/v1/research",
        json={"input": question, "research_effort": "lite"},
        timeout=120,
    )
    response.raise_for_status()
    answer: str = response.json()["output"]["content"]
    return answer


@dag(
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=None,
    catchup=False,
    params={
        "min_usd": Param(25, type="number", exclusiveMinimum=0, description="What the run may spend"),
        "questions": Param(
            ["Why is the sea salty?", "How do tides work?"],
            type="array",
            items={"type": "string"},
            description="Questions for You.com, one in each line; each costs 1.2 cents, as the summary does",
        ),
    },
    render_template_as_native_obj=True,
    tags=["example", "youcom"],
    doc_md=__doc__,
)
def example_youcom_reserved_run() -> None:
    enough_credit = BalanceSensor(
        task_id="enough_credit",
        min_usd="{{ params.min_usd }}",
        reserve=True,
        reserve_for=60 * 60,
        deferrable=True,
        poke_interval=5,
        timeout=60 * 60,
    )

    @task
    def research(questions: Any) -> list[str]:
        return [ask(question) for question in questions]

    @task
    def summarize(answers: Any) -> str:
        return ask(f"Summarize: {' '.join(answers)}") if answers else "There was nothing to ask."

    with enough_credit.reservation():
        summarize(research("{{ params.questions }}"))


example_youcom_reserved_run()
