"""A whole Airflow runs every example and every fault with a canary as the key, and logs all it can."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import requests
from sqlalchemy.engine import make_url

from airflow_provider_youcom._plugin import YouComPlugin
from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.busy_machine import LOCAL_EXECUTOR, PATIENCE
from tests.examples import EXAMPLES
from tests.faults.certificates import ca_file
from tests.faults.fault_matrix import ACCEPTED, CASES
from tests.faults.places import answers
from tests.security.canary import CANARY_KEY, forms_of
from tests.security.search import Search

pytestmark = [
    pytest.mark.real_airflow,
    pytest.mark.scenario,
    pytest.mark.on_the_ends,
    pytest.mark.timeout(1800),
]

HERE = Path(__file__).parent
CREDITS_PAGE = "credits-page.html"
IAM_TOKEN = "iam_token.txt"
# A proxy and a CA file are set for the whole process, so they would affect every connection.
FAULTS = {
    f"fault_{number}": case
    for number, case in enumerate(CASES)
    if not case.name.startswith(("proxy", "CA file"))
}


@pytest.fixture(scope="module")
def you_com() -> Iterator[Sandbox]:
    with Sandbox(1000, api_key=CANARY_KEY) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def connections(you_com: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file for ``airflow connections import``, so that no argument and no variable holds the key."""
    repeats_the_key = answers(json.dumps({"detail": CANARY_KEY}), 401)
    with ExitStack() as running:
        connections = {
            conn_id: _connection(you_com.base_url, ledger_conn_id="ledger")
            for conn_id in _connections_of_examples()
        }
        connections["repeats_the_key"] = _connection(running.enter_context(repeats_the_key()))
        connections |= _ledgers(running, you_com.base_url)
        for conn_id, case in FAULTS.items():
            connections[conn_id] = _connection(running.enter_context(case.place()), case.timeout)
        file = tmp_path_factory.mktemp("connections") / "connections.json"
        file.write_text(json.dumps(connections))
        file.with_name(IAM_TOKEN).write_text(CANARY_KEY)
        yield file


@pytest.fixture(scope="module")
def airflow(connections: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    home, dags = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("dags")
    for file in [*EXAMPLES, HERE / "dags" / "canary.py"]:
        shutil.copy(file, dags)
    environment = {
        **PATIENCE,
        **LOCAL_EXECUTOR,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "FAULTY_CONNECTIONS": ",".join(FAULTS),
        # The credits page reads every connection, also those that cannot be used.
        "AIRFLOW__YOUCOM__PAGE_CONN_IDS": ",".join(json.loads(connections.read_text())),
        "PYTHONPATH": str(HERE / "in_each_process"),
        "IAM_TOKEN_FILE": str(connections.with_name(IAM_TOKEN)),
        "REQUESTS_CA_BUNDLE": str(ca_file()),
    }
    with LocalAirflow(home, dags, environment=environment) as started:
        started.cli("connections", "import", str(connections))
        yield started


@pytest.fixture(scope="module")
def searched(airflow: LocalAirflow, you_com: Sandbox) -> Search:
    """The search of all that Airflow has written, while it still runs."""
    search = Search(airflow.home)
    dag_ids = ["canary", *(file.stem for file in EXAMPLES)]
    for dag_id in dag_ids:
        airflow.wait_for_dag(dag_id)
    runs = {dag_id: airflow.trigger(dag_id) for dag_id in dag_ids}

    airflow.wait_until("a trigger in the database", search.triggers, bool)
    search.processes()
    you_com.top_up(2000)
    for dag_id, run_id in runs.items():
        airflow.wait_for_run(dag_id, run_id, "success", "failed", timeout=1200)
    if YouComPlugin.external_views:
        (airflow.home / CREDITS_PAGE).write_text(credits_page(airflow))
    search.files()
    search.database()
    return search


def credits_page(airflow: LocalAirflow) -> str:
    """The credits page, with the errors of the connections that cannot be used."""
    token = requests.get(f"{airflow.base_url}/auth/token", timeout=60).json()["access_token"]
    url, headers = f"{airflow.base_url}/youcom/", {"Authorization": f"Bearer {token}"}
    # The ledger that is away may take longer than a viewer waits.
    return airflow.wait_until(
        "an error on the credits page",
        lambda: requests.get(url, headers=headers, timeout=60).text,
        # At the first look, a slow ledger is not shown yet.
        lambda page: "ledger_away" in page and "Available now" in page,
    )


def test_the_run_meets_every_fault_and_ends_every_gate(searched: Search, airflow: LocalAirflow) -> None:
    run_id = airflow.request("GET", "/dags/canary/dagRuns").json()["dag_runs"][0]["dag_run_id"]
    ended = {task_id: state for (task_id, _), state in airflow.task_states("canary", run_id).items()}
    assert ended == {
        "every_fault": "success",
        "balance": "success",
        "refused": "failed",
        "poke": "failed",
        "deferred": "success",
        "times_out": "failed",
        "no_connection": "failed",
        "reserve": "success",
        "reserve_in_code": "success",
        "release_reserve": "success",
        "ledger_away": "failed",
    }
    log = airflow.task_log("canary", run_id, "every_fault")
    assert log.count("As expected") == sum(case.outcome != ACCEPTED for case in FAULTS.values())


@pytest.mark.skipif(not YouComPlugin.external_views, reason="the page needs Airflow 3.1.1 or newer")
def test_the_credits_page_shows_the_account_and_what_is_wrong_with_a_ledger(
    searched: Search, airflow: LocalAirflow
) -> None:
    page = (airflow.home / CREDITS_PAGE).read_text()
    assert "Available now" in page
    assert "since the ledger &#39;ledger_away&#39;" in page


def test_the_key_is_nowhere_in_what_airflow_wrote(
    searched: Search, record_property: Callable[[str, object], None]
) -> None:
    record_property("summary", searched.summary())
    assert searched.found == []
    assert all(searched.searched.values())


def test_the_ledger_was_reached_with_a_token_of_iam(searched: Search, connections: Path) -> None:
    if json.loads(connections.read_text())["ledger_iam"]["conn_type"] == "sqlite":
        pytest.skip("PostgreSQL is not installed here, and a file needs no token")
    assert connections.with_name(IAM_TOKEN).with_suffix(".was_read").exists()


@pytest.mark.parametrize("form", sorted(forms_of(CANARY_KEY)))
def test_the_search_finds_a_planted_leak(searched: Search, airflow: LocalAirflow, form: bytes) -> None:
    planted = airflow.home / "logs" / "planted.log"
    planted.write_bytes(b"before " + form + b" behind")
    variable = f"planted_{planted.stat().st_mtime_ns}"
    airflow.request("POST", "/variables", json={"key": variable, "value": "x", "description": form.decode()})
    process = subprocess.Popen(["sh", "-c", "read planted", "sh", form], stdin=subprocess.PIPE)

    search = Search(airflow.home)
    for places in (search.files, search.database, search.processes):
        places()
    process.communicate(b"\n")
    planted.unlink()
    airflow.request("DELETE", f"/variables/{variable}")

    assert {"logs/planted.log", "variable.description"} <= set(search.found)
    assert any(place.startswith("sh -c read planted") for place in search.found)


def _ledgers(running: ExitStack, base_url: str) -> dict[str, dict[str, object]]:
    """
    Return two connections that reserve, and their ledgers, whose passwords are the canary too.

    One ledger is a PostgreSQL, if this machine has one, and is reached by a password and by a token of IAM.
    Nothing listens at the address of the other.
    """
    ledger = _postgres(running) or {"conn_type": "sqlite", "host": str(running.enter_context(_file()))}
    by_iam = {**ledger, "extra": json.dumps({"iam": True})} if ledger["conn_type"] == "postgres" else ledger
    away = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x", "password": CANARY_KEY}
    return {
        "reserving": _connection(base_url, ledger_conn_id="ledger_iam"),
        "cannot_reserve": _connection(base_url, ledger_conn_id="ledger_away"),
        "ledger": ledger,
        "ledger_iam": by_iam,
        "ledger_away": {**away, "schema": "x"},
    }


def _postgres(running: ExitStack) -> dict[str, object] | None:
    try:
        from dev.private_postgres import PostgresMissingError, PrivatePostgres

        url = make_url(running.enter_context(PrivatePostgres()).url)
    except (ImportError, PostgresMissingError):
        return None
    place = {"host": url.host, "port": url.port, "schema": url.database, "login": url.username}
    # It accepts any password from this machine.
    return {"conn_type": "postgres", "password": CANARY_KEY, **place}


@contextmanager
def _file() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder, "ledger.db")


def _connections_of_examples() -> set[str]:
    named = {name for file in EXAMPLES for name in re.findall(r'"(youcom_\w+)"', file.read_text())}
    return {"youcom_default", *named}


def _connection(host: str, timeout: float = 60, **more: str) -> dict[str, object]:
    # urllib3 logs a warning about each retry.
    extra = json.dumps({"timeout": max(1, timeout), "retries": 1, **more})
    return {"conn_type": "youcom", "host": host, "password": CANARY_KEY, "extra": extra}
