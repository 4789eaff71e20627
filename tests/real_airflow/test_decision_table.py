"""The decision table holds in a real Airflow, in every mode."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.real_airflow.conftest import wait_until_logged
from tests.real_airflow.decision_table import GATES, MODES, RESERVING, ROWS, Gate
from tests.real_airflow.reserved_runs import ReservedRuns

pytestmark = [pytest.mark.real_airflow, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Outcome:
    """How a gate's task ended."""

    run_id: str
    state: str
    tries: int
    xcom: str | None
    downstream: str
    log: str


@pytest.fixture(scope="module")
def outcomes(
    airflow: LocalAirflow, you_com: Sandbox, reserved_runs: ReservedRuns, gates: list[Gate]
) -> dict[tuple[str, str], Outcome]:
    for gate in gates:
        gate.open_account(you_com)
    dag_ids = list(dict.fromkeys(gate.dag_id for gate in gates))
    for dag_id in dag_ids:
        airflow.wait_for_dag(dag_id)
    run_ids = {dag_id: airflow.trigger(dag_id) for dag_id in dag_ids}
    for dag_id, run_id in run_ids.items():
        airflow.wait_for_run(dag_id, run_id, timeout=900)
    instances = {
        each["task_id"]: each
        for dag_id, run_id in run_ids.items()
        for each in _instances(airflow, dag_id, run_id)
    }
    return {
        (gate.row.name, gate.mode): _outcome(airflow, gate, run_ids[gate.dag_id], instances) for gate in gates
    }


def _marks(gate: Gate) -> list[pytest.MarkDecorator]:
    if gate.is_like_another:
        return [pytest.mark.scenario, pytest.mark.on_one_airflow]
    if gate.ends_like_another:
        return [pytest.mark.on_one_airflow]
    return [pytest.mark.on_the_ends] if gate.is_alike_on_all_airflows else []


@pytest.mark.parametrize(
    "gate",
    [
        pytest.param(
            gate,
            id=f"{gate.row.name}-{gate.mode}",
            marks=_marks(gate),
        )
        for gate in GATES
    ],
)
def test_a_gate_ends_as_the_table_says(
    gate: Gate, airflow: LocalAirflow, outcomes: dict[tuple[str, str], Outcome]
) -> None:
    row, outcome = gate.row, outcomes[gate.row.name, gate.mode]
    assert (outcome.state, outcome.tries, outcome.xcom, outcome.downstream) == (
        row.state,
        row.tries,
        row.xcom,
        row.downstream,
    ), outcome.log
    wait_until_logged(
        gate.because, airflow, gate.dag_id, outcome.run_id, gate.task_id, try_number=outcome.tries
    )


def test_airflow_logs_no_python_warning_about_the_provider(
    airflow: LocalAirflow,
    outcomes: dict[tuple[str, str], Outcome],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("summary", _as_table(airflow.version, outcomes))
    logs = [path.read_text(errors="replace") for path in (airflow.home / "logs").rglob("*.log")]
    warnings = [line for log in logs for line in log.splitlines() if re.search(r"\w+Warning\b", line)]

    assert any("the DAG of the decision table warns" in line for line in warnings), "warnings are not logged"
    assert not [line for line in warnings if re.search(r"airflow_provider_youcom/\S+\.py", line)]


def _instances(airflow: LocalAirflow, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
    answer = airflow.request("GET", path, params={"limit": 1000}).json()
    return list(answer["task_instances"])


def _outcome(airflow: LocalAirflow, gate: Gate, run_id: str, instances: dict[str, dict[str, Any]]) -> Outcome:
    instance = instances[gate.task_id]
    return Outcome(
        run_id,
        instance["state"],
        instance["try_number"],
        _xcom(airflow, gate, run_id),
        instances[f"behind.{gate.task_id}"]["state"],
        airflow.task_log(gate.dag_id, run_id, gate.task_id, instance["try_number"]),
    )


def _xcom(airflow: LocalAirflow, gate: Gate, run_id: str) -> str | None:
    try:
        returned = airflow.xcom(gate.dag_id, run_id, gate.task_id)
    except requests.HTTPError as error:
        if error.response is None or error.response.status_code != requests.codes.not_found:
            raise
        return None
    if gate.mode == "triggerer" and isinstance(returned, str):
        # Airflow 3 encodes an XCom that a trigger pushes twice.
        returned = json.loads(returned)
    if not isinstance(returned, dict):
        return repr(returned)
    if set(returned.values()) == {None}:
        return "unknown"
    if gate.mode in RESERVING and (returned["reserved_usd"], returned["available_usd"]) != (0, 100):
        return repr(returned)
    return "balance" if returned["balance_usd"] >= 5 else repr(returned)


def _as_table(version: str, outcomes: dict[tuple[str, str], Outcome]) -> str:
    width = max(len(row.name) for row in ROWS)
    lines = [f"Decision table, Airflow {version}: state, tries, XCom"]
    lines += ["  ".join([" " * width, *(f"{mode:<20}" for mode in MODES)])]
    for row in ROWS:
        ends = [outcomes.get((row.name, mode)) for mode in MODES]
        lines.append("  ".join([f"{row.name:<{width}}", *(f"{_cell(end):<20}" for end in ends)]).rstrip())
    return "\n".join(lines)


def _cell(end: Outcome | None) -> str:
    if end is None:
        return "–"
    return ", ".join(filter(None, [end.state, str(end.tries), end.xcom]))
