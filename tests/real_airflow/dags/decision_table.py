"""One DAG for each mode: a gate for each row of the decision table, and a task behind it."""

from __future__ import annotations

import json
import os
import warnings
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, get_parsing_context

from airflow_provider_youcom.sensors.balance import BalanceSensor

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:  # Airflow 2 does not include that provider.
    from airflow.operators.empty import EmptyOperator

# Proves that a warning reaches Airflow's logs, where the test searches for those of the provider.
warnings.warn("the DAG of the decision table warns", DeprecationWarning, stacklevel=1)

wanted = get_parsing_context().dag_id
for dag_id, gates in json.loads(Path(os.environ["DECISION_TABLE"]).read_text()).items():
    if wanted not in (None, dag_id):
        continue  # A worker loads only the one it needs, so it starts sooner.
    with DAG(dag_id, schedule=None, default_args={"retries": 1, "retry_delay": timedelta(0)}):
        for gate in gates:
            if "execution_timeout" in gate:
                gate["execution_timeout"] = timedelta(seconds=gate["execution_timeout"])
            BalanceSensor(**gate) >> EmptyOperator(task_id=f"behind.{gate['task_id']}")
