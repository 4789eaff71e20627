"""Code that users write passes mypy in strict mode."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.only_in_test]

ROOT = Path(__file__).parents[1]
# The tools have an environment of their own.
MYPY = shutil.which("mypy", path=os.pathsep.join([str(ROOT / ".venv-tools" / "bin"), os.environ["PATH"]]))

DAG_OF_A_USER = """\
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from airflow.sdk import DAG, Param, XComArg, task

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.sensors.balance import BalanceSensor


@task
def price() -> float:
    return 7.5


with DAG("spend", params={"min": Param(25), "account": Param("youcom_default")}) as dag:
    get_balance = GetBalanceOperator(task_id="get_balance", youcom_conn_id=dag.param("account"))
    BalanceSensor(task_id="number", min_usd=25, timeout=60, poke_interval=timedelta(minutes=1))
    BalanceSensor(task_id="exact", min_usd=Decimal("7.50"), on_shortfall="skip", on_unavailable="pass")
    BalanceSensor(task_id="fraction", min_usd=Fraction(15, 2), deferrable=True)
    BalanceSensor(task_id="param", min_usd=dag.param("min"), youcom_conn_id=dag.param("account"))
    BalanceSensor(task_id="xcom", min_usd=XComArg(get_balance, key="balance_usd"))
    BalanceSensor(task_id="output", min_usd=get_balance.output)
    balance: Decimal = YouComHook().get_balance().balance_usd
"""


@pytest.mark.skipif(MYPY is None, reason="mypy is not installed; make lint installs it")
def test_each_form_of_an_argument_that_works_type_checks(tmp_path: Path):
    pytest.importorskip("airflow.sdk", reason="the annotations are Airflow 3's")
    (tmp_path / "spend.py").write_text(DAG_OF_A_USER)
    done = subprocess.run(
        # Silent about the package itself, as mypy is about any installed package.
        [str(MYPY), "--strict", "--follow-imports=silent", "--python-executable", sys.executable, "spend.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
