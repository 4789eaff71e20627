"""The first gates that reserve agree on the id of their Airflow, although its API server is killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from dev.local_airflow import LocalAirflow
from tests.real_airflow.conftest import minor_version
from tests.real_airflow.reserved_runs import ReservedRuns

pytestmark = [
    pytest.mark.real_airflow,
    pytest.mark.scenario,
    pytest.mark.on_the_ends,
    pytest.mark.timeout(1200),
]

DAG_ID = "first_run"
ID = "youcom_deployment_id"
CANDIDATE = "youcom_deployment_id_candidate"
RUNS = [f"first_{number}" for number in range(5)]


def variables(airflow: LocalAirflow) -> dict[str, str]:
    """Return the ids that this Airflow has, past its API."""
    engine = sa.create_engine(airflow.database_url)
    with engine.connect() as connection:
        names = connection.execute(sa.text("SELECT key FROM variable WHERE key LIKE 'youcom_%'")).scalars()
        found = list(names)
    engine.dispose()
    return {name: airflow.request("GET", f"/variables/{name}").json()["value"] for name in found}


@pytest.fixture
def airflow_without_an_id(airflow: LocalAirflow) -> Iterator[LocalAirflow]:
    before = variables(airflow)
    for name in before:
        airflow.request("DELETE", f"/variables/{name}")
    yield airflow
    airflow.start()
    # The reservations of other tests stand under the id from before.
    for name in variables(airflow):
        airflow.request("DELETE", f"/variables/{name}")
    for name, text in before.items():
        airflow.request("POST", "/variables", json={"key": name, "value": text})


def test_gates_that_open_first_while_the_api_server_is_killed_get_one_id(
    runs: ReservedRuns, airflow_without_an_id: LocalAirflow
) -> None:
    airflow = airflow_without_an_id
    if minor_version(airflow) in {(3, 0), (3, 1)}:
        pytest.skip("there, a task dies with the API server, and Airflow finds that out after minutes")
    for run_id in RUNS:
        runs.start(DAG_ID, run_id)
    if minor_version(airflow) >= (3, 2):
        airflow.wait_until("a candidate", lambda: variables(airflow), lambda seen: CANDIDATE in seen)
        airflow.kill("api-server")
        airflow.restart("api-server")
    for run_id in RUNS:
        airflow.wait_for_run(DAG_ID, run_id, "success", timeout=600)

    found = variables(airflow)
    assert set(found) == {ID}
    reservations = [each for run_id in RUNS for each in runs.reservations(run_id)]
    assert len(reservations) >= len(RUNS)
    assert {each.holder.deployment for each in reservations} == {found[ID]}
    assert not [each for each in reservations if each.stands]
