"""A DAG that runs when the credits of an account fall below $5, and returns the events."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_youcom.triggers.balance_event import BalanceEventTrigger

try:
    from airflow.sdk import Asset, AssetWatcher
except ImportError:
    # Airflow 2 has no watchers.
    pass
else:
    low = BalanceEventTrigger(youcom_conn_id="youcom_watched", below_usd=5, poke_interval=1)
    credits_are_low = Asset("credits_are_low", watchers=[AssetWatcher(name="low", trigger=low)])

    @task
    def note(triggering_asset_events=None) -> list[dict]:
        return [event.extra["payload"] for event in triggering_asset_events[credits_are_low]]

    with DAG("watched_account", schedule=[credits_are_low]):
        note()
