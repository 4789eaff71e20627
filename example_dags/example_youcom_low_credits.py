"""
### Warn before the credits run out

Two lines on one account: $25 warns, $5 is critical. Both watchers share one poll, and each fires once when
the balance falls below its line, not again while it stays there. They also say when the balance has been
unknown for an hour, and when it is known again.

Needs Airflow 3. The watchers run while this DAG is not paused.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_youcom.triggers.balance_event import BalanceEventTrigger

WARN_USD = 25
CRITICAL_USD = 5

LOW_CREDITS = Asset(
    "youcom_low_credits",
    watchers=[
        AssetWatcher(name="warn", trigger=BalanceEventTrigger(below_usd=WARN_USD, poke_interval=10)),
        AssetWatcher(name="critical", trigger=BalanceEventTrigger(below_usd=CRITICAL_USD, poke_interval=10)),
    ],
)


@dag(
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    schedule=[LOW_CREDITS],
    catchup=False,
    tags=["example", "youcom"],
    doc_md=__doc__,
)
def example_youcom_low_credits() -> None:
    @task
    def warn(triggering_asset_events: Any = None) -> list[str]:
        messages = []
        for asset_event in triggering_asset_events.get(LOW_CREDITS, []):
            event = asset_event.extra["payload"]
            urgent = event["kind"] == "below" and event["line_usd"] == CRITICAL_USD
            messages.append(f"{'Critical' if urgent else 'Warning'}: {event['reason']}")
        for message in messages:
            print(message)  # or a notifier: SlackNotifier(text=message).notify(get_current_context())
        return messages

    warn()


example_youcom_low_credits()
