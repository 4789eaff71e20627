"""
### Warn before the credits run out

Two lines on one account: below $25 is a warning, below $5 is critical. The watchers of both share one poll.
Each fires once when the balance falls below its line, and not again while it stays there. It also fires when
the balance has been unknown for an hour, and when it is known again.

Each line has an asset and a DAG of its own, so that a fall below both lines at once starts both.

Needs Airflow 3. A watcher runs while its DAG is not paused.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_youcom.triggers.balance_event import BalanceEventTrigger


def alert_below(usd: int, urgency: str, dag_id: str) -> DAG:
    trigger = BalanceEventTrigger(below_usd=usd, poke_interval=10)
    low_credits = Asset(f"youcom_below_{usd}_usd", watchers=[AssetWatcher(name="low", trigger=trigger)])

    @task
    def alert(triggering_asset_events: Any = None) -> list[str]:
        events = [each.extra["payload"] for each in triggering_asset_events.get(low_credits, [])]
        messages = [f"{urgency}: {event['reason']}" for event in events]
        for message in messages:
            print(message)  # or a notifier: SlackNotifier(text=message).notify(get_current_context())
        return messages

    with DAG(
        dag_id,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        schedule=[low_credits],
        catchup=False,
        tags=["example", "youcom"],
        doc_md=__doc__,
    ) as dag:
        alert()
    return dag


warning = alert_below(25, "Warning", "example_youcom_low_credits")
critical = alert_below(5, "Critical", "example_youcom_low_credits_critical")
