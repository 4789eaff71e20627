"""An Airflow on several machines: CeleryExecutor, Redis, PostgreSQL, two workers and two triggerers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from dev.airflow_machine import AirflowMachine
from dev.local_airflow import LocalAirflow
from dev.private_redis import PrivateRedis
from tests.busy_machine import LITTLE_IDLE_WORK

if TYPE_CHECKING:
    from dev.task_history import TaskHistory

T = TypeVar("T")
DAGS = Path(__file__).parent / "dags"
PATIENCE = 300.0
SUMMARY = pytest.StashKey[list[str]]()
_SETTINGS = {
    **LITTLE_IDLE_WORK,
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CORE__PARALLELISM": "32",
    # How soon Airflow notices that a worker or triggerer is dead, which takes 300 and 30 s by default.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    # A check that the killed worker had received and not begun stays queued for so long, 600 s by default.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "120",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
}
_WORKER = (
    "celery",
    "worker",
    "--concurrency",
    "4",
    "--skip-serve-logs",
    "--without-mingle",
    "--without-gossip",
    "--celery-hostname",
)
_TRIGGERER = ("triggerer", "--skip-serve-logs", "--capacity")
# A worker talks to the api-server and to Redis, never to the database.
_NO_DATABASE = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody@127.0.0.1:1/nothing"}


@dataclass
class Deployment:
    """
    The Airflow, and the machines on which its workers and triggerers run.

    :param airflow: Its api-server, scheduler and dag-processor.
    :param history: Every change of a gate's state.
    :param machines: Its workers and triggerers, by host name.
    :param summary: Lines to print at the end.
    """

    airflow: LocalAirflow
    history: TaskHistory
    machines: dict[str, AirflowMachine]
    summary: list[str]

    def start_gates(self, dag_id: str, youcom_conn_id: str, count: int) -> list[str]:
        self.airflow.wait_for_dag(dag_id, timeout=300)
        return [self.airflow.trigger(dag_id, {"youcom_conn_id": youcom_conn_id}) for _ in range(count)]

    def wait_until(self, what: str, probe: Callable[[], T], reached: Callable[[T], bool]) -> T:
        def check_and_probe() -> T:
            for machine in self.machines.values():
                machine.check()
            return probe()

        return self.airflow.wait_until(what, check_and_probe, reached, timeout=PATIENCE)


@pytest.fixture(scope="session")
def deferred_account() -> Iterator[Sandbox]:
    """The You.com that the deferred gates ask."""
    with Sandbox("3.20") as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def rescheduled_account() -> Iterator[Sandbox]:
    """The You.com that the gates in reschedule mode ask."""
    with Sandbox("3.20") as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def environment_account() -> Iterator[Sandbox]:
    """The You.com behind the connections that are in the environment of some machines only."""
    with Sandbox("3.20") as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def deployment(
    deferred_account: Sandbox,
    rescheduled_account: Sandbox,
    environment_account: Sandbox,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[Deployment]:
    from dev.private_postgres import PrivatePostgres
    from dev.task_history import TaskHistory

    with ExitStack() as stack:
        postgres = stack.enter_context(PrivatePostgres())
        redis = stack.enter_context(PrivateRedis())
        environment = {
            **_SETTINGS,
            "AIRFLOW__CELERY__BROKER_URL": redis.url(0),
            "AIRFLOW__CELERY__RESULT_BACKEND": redis.url(1),
            # In the environment of the api-server, the scheduler and the dag-processor only.
            "AIRFLOW_CONN_ON_THE_API_SERVER": environment_account.connection(),
        }
        home = tmp_path_factory.mktemp("airflow")
        airflow = LocalAirflow(home, DAGS, environment=environment, database_url=postgres.url)
        stack.callback(airflow.stop)
        airflow.start("api-server", "scheduler", "dag-processor")
        history = TaskHistory.start(postgres.connect())
        stack.callback(history.close)
        add_connection(airflow, "youcom_deferred", deferred_account)
        add_connection(airflow, "youcom_rescheduled", rescheduled_account)
        on_the_machine = {"AIRFLOW_CONN_ON_WORKERS_AND_TRIGGERERS": environment_account.connection()}
        machines = {
            name: AirflowMachine(airflow, name, *arguments, environment={**on_the_machine, **settings})
            for name, arguments, settings in (
                ("worker-1", (*_WORKER, "worker-1"), _NO_DATABASE),
                ("worker-2", (*_WORKER, "worker-2"), _NO_DATABASE),
                ("triggerer-1", (*_TRIGGERER, "6"), {}),
                ("triggerer-2", (*_TRIGGERER, "1000"), {}),
            )
        }
        for machine in machines.values():
            stack.callback(machine.kill)
        yield Deployment(airflow, history, machines, pytestconfig.stash.setdefault(SUMMARY, []))


def add_connection(airflow: LocalAirflow, conn_id: str, you_com: Sandbox) -> None:
    connection = {"conn_type": "youcom", "host": you_com.base_url, "password": you_com.api_key}
    airflow.add_connection(conn_id, connection)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(SUMMARY, []):
        terminalreporter.write_line(line)
