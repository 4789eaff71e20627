"""Many scripts spend from one account at once, and each spends only what it reserved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_youcom.sandbox import Sandbox

pytest.importorskip("airflow.providers.sqlite", reason="a ledger on SQLite needs Airflow's sqlite provider")
pytestmark = pytest.mark.ledger

SCRIPTS = 6
SPENDER = Path(__file__).with_name("spender.py")


def spend_from_one_account(folder: Path, how: str, rounds: int) -> dict[str, int]:
    with Sandbox("1.00", post_charges_after=0.2) as sandbox:
        extra = {"ledger_conn_id": "ledger", "settle_seconds": 0.3}
        environment = {
            **os.environ,
            "YOU_COM": sandbox.base_url,
            "SCRIPTS": str(SCRIPTS),
            "MEETING_PLACE": str(folder),
            "AIRFLOW_CONN_YOUCOM_DEFAULT": json.dumps({**json.loads(sandbox.connection()), "extra": extra}),
            "AIRFLOW_CONN_LEDGER": json.dumps({"conn_type": "sqlite", "host": str(folder / "ledger.db")}),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        command = [sys.executable, str(SPENDER), str(rounds), how]
        scripts = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(SCRIPTS)
        ]
        results = [json.loads(script.communicate(timeout=500)[0].splitlines()[-1]) for script in scripts]
    return {name: sum(result[name] for result in results) for name in ("paid", "refused")}


def test_scripts_that_reserve_are_never_refused_a_payment(tmp_path: Path):
    assert spend_from_one_account(tmp_path, "reserved", 25) == {"paid": SCRIPTS * 25 * 3, "refused": 0}


def test_scripts_that_only_check_are_refused_payments(tmp_path: Path):
    assert spend_from_one_account(tmp_path, "checked", 5)["refused"] > 0
