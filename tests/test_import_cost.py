"""What a DAG file pays for importing us. Modules are counted, not milliseconds: a count does not flake."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.airflow_process

HEAVY = (
    "requests",
    "urllib3",
    "airflow_provider_youcom.billing.client",
    "airflow_provider_youcom.hooks",
    "airflow.triggers",
)
PROGRAM = """
import json, sys
from airflow.providers.common.compat.sdk import BaseSensorOperator, BaseOperator
# Airflow imports more when the first task of any kind is made; that is not ours.
BaseSensorOperator(task_id="any")
before = set(sys.modules)
{statement}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def newly_imported_by(statement: str) -> list[str]:
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return json.loads(program.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "statement",
    [
        "from airflow_provider_youcom.sensors.balance import BalanceSensor",
        "from airflow_provider_youcom.operators.balance import GetBalanceOperator",
        "import airflow_provider_youcom.sensors.balance as s; s.BalanceSensor(task_id='gate', min_usd=5)",
        "from airflow_provider_youcom.get_provider_info import get_provider_info; get_provider_info()",
    ],
)
def test_a_dag_file_that_imports_us_imports_little_else(statement: str):
    imported = newly_imported_by(statement)
    assert [name for name in imported if name.startswith(HEAVY)] == []
    assert len(imported) < 30


def test_the_count_would_see_a_heavy_import():
    assert "airflow_provider_youcom.billing.client" in newly_imported_by(
        "import airflow_provider_youcom.billing.client"
    )
