"""DAGs with the names of those in the made-up history."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

for name in ("nightly_research", "competitor_watch", "weekly_digest", "watch"):
    with DAG(name, schedule=None):
        EmptyOperator(task_id="enough_credit")
