"""A gate that already waits meets a fault of each outcome; then the account holds enough."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_youcom.sandbox import Fault, Sandbox
from tests.faults.dags import waiting_gates
from tests.faults.dags.waiting_gates import FAULTS, MODES
from tests.faults.places import HOLDS_A_DOLLAR

pytestmark = pytest.mark.on_one_airflow

SHORT = Fault(body=HOLDS_A_DOLLAR)
STRIKES = {
    "drip": Fault(drip=1),
    "unavailable": Fault(status=503, body="<html>"),
    "refused": Fault(status=401, body='{"detail": "revoked"}'),
    "spend_cap": Fault(status=429, body='{"code": "spend_cap_exceeded"}'),
    "not_the_contract": Fault(body="<html>"),
}
ENDS = {
    "drip": "success",
    "unavailable": "success",
    "refused": "failed",
    "spend_cap": "failed",
    "not_the_contract": "failed",
}


@pytest.fixture(scope="module")
def dags_folder(airflow_database: None) -> None:
    """From Airflow 3.1 on, dag.test loads the DAG from this folder."""
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    shutil.copy(waiting_gates.__file__, folder)


@pytest.fixture(scope="module", params=MODES)
def states(dags_folder: None, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The state in which each gate of one mode ends."""
    with Sandbox(accounts=dict.fromkeys(FAULTS, 100)) as you_com, pytest.MonkeyPatch.context() as patch:
        for fault, strikes in STRIKES.items():
            you_com.inject(SHORT, api_key=fault)
            you_com.inject(strikes, api_key=fault)
            # Nothing but the timeout ends a drip, and it ends no other call.
            extra = {"timeout": 1 if fault == "drip" else 60, "retries": 0}
            connection = {**json.loads(you_com.connection(fault)), "extra": extra}
            patch.setenv(f"AIRFLOW_CONN_{fault.upper()}", json.dumps(connection))
        run = waiting_gates.waiting_gates(request.param).test()
        assert you_com.state()["faults"] == 0, "a gate ended before it met its fault"
        yield {task.task_id: str(task.state) for task in run.get_task_instances()}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_waiting_gate_survives_a_fault_or_ends_because_of_it(fault: str, states: dict[str, str]) -> None:
    assert states[fault] == ENDS[fault]
