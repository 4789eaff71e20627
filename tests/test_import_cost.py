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
A_HEAVY_IMPORT = "import airflow_provider_youcom.billing.client"
IN_A_DAG_FILE = [
    "from airflow_provider_youcom.sensors.balance import BalanceSensor",
    "from airflow_provider_youcom.operators.balance import GetBalanceOperator",
    "import airflow_provider_youcom.sensors.balance as s; s.BalanceSensor(task_id='gate', min_usd=5)",
    "from airflow_provider_youcom.get_provider_info import get_provider_info; get_provider_info()",
]
# Each statement runs in a fork, so that Airflow is imported once.
PROGRAM = """
import json, os, sys
from airflow.providers.common.compat.sdk import BaseSensorOperator, BaseOperator
# Airflow imports more when the first task of any kind is made; that is not ours.
BaseSensorOperator(task_id="any")
before = set(sys.modules)
for statement in sys.argv[1:]:
    if not os.fork():
        exec(statement)
        print(json.dumps([statement, sorted(set(sys.modules) - before)]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, statement
"""


@pytest.fixture(scope="module")
def newly_imported() -> dict[str, list[str]]:
    """The modules that each statement imports, beyond what Airflow itself needs."""
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, A_HEAVY_IMPORT, *IN_A_DAG_FILE],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return dict(json.loads(line) for line in program.stdout.splitlines() if line.startswith("["))


@pytest.mark.parametrize("statement", IN_A_DAG_FILE)
def test_a_dag_file_that_imports_us_imports_little_else(
    statement: str, newly_imported: dict[str, list[str]]
) -> None:
    imported = newly_imported[statement]
    assert [name for name in imported if name.startswith(HEAVY)] == []
    assert len(imported) < 30


def test_the_count_would_see_a_heavy_import(newly_imported: dict[str, list[str]]) -> None:
    assert "airflow_provider_youcom.billing.client" in newly_imported[A_HEAVY_IMPORT]
