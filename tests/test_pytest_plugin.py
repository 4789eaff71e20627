"""The plugin in a separate pytest, which loads it from the installed package as a user's pytest does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from tests.examples import ON_AIRFLOW_2

pytestmark = [pytest.mark.airflow_process, pytest.mark.on_the_ends]

PREPARATION = """
import os
import socket
import threading
import time
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_youcom.hooks.youcom import YouComHook

ports = []


def wait_until(condition):
    give_up_at = time.monotonic() + 60
    while not condition() and time.monotonic() < give_up_at:
        time.sleep(0.01)
    assert condition()


def connects(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def threads():
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
"""
NOTHING_IS_LEFT = """
def test_nothing_is_left():
    assert len(ports) == 1
    assert not connects(ports[0])
    wait_until(lambda: not threads())
    assert "AIRFLOW_CONN_YOUCOM_DEFAULT" not in os.environ
    with pytest.raises(AirflowNotFoundException):
        BaseHook.get_connection("youcom_default")
"""
THE_CONNECTION_IS_THE_SANDBOX = """
def test_the_connection_is_the_sandbox(youcom_sandbox):
    assert YouComHook().get_balance().balance_usd == 100
    assert youcom_sandbox.request_count == 1
    assert threads()
    ports.append(urlsplit(youcom_sandbox.base_url).port)
    assert connects(ports[0])
"""
NO_TEST_BEGINS = """
def test_that_must_not_begin(youcom_sandbox):
    YouComHook().get_balance()
    open("begun", "w").close()
"""


def run_pytest(folder: Path, *code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_of_a_user.py").write_text("\n".join(["import pytest", *code]))
    # An older anyio, as some Airflows pin it, warns with the newest pytest. The last two take long to load.
    without = [f"-pno:{name}" for name in ("cacheprovider", "anyio", "schemathesis", "hypothesispytest")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *without, "-W", "error::pytest.PytestWarning"],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_it_changes_nothing_and_loads_nothing_until_a_test_requests_it(tmp_path: Path) -> None:
    code = """
import sys

def test_that_does_not_request_the_sandbox(request):
    assert "airflow_provider_youcom.pytest_plugin" in sys.modules
    ours = {name for name in sys.modules if name.startswith("airflow_provider_youcom.")}
    assert ours == {"airflow_provider_youcom.pytest_plugin"}
    assert "airflow" not in sys.modules
    plugin = request.config.pluginmanager.get_plugin("youcom")
    assert not request.config.pluginmanager.get_hookcallers(plugin)
"""
    done = run_pytest(tmp_path, code)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_sandbox_is_the_connection_during_the_test_and_nothing_is_left_after_it(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, PREPARATION, THE_CONNECTION_IS_THE_SANDBOX, NOTHING_IS_LEFT)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_nothing_is_left_after_a_test_that_fails_while_an_answer_is_late(tmp_path: Path) -> None:
    code = """
from airflow_provider_youcom.sandbox import Fault

def test_that_fails(youcom_sandbox):
    ports.append(urlsplit(youcom_sandbox.base_url).port)
    youcom_sandbox.inject(Fault(delay=3600))
    threading.Thread(target=pytest.raises, args=(Exception, YouComHook().get_balance)).start()
    wait_until(lambda: youcom_sandbox.request_count)
    raise AssertionError("as meant")
"""
    done = run_pytest(tmp_path, PREPARATION, code, NOTHING_IS_LEFT)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "as meant" in done.stdout


def test_a_connection_in_the_environment_is_restored(tmp_path: Path) -> None:
    code = """
def test_the_users_connection_is_back():
    assert os.environ["AIRFLOW_CONN_YOUCOM_DEFAULT"] == "youcom://:ydc-sk-1@"
    assert BaseHook.get_connection("youcom_default").password == "ydc-sk-1"
"""
    done = run_pytest(
        tmp_path,
        PREPARATION,
        code,
        THE_CONNECTION_IS_THE_SANDBOX,
        code.replace("is_back", "is_still_back"),
        AIRFLOW_CONN_YOUCOM_DEFAULT="youcom://:ydc-sk-1@",
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_a_test_can_name_another_connection(tmp_path: Path) -> None:
    code = """
@pytest.fixture
def youcom_conn_id():
    return "youcom_research"

def test_another_connection(youcom_sandbox):
    assert YouComHook("youcom_research").get_balance().balance_usd == 100
    assert "AIRFLOW_CONN_YOUCOM_DEFAULT" not in os.environ
"""
    done = run_pytest(tmp_path, PREPARATION, code)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    "setting",
    [
        "AIRFLOW__SECRETS__BACKEND",
        pytest.param(
            "AIRFLOW__WORKERS__SECRETS_BACKEND",
            marks=pytest.mark.skipif(
                ON_AIRFLOW_2, reason="Airflow 2 has no secrets backend for workers alone"
            ),
        ),
    ],
)
def test_no_test_begins_if_a_secrets_backend_has_the_connection(setting: str, tmp_path: Path) -> None:
    with Sandbox() as account_of_the_user:
        connections = tmp_path / "connections.json"
        connections.write_text(f'{{"youcom_default": {account_of_the_user.connection()}}}')
        done = run_pytest(
            tmp_path,
            PREPARATION,
            NO_TEST_BEGINS,
            """
def test_nothing_is_left():
    wait_until(lambda: not threads())
    assert "AIRFLOW_CONN_YOUCOM_DEFAULT" not in os.environ
""",
            **{
                setting: "airflow.secrets.local_filesystem.LocalFilesystemBackend",
                f"{setting}_KWARGS": json.dumps({"connections_file_path": str(connections)}),
            },
        )
        assert account_of_the_user.request_count == 0
    assert re.search(r"\b1 passed, .*\b1 error in", done.stdout), done.stdout + done.stderr
    assert "Airflow does not read connection 'youcom_default' from the environment" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "begun").exists()


def test_a_secrets_backend_that_does_not_have_the_connection_is_no_obstacle(tmp_path: Path) -> None:
    connections = tmp_path / "connections.json"
    connections.write_text('{"warehouse": "postgres://"}')
    done = run_pytest(
        tmp_path,
        PREPARATION,
        THE_CONNECTION_IS_THE_SANDBOX,
        AIRFLOW__SECRETS__BACKEND="airflow.secrets.local_filesystem.LocalFilesystemBackend",
        AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps({"connections_file_path": str(connections)}),
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_test_that_undoes_or_replaces_its_patches_stays_in_the_sandbox_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    code = """
VARIABLE = "AIRFLOW_CONN_YOUCOM_DEFAULT"


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = os.environ[VARIABLE]
    yield
    assert os.environ[VARIABLE] == before


@pytest.fixture
def none_yet(monkeypatch):
    monkeypatch.delenv(VARIABLE)


@pytest.fixture
def another(monkeypatch):
    monkeypatch.setenv(VARIABLE, "youcom://:another-key@")


@pytest.fixture(scope="module")
def another_for_all():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "youcom://:module-key@")
        yield


def ask(sandbox):
    asked = sandbox.request_count
    YouComHook().get_balance()
    assert sandbox.request_count == asked + 1


def test_undo(youcom_sandbox, monkeypatch):
    monkeypatch.setenv("MINE", "1")
    monkeypatch.undo()
    assert "MINE" not in os.environ
    ask(youcom_sandbox)
    monkeypatch.undo()
    ask(youcom_sandbox)


def test_undo_of_an_earlier_fixture(none_yet, youcom_sandbox, monkeypatch):
    ask(youcom_sandbox)
    monkeypatch.undo()
    ask(youcom_sandbox)


@pytest.fixture
def another_until_the_end(another):
    yield
    assert os.environ[VARIABLE] == "youcom://:another-key@"


def test_an_earlier_replacement_is_back_before_its_fixture_ends(another_until_the_end, youcom_sandbox):
    ask(youcom_sandbox)


def test_undo_of_an_earlier_replacement(another, monkeypatch, youcom_sandbox):
    monkeypatch.undo()
    ask(youcom_sandbox)


@pytest.mark.parametrize("undoes", [False, True])
@pytest.mark.parametrize("is_same", [False, True])
def test_replacement(monkeypatch, youcom_sandbox, is_same, undoes):
    monkeypatch.setenv(VARIABLE, youcom_sandbox.connection() if is_same else "youcom://:mine@")
    if undoes:
        monkeypatch.undo()
        ask(youcom_sandbox)


def test_removal(monkeypatch, youcom_sandbox):
    monkeypatch.delenv(VARIABLE)


def test_context(youcom_sandbox, monkeypatch):
    with monkeypatch.context() as patch:
        patch.delenv(VARIABLE)
    ask(youcom_sandbox)


@pytest.mark.usefixtures("youcom_sandbox")
class TestAll:
    def test_first(self, youcom_sandbox, monkeypatch):
        monkeypatch.undo()
        ask(youcom_sandbox)

    def test_second(self):
        assert "sandbox-key" in os.environ[VARIABLE]


def test_within_a_module(another_for_all, youcom_sandbox, monkeypatch):
    monkeypatch.setenv(VARIABLE, "youcom://:mine@")
    monkeypatch.undo()
    ask(youcom_sandbox)
"""
    with Sandbox() as account_of_the_user:
        done = run_pytest(
            tmp_path,
            PREPARATION,
            code,
            AIRFLOW_CONN_YOUCOM_DEFAULT=account_of_the_user.connection(),
        )
        assert account_of_the_user.request_count == 0
    # An error in a teardown leaves the test among the passed.
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 passed" in done.stdout
