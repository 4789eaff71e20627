"""
### Choose a task by the balance

`get_balance` pushes the balance to XCom, each value under its own key. `choose` branches on one of them.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import XComArg, dag, task

from airflow_provider_youcom.operators.balance import GetBalanceOperator


@dag(
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=None,
    catchup=False,
    tags=["example", "youcom"],
    doc_md=__doc__,
)
def example_youcom_get_balance() -> None:
    get_balance = GetBalanceOperator(task_id="get_balance")

    @task.branch
    def choose(balance_usd: Any) -> str:
        return "research_deeply" if balance_usd >= 50 else "research_lightly"

    @task
    def research_deeply() -> None:
        print("The account can pay for deep research.")

    @task
    def research_lightly() -> None:
        print("The account can pay for light research.")

    choose(XComArg(get_balance, key="balance_usd")) >> [research_deeply(), research_lightly()]


example_youcom_get_balance()
