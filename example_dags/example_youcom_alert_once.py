"""
### Send each alert once

Two lines on one account, each with an asset and a DAG of its own: a fall from $30 to $3 in one check crosses
both, and starts both.

Airflow may deliver an event twice if a triggerer is killed. The second has the `id` of the first, so each DAG
remembers the ids of its last alerts in the Variable `<DAG id>_sent`. Only one task of a DAG runs at a time,
since reading a Variable and writing it back is not atomic.

Needs Airflow 3. A watcher runs while its DAG is not paused.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, Variable, task

from airflow_provider_youcom.triggers.balance_event import BalanceEventTrigger

REMEMBERED = 20


def alert_once_below(usd: int, urgency: str, dag_id: str) -> DAG:
    trigger = BalanceEventTrigger(below_usd=usd, poke_interval=10, blind_after=timedelta(minutes=30))
    low_credits = Asset(f"{dag_id}_below_{usd}_usd", watchers=[AssetWatcher(name="low", trigger=trigger)])

    @task(max_active_tis_per_dag=1)
    def alert(triggering_asset_events: Any = None) -> list[str]:
        sent = Variable.get(f"{dag_id}_sent", default=[], deserialize_json=True)
        messages = []
        for each in triggering_asset_events.get(low_credits, []):
            event = each.extra["payload"]
            if event["id"] in sent:
                continue
            message = f"{urgency}: {event['reason']}"
            print(message)  # or a notifier: SlackNotifier(text=message).notify(get_current_context())
            messages.append(message)
            sent = [*sent, event["id"]][-REMEMBERED:]
            Variable.set(f"{dag_id}_sent", sent, serialize_json=True)
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


warning = alert_once_below(25, "Warning", "example_youcom_alert_once")
critical = alert_once_below(5, "Critical", "example_youcom_alert_once_critical")
