"""One You.com and one Airflow for all tests here."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy

from airflow_provider_youcom.sandbox import Account, Sandbox
from dev.local_airflow import LocalAirflow
from tests.busy_machine import LOCAL_EXECUTOR, PATIENCE
from tests.examples import EXAMPLES
from tests.real_airflow.decision_table import RESERVING, Gate
from tests.real_airflow.reserved_runs import LEDGER, ReservedRuns
from tests.real_airflow.statsd import StatsdServer

if TYPE_CHECKING:
    from dev.private_postgres import PrivatePostgres

DAGS = Path(__file__).parent / "dags"
_CONNECTIONS = ["youcom_waiting", "youcom_rich", "youcom_richer", "youcom_poor", "youcom_measured"]
_SETTINGS = {
    **PATIENCE,
    "PYTHONWARNINGS": "default::DeprecationWarning",
    **LOCAL_EXECUTOR,
    "AIRFLOW__CORE__PARALLELISM": "5",
    # How long a killed triggerer keeps its triggers. With a single triggerer, a late heartbeat does no harm.
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
}


@pytest.fixture(scope="package")
def you_com() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="package")
def statsd() -> Iterator[StatsdServer]:
    with StatsdServer() as server:
        yield server


@pytest.fixture(scope="package")
def database_url() -> Iterator[str | None]:
    """PostgreSQL, where there is one: on a busy machine, processes of Airflow give up waiting for SQLite."""
    postgres = _postgres()
    if postgres is None:
        yield None
        return
    with postgres:
        yield postgres.url


@pytest.fixture(scope="package")
def gates(request: pytest.FixtureRequest) -> list[Gate]:
    """The gates of the decision table whose tests are selected."""
    parameters = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    return [each["gate"] for each in parameters if isinstance(each.get("gate"), Gate)]


@pytest.fixture(scope="package")
def airflow(
    you_com: Sandbox,
    statsd: StatsdServer,
    database_url: str | None,
    gates: list[Gate],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalAirflow]:
    home = tmp_path_factory.mktemp("airflow")
    dags = Path(shutil.copytree(DAGS, home / "dags"))
    for example in EXAMPLES:
        shutil.copy(example, dags)
    reservations = home / "reservations"
    reservations.mkdir()
    environment = {
        **_SETTINGS,
        **statsd.settings,
        "DECISION_TABLE": str(_write_gates(gates, home / "decision_table.json")),
        "RESERVATIONS_FOLDER": str(reservations),
    }
    ledgers = {gate.conn_id: LEDGER for gate in gates if gate.mode in RESERVING}
    for conn_id in [*(gate.conn_id for gate in gates), *_CONNECTIONS]:
        # Without retries, each check is one request.
        extra = {"retries": 0, "timeout": 20, "ledger_conn_id": ledgers.get(conn_id, "")}
        environment[f"AIRFLOW_CONN_{conn_id.upper()}"] = _connection(you_com, conn_id, extra)
    with LocalAirflow(home, dags, environment=environment, database_url=database_url) as started:
        yield started


@pytest.fixture(scope="package")
def reserved_runs(airflow: LocalAirflow, you_com: Sandbox) -> Iterator[ReservedRuns]:
    reserved_runs = ReservedRuns(airflow, you_com, Path(airflow.environment["RESERVATIONS_FOLDER"]))
    reserved_runs.connect()
    yield reserved_runs
    reserved_runs.close()


@pytest.fixture
def runs(reserved_runs: ReservedRuns) -> Iterator[ReservedRuns]:
    """Reserved runs, of which no task goes on holding if the test fails."""
    yield reserved_runs
    reserved_runs.let_everything_go()


def hold(you_com: Sandbox, api_key: str, usd: str) -> None:
    """Open an account for a key, which holds this much."""
    you_com.accounts[api_key] = Account("4f1c", Decimal(usd) * 100)


def end_reschedule_intervals(airflow: LocalAirflow) -> None:
    """Make the gates that wait in reschedule mode check now."""
    with sqlalchemy.create_engine(airflow.database_url).begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE task_reschedule SET reschedule_date = end_date"))


def wait_until_logged(
    words: str,
    airflow: LocalAirflow,
    dag_id: str,
    run_id: str,
    task_id: str,
    *,
    try_number: int = 1,
    map_index: int = -1,
) -> None:
    """
    Wait until the log of a gate contains these words.

    Airflow 3 reads what triggers log 4 kB at a time, between other work, and forgets a trigger once it has
    ended. Its last lines may come late, or stand in the triggerer's own log.
    """
    airflow.wait_until(
        f"{words!r} in the log of {task_id} of {run_id}",
        lambda: airflow.task_log(dag_id, run_id, task_id, try_number, map_index),
        lambda log: words in log or words in airflow.component_log("triggerer"),
        timeout=120,
    )


def minor_version(airflow: LocalAirflow) -> tuple[int, ...]:
    """Return the version as a tuple, for instance (3, 3)."""
    return tuple(int(part) for part in airflow.version.split(".")[:2])


def _postgres() -> PrivatePostgres | None:
    try:
        from dev.private_postgres import PostgresMissingError, PrivatePostgres
    except ImportError:  # There is no driver.
        return None
    try:
        return PrivatePostgres()
    except PostgresMissingError:
        return None


def _connection(you_com: Sandbox, api_key: str, extra: Mapping[str, object]) -> str:
    return json.dumps({**json.loads(you_com.connection(api_key)), "extra": extra})


def _write_gates(gates: list[Gate], path: Path) -> Path:
    dags = defaultdict(list)
    for gate in gates:
        dags[gate.dag_id].append(gate.arguments())
    path.write_text(json.dumps(dags))
    return path
