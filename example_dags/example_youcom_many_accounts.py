"""
### Add up the balances of many accounts

One mapped task checks each connection, so a refused key fails its own task only. All keys of an organization
have the same account, which is counted once.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_youcom.operators.balance import GetBalanceOperator

CONNECTIONS = ["youcom_default", "youcom_research", "youcom_support"]


@dag(
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=None,
    catchup=False,
    tags=["example", "youcom"],
    doc_md=__doc__,
)
def example_youcom_many_accounts() -> None:
    get_balance = GetBalanceOperator.partial(task_id="get_balance").expand(youcom_conn_id=CONNECTIONS)

    @task(trigger_rule="all_done")
    def summarize(balances: Any) -> dict[str, Any]:
        accounts = {each["account_id"]: Decimal(str(each["balance_usd"])) for each in balances}
        total_usd = sum(accounts.values(), Decimal(0))
        print(f"{len(accounts)} accounts hold ${total_usd:f}.")
        return {"accounts": len(accounts), "total_usd": float(total_usd)}

    summarize(get_balance.output)


example_youcom_many_accounts()
