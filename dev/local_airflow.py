"""
Start a whole private Airflow, of whichever version is installed, and drive it.

>>> with LocalAirflow(Path("/tmp/demo"), Path("dags")) as airflow:
...     airflow.wait_for_dag("research")
...     run_id = airflow.trigger("research", {"topic": "tides"})
...     airflow.wait_for_run("research", run_id, "success")
...     print(airflow.xcom("research", run_id, "report"))
"""

from __future__ import annotations

import atexit
import base64
import configparser
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import requests

T = TypeVar("T")
TaskStates = dict[tuple[str, int], str | None]
RUN_ENDED = frozenset({"success", "failed"})
TASK_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

# What every line of a task's log repeats, or what is written in front of the line or below it.
_LOG_CONTEXT = frozenset(
    "timestamp level event logger filename lineno error_detail"
    " dag_id run_id task_id map_index try_number ti_id".split()
)


class LocalAirflowError(RuntimeError):
    """The private Airflow did not do what was asked of it."""


@dataclass(frozen=True)
class _Release:
    """All that differs between the major versions of Airflow."""

    commands: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str]
    server: str
    api: str
    health: str
    trigger_defaults: Mapping[str, None]
    log_format: str
    settings: Mapping[str, Mapping[str, str]]


# The log servers are left out everywhere: they listen on all interfaces, and the API server reads
# the same files from the disk.
_AIRFLOW_2 = _Release(
    commands={
        "scheduler": ("scheduler", "--skip-serve-logs"),
        "triggerer": ("triggerer", "--skip-serve-logs"),
        "webserver": ("webserver",),
    },
    aliases={"api-server": "webserver", "dag-processor": "scheduler"},
    server="webserver",
    api="/api/v1",
    health="/health",
    trigger_defaults={},
    log_format="text/plain",
    settings={
        "api": {"auth_backends": "airflow.api.auth.backend.default"},
        "scheduler": {
            "dag_dir_list_interval": "1",
            "min_file_process_interval": "10",
            "scheduler_zombie_task_threshold": "30",
            "zombie_detection_interval": "5",
        },
    },
)
_AIRFLOW_3 = _Release(
    commands={
        "scheduler": ("scheduler", "--skip-serve-logs"),
        "dag-processor": ("dag-processor",),
        "triggerer": ("triggerer", "--skip-serve-logs"),
        "api-server": ("api-server",),
    },
    aliases={"webserver": "api-server"},
    server="api-server",
    api="/api/v2",
    health="/api/v2/monitor/health",
    trigger_defaults={"logical_date": None},
    log_format="application/json",
    settings={
        "core": {"simple_auth_manager_all_admins": "True"},
        "dag_processor": {
            "refresh_interval": "1",
            "bundle_refresh_check_interval": "1",
            "min_file_process_interval": "10",
        },
        "scheduler": {
            "task_instance_heartbeat_timeout": "30",
            "task_instance_heartbeat_timeout_detection_interval": "5",
        },
    },
)


class LocalAirflow:
    """
    A private Airflow of the installed version: its own home, database, ports and processes.

    Everything listens on 127.0.0.1 only, and nobody has to log in: every visitor of the UI and of the
    REST API is an administrator.

    :param home: AIRFLOW_HOME, created if missing. One used before keeps its database and its keys.
    :param dags_folder: Folder the DAGs are read from.
    :param environment: Variables to add for every Airflow process, for instance ``AIRFLOW__SECTION__KEY``
        or ``AIRFLOW_CONN_*``; they win over the settings made here.
    :param database_url: SQLAlchemy URL of an empty database, or of the one used before. By default an
        SQLite file in the home.
    :param airflow: Path of the ``airflow`` command. By default the one beside the running interpreter.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        database_url: str | None = None,
        airflow: str | Path | None = None,
    ) -> None:
        self.home = home.absolute()
        self.dags_folder = dags_folder.absolute()
        self.database_url = database_url or f"sqlite:///{self.home}/airflow.db"
        self._command = Path(airflow or Path(sys.executable).parent / "airflow").absolute()
        self.version = self._installed_version()
        self._release = _AIRFLOW_2 if self.version.startswith("2.") else _AIRFLOW_3
        self._environment = self._child_environment(environment or {})
        self._port, *self._unused_ports = _free_ports(3)
        self.base_url = f"http://127.0.0.1:{self._port}"
        self._http = requests.Session()
        # A proxy of the caller, or a password in ~/.netrc, has no business here.
        self._http.trust_env = False
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, datetime] = {}
        self._migrated = False

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components an Airflow of this version consists of."""
        return tuple(self._release.commands)

    def __enter__(self) -> LocalAirflow:
        return self if self._processes else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *components: str, timeout: float = 120) -> LocalAirflow:
        """
        Start components side by side, and wait until they work; those that run already stay as they are.

        Without an API server among those running, nobody can tell when the others are ready: then this
        returns at once.

        :param components: Names out of :attr:`components`; all of them if none is given.
        :param timeout: Seconds to wait for them.
        """
        names = [self._name(component) for component in components or self.components]
        if not self._migrated:
            self._write_configuration()
            self.cli("db", "migrate")
            self._migrated = True
        atexit.register(self.stop)
        for name in dict.fromkeys(names):
            if name not in self._processes:
                self._started[name] = datetime.now(timezone.utc)
                self._processes[name] = self._spawn(name)
        try:
            self.wait_until("start", self._not_ready, lambda waiting: not waiting, timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, *components: str, grace: float = 5) -> None:
        """
        Ask components to end, and kill what is left of them; those that do not run are left out.

        :param components: Names out of :attr:`components`; all of them if none is given.
        :param grace: Seconds they may take before they are killed.
        """
        names = [self._name(component) for component in components or self.components]
        stopping = [process for name in names if (process := self._processes.pop(name, None))]
        for process in stopping:
            process.terminate()
        deadline = time.monotonic() + grace
        for process in stopping:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
        for process in stopping:
            _kill_session(process)
        if not self._processes:
            atexit.unregister(self.stop)

    def kill(self, component: str) -> None:
        """
        Kill a component and all its children at once, as a crash of its machine would.

        :param component: One that runs.
        """
        process = self._processes.pop(self._name(component), None)
        if process is None:
            raise LocalAirflowError(f"{component} does not run")
        _kill_session(process)

    def restart(self, component: str, timeout: float = 120) -> None:
        """
        Start a component anew, which may run or have been killed, and wait until it works.

        :param component: Name out of :attr:`components`.
        :param timeout: Seconds to wait for it.
        """
        self.stop(component)
        self.start(component, timeout=timeout)

    def cli(self, *arguments: str, timeout: float = 300) -> str:
        """
        Run the ``airflow`` command, which takes seconds, and return what it wrote to its standard output.

        :param arguments: Its arguments. Only the first two are ever shown in an error.
        :param timeout: Seconds it may take.
        """
        done = subprocess.run(
            [self._command, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode:
            shown = " ".join(arguments[:2])
            raise LocalAirflowError(f"airflow {shown} failed ({done.returncode}):\n{done.stderr[-5000:]}")
        return done.stdout

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """
        Call the REST API.

        :param method: HTTP method.
        :param path: Path below ``/api/v1`` or ``/api/v2``, or a whole path if it is to a file beside them.
        :param options: What :meth:`requests.Session.request` takes.
        :raises requests.HTTPError: For any answer that is not a success.
        """
        options.setdefault("timeout", 30)
        url = f"{self.base_url}{self._release.api}{path}"
        response = self._http.request(method, url, **options)
        if response.status_code == requests.codes.unauthorized:
            token = self._http.get(f"{self.base_url}/auth/token", timeout=30).json()["access_token"]
            self._http.headers["Authorization"] = f"Bearer {token}"
            response = self._http.request(method, url, **options)
        if not response.ok:
            raise requests.HTTPError(
                f"{method} {path}: {response.status_code} {response.text[:2000]}", response=response
            )
        return response

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> None:
        """
        Wait until a DAG is parsed and can be triggered, and unpause it.

        :param dag_id: Its id.
        :param timeout: Seconds to wait.
        """
        path = f"/dags/{dag_id}"
        try:
            self.wait_until(
                f"DAG {dag_id}", lambda: self.request("GET", f"{path}/details").ok, bool, timeout
            )
        except LocalAirflowError as error:
            broken = self.request("GET", "/importErrors").json()["import_errors"]
            traces = "".join(f"\n--- {each['filename']}\n{each['stack_trace']}" for each in broken)
            raise LocalAirflowError(f"{error}{traces}") from None
        self.request("PATCH", path, json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """
        Start a run of a DAG and return its id.

        :param dag_id: Id of the DAG.
        :param conf: Configuration of the run.
        :param run_id: Id for it; by default Airflow makes one.
        """
        body = {**self._release.trigger_defaults, "conf": dict(conf or {})}
        if run_id:
            body["dag_run_id"] = run_id
        created = self.request("POST", f"/dags/{dag_id}/dagRuns", json=body).json()
        return str(created["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """
        Return the state of a run.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        """
        return str(self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}").json()["state"])

    def task_states(self, dag_id: str, run_id: str) -> TaskStates:
        """
        Return the state of each task instance of a run, by task id and map index (-1 if not mapped).

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self.request("GET", path, params={"limit": 10_000}).json()["task_instances"]
        return {(each["task_id"], each["map_index"]): each["state"] for each in found}

    def wait_for_run(self, dag_id: str, run_id: str, *states: str, timeout: float = 120) -> str:
        """
        Wait until a run is in one of some states, and return it.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param states: The states; by default those in which a run has ended.
        :param timeout: Seconds to wait.
        :raises LocalAirflowError: After that, or as soon as the run has ended in another state.
        """
        wanted = frozenset(states) or RUN_ENDED
        what = f"run {run_id} of {dag_id} in state {'/'.join(sorted(wanted))}"
        seen = self.wait_until(
            what,
            lambda: (self.run_state(dag_id, run_id), self.task_states(dag_id, run_id)),
            lambda seen: seen[0] in wanted | RUN_ENDED,
            timeout,
        )
        if seen[0] not in wanted:
            raise LocalAirflowError(f"{what}: it ended otherwise, {seen!r}\n{self.log_tails()}")
        return seen[0]

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, map_index: int = -1, timeout: float = 120
    ) -> str:
        """
        Wait until a task instance is in one of some states, and return it.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param states: The states; by default those in which a task has ended.
        :param map_index: Which instance of a mapped task.
        :param timeout: Seconds to wait.
        :raises LocalAirflowError: After that, or as soon as the task has ended in another state.
        """
        wanted = frozenset(states) or TASK_ENDED
        what = f"task {task_id} of {run_id} in state {'/'.join(sorted(wanted))}"
        state = self.wait_until(
            what,
            lambda: self.task_states(dag_id, run_id).get((task_id, map_index)) or "none",
            lambda state: state in wanted | TASK_ENDED,
            timeout,
        )
        if state not in wanted:
            raise LocalAirflowError(f"{what}: it ended otherwise, {state}\n{self.log_tails()}")
        return state

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> str:
        """
        Return the log of a task instance as text, with what its trigger wrote.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param try_number: Which of its tries.
        :param map_index: Which instance of a mapped task.
        """
        response = self.request(
            "GET",
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}",
            params={"map_index": map_index, "full_content": True},
            headers={"Accept": self._release.log_format},
        )
        if not response.headers["Content-Type"].startswith("application/json"):
            return response.text
        return "\n".join(_log_line(entry) for entry in response.json()["content"])

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """
        Return an XCom value.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task that pushed it.
        :param key: Its key.
        :param map_index: Which instance of a mapped task.
        """
        return self.request(
            "GET",
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}",
            params={"map_index": map_index, "stringify": False},
        ).json()["value"]

    def wait_until(
        self, what: str, probe: Callable[[], T], reached: Callable[[T], bool], timeout: float = 120
    ) -> T:
        """
        Look at something again and again until it is as wanted, and return what was seen then.

        A probe that gets no good answer from the REST API is tried again.

        :param what: What is waited for, for the error.
        :param probe: Looks.
        :param reached: Whether what was seen is what is wanted.
        :param timeout: Seconds to wait.
        :raises LocalAirflowError: After that, or as soon as a component has died.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                seen = probe()
                if reached(seen):
                    return seen
                last = repr(seen)
            except requests.RequestException as error:
                last = str(error)
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise LocalAirflowError(
                        f"{what}: {name} has died ({process.returncode}):\n{self._log_tail(name, 60)}"
                    )
            if time.monotonic() > deadline:
                raise LocalAirflowError(
                    f"{what}: not within {timeout:g} s, last seen {last}\n{self.log_tails()}"
                )
            time.sleep(0.3)

    def log_tails(self, lines: int = 15) -> str:
        """
        Return the end of what each component wrote.

        :param lines: How many lines of each.
        """
        return "\n".join(f"--- {name}\n{self._log_tail(name, lines)}" for name in self._started)

    def _name(self, component: str) -> str:
        name = self._release.aliases.get(component, component)
        if name not in self._release.commands:
            raise ValueError(f"Airflow {self.version} has no {component!r}, only {self.components}")
        return name

    def _installed_version(self) -> str:
        # `airflow version` would take seconds.
        code = "from importlib.metadata import version; print(version('apache-airflow'))"
        python = self._command.parent / "python"
        return subprocess.check_output([python, "-c", code], text=True).strip()

    def _child_environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "_AIRFLOW"))}
        no_proxy = ",".join(filter(None, [kept.get("NO_PROXY"), "127.0.0.1", "localhost"]))
        path = os.pathsep.join([str(self._command.parent), kept.get("PATH", os.defpath)])
        own = {"AIRFLOW_HOME": str(self.home), "PATH": path, "NO_PROXY": no_proxy, "no_proxy": no_proxy}
        return {**kept, **own, **extra}

    def _write_configuration(self) -> None:
        sequential = self._release is _AIRFLOW_2 and self.database_url.startswith("sqlite")
        path = self.home / "airflow.cfg"
        before = configparser.ConfigParser()
        before.read(path)

        def secret(section: str, key: str) -> str:
            made = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            return before.get(section, key, fallback=made)

        settings = {
            "core": {
                "dags_folder": str(self.dags_folder),
                "executor": "SequentialExecutor" if sequential else "LocalExecutor",
                "parallelism": "8",
                "load_examples": "False",
                "fernet_key": secret("core", "fernet_key"),
                "execution_api_server_url": f"{self.base_url}/execution/",
                "test_connection": "Enabled",
                "min_serialized_dag_update_interval": "1",
                "min_serialized_dag_fetch_interval": "1",
            },
            "database": {"sql_alchemy_conn": self.database_url, "load_default_connections": "False"},
            "logging": {
                "colored_console_log": "False",
                "worker_log_server_port": str(self._unused_ports[0]),
                "trigger_log_server_port": str(self._unused_ports[1]),
            },
            "api": {
                "base_url": self.base_url,
                "host": "127.0.0.1",
                "port": str(self._port),
                "workers": "1",
                "maximum_page_limit": "10000",
                "secret_key": secret("api", "secret_key"),
            },
            "api_auth": {"jwt_secret": secret("api_auth", "jwt_secret")},
            "webserver": {
                "base_url": self.base_url,
                "web_server_host": "127.0.0.1",
                "web_server_port": str(self._port),
                "workers": "1",
                "secret_key": secret("webserver", "secret_key"),
            },
            "scheduler": {
                "job_heartbeat_sec": "1",
                "scheduler_heartbeat_sec": "1",
                "scheduler_idle_sleep_time": "0.2",
                "scheduler_health_check_threshold": "10",
                "orphaned_tasks_check_interval": "5",
                "trigger_timeout_check_interval": "2",
            },
            # A triggerer that starts after a crash only gets the triggers of one known to be dead.
            "triggerer": {"job_heartbeat_sec": "1", "triggerer_health_check_threshold": "10"},
            "usage_data_collection": {"enabled": "False"},
        }
        parser = configparser.ConfigParser()
        for layer in (settings, self._release.settings):
            parser.read_dict(
                {s: {k: v.replace("%", "%%") for k, v in pairs.items()} for s, pairs in layer.items()}
            )
        (self.home / "logs").mkdir(parents=True, exist_ok=True)
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            parser.write(file)
        if self._release is _AIRFLOW_2:
            (self.home / "webserver_config.py").write_text('AUTH_TYPE = 1\nAUTH_ROLE_PUBLIC = "Admin"\n')

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        with (self.home / "logs" / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [self._command, *self._release.commands[name]],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _not_ready(self) -> list[str]:
        if self._release.server not in self._processes:
            return []
        health = self._http.get(f"{self.base_url}{self._release.health}", timeout=30).json()
        return [name for name in self._processes if not self._beats(name, health)]

    def _beats(self, name: str, health: Mapping[str, Mapping[str, str | None]]) -> bool:
        key = name.replace("-", "_")
        if key not in health:
            return True
        # The status would do for a first start only: it tells of the process killed before, for a while.
        beat = health[key].get(f"latest_{key}_heartbeat")
        return beat is not None and datetime.fromisoformat(beat) > self._started[name]

    def _log_tail(self, name: str, lines: int) -> str:
        path = self.home / "logs" / f"{name}.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _family(leader: int) -> set[int]:
    """Return the living processes of the session a process leads, and the descendants of those."""
    rows = subprocess.check_output(["ps", "-A", "-o", "pid=,ppid=,stat="], text=True).splitlines()
    table = [row.split() for row in rows]
    parents = {int(pid): int(parent) for pid, parent, state in table if not state.startswith("Z")}
    family: set[int] = set()
    for pid in parents:
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader:
                family.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    # A process group would not do: Airflow puts tasks and parsers in groups of their own.
    while family := _family(process.pid):
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    process.wait()


def _log_line(entry: dict[str, Any] | str) -> str:
    if isinstance(entry, str):
        return entry
    head = " ".join(str(entry[key]) for key in ("timestamp", "level", "event") if entry.get(key))
    rest = " ".join(f"{key}={value!r}" for key, value in entry.items() if key not in _LOG_CONTEXT)
    lines = [f"{head} {rest}".rstrip()]
    for error in entry.get("error_detail") or ():
        lines += [f"  {each['filename']}:{each['lineno']} {each['name']}" for each in error["frames"]]
        lines += [f"{error['exc_type']}: {error['exc_value']}"]
    return "\n".join(lines)
