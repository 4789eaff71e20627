"""
Start a private Airflow of the installed version, and drive it.

>>> with LocalAirflow(Path("/tmp/demo"), Path("example_dags")) as airflow:
...     airflow.wait_for_dag("research")
...     run_id = airflow.trigger("research", {"topic": "tides"})
...     airflow.wait_for_run("research", run_id, "success")
...     print(airflow.xcom("research", run_id, "report"))
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.airflow_api import AirflowApi, LocalAirflowError
from dev.airflow_release import AIRFLOW_2, AIRFLOW_3, write_configuration
from dev.process_session import kill_session, spawn

__all__ = ["LocalAirflow", "LocalAirflowError"]


class LocalAirflow(AirflowApi):
    """
    A private Airflow with its own home, database, ports and processes.

    It listens on 127.0.0.1 only, and needs no login: every visitor of the UI and of the REST API is an
    administrator. The processes stop when the interpreter exits, and when it is killed.

    :param home: AIRFLOW_HOME, created if missing. An existing one keeps its database and its keys.
    :param dags_folder: the folder that DAGs are read from.
    :param environment: variables for every Airflow process, for instance ``AIRFLOW__SECTION__KEY`` or
        ``AIRFLOW_CONN_*``. They override the settings made here.
    :param database_url: SQLAlchemy URL of an empty database, or of the one that the home used before.
        Default: an SQLite file in the home.
    :param airflow: path of the ``airflow`` command. Default: the one next to the running interpreter.
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
        # By default SQLite gives up after 5 s when another process writes.
        self.database_url = database_url or f"sqlite:///{self.home}/airflow.db?timeout=60"
        self.command = Path(airflow or Path(sys.executable).with_name("airflow")).absolute()
        self.version = self._installed_version()
        self.environment = self._child_environment(environment or {})
        self._ports = _free_ports(3)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, datetime] = {}
        self._prepared = False
        release = AIRFLOW_2 if self.version.startswith("2.") else AIRFLOW_3
        super().__init__(f"http://127.0.0.1:{self._ports[0]}", release)

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the components that this version of Airflow has."""
        return tuple(self._release.commands)

    @property
    def process_ids(self) -> dict[str, int]:
        """The process id of each component. It leads a session, to which all its children belong."""
        return {name: process.pid for name, process in self._processes.items()}

    def __enter__(self) -> Self:
        return self if self._processes else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *components: str, timeout: float = 300) -> Self:
        """
        Start components, and wait until they are ready. Running components stay as they are.

        Without a running API server there is no health check, and this does not wait.

        :param components: names from :attr:`components`, or their names in the other major version. Default:
            all of them.
        :param timeout: seconds to wait.
        """
        names = [name for name in self._names(components) if name not in self._processes]
        self._prepare()
        atexit.register(self.stop)
        try:
            for name in names:
                command = [str(self.command), *self._release.commands[name]]
                self._started[name] = datetime.now(UTC)
                self._processes[name] = spawn(command, self.environment, self._log(name))
            self.wait_until("start", self._not_ready, lambda waiting: not waiting, timeout)
        except BaseException:
            self.stop(*names, grace=0)
            raise
        return self

    def stop(self, *components: str, grace: float = 5) -> None:
        """
        Stop components, and kill what has not stopped in time.

        :param components: as for :meth:`start`.
        :param grace: seconds to stop in.
        """
        names = self._names(components)
        stopping = [process for name in names if (process := self._processes.pop(name, None))]
        for process in stopping:
            process.terminate()
        deadline = time.monotonic() + grace
        for process in stopping:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
        for process in stopping:
            kill_session(process)
        if not self._processes:
            atexit.unregister(self.stop)

    def kill(self, component: str) -> None:
        """
        Kill a component and all its children, as a crash of its machine would.

        :param component: the name of a running component.
        """
        (name,) = self._names([component])
        if name not in self._processes:
            raise LocalAirflowError(f"{name} is not running")
        kill_session(self._processes.pop(name))

    def restart(self, component: str, timeout: float = 300) -> None:
        """
        Stop a component if it is running, start it, and wait until it is ready.

        :param component: a name from :attr:`components`.
        :param timeout: seconds to wait.
        """
        self.stop(component)
        self.start(component, timeout=timeout)

    def cli(self, *arguments: str, timeout: float = 300) -> str:
        """
        Run the ``airflow`` command, which takes seconds, and return its standard output.

        :param arguments: its arguments. An error shows only the first two.
        :param timeout: seconds that it may take.
        """
        done = subprocess.run(
            [self.command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            shown = " ".join(arguments[:2])
            raise LocalAirflowError(f"airflow {shown} failed ({done.returncode}):\n{done.stderr[-5000:]}")
        return done.stdout

    def trouble(self) -> str:
        """Return the name of a component that has died, with the end of its log; empty if there is none."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                return f"{name} has died ({process.returncode}):\n{self._log_tail(name, 60)}"
        return ""

    def component_log(self, name: str) -> str:
        """Return the log of a component; empty if it has never run."""
        path = self._log(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def log_tails(self) -> str:
        """Return the end of each component's log."""
        return "\n".join(f"--- {name}\n{self._log_tail(name, 15)}" for name in self._started)

    def _names(self, components: Sequence[str]) -> list[str]:
        names = [self._release.aliases.get(each, each) for each in components or self.components]
        if unknown := set(names) - set(self.components):
            raise ValueError(f"Airflow {self.version} has no component {unknown}, only {self.components}")
        return list(dict.fromkeys(names))

    def _prepare(self) -> None:
        if self._prepared:
            return
        (self.home / "logs").mkdir(parents=True, exist_ok=True)
        write_configuration(
            self.home,
            self._release,
            dags_folder=self.dags_folder,
            database_url=self.database_url,
            ports=self._ports,
        )
        self.cli("db", "migrate")
        self._prepared = True

    def _installed_version(self) -> str:
        if not self.command.exists():
            raise LocalAirflowError(f"there is no {self.command}")
        # `airflow version` would take seconds.
        names = ("apache-airflow-core", "apache-airflow")
        code = f"print(next(d.version for d in distributions() if d.name in {names}))"
        python = str(self.command.with_name("python"))
        command = [python, "-c", f"from importlib.metadata import *; {code}"]
        return subprocess.check_output(command, text=True).strip()

    def _child_environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "_AIRFLOW"))}
        no_proxy = ",".join(filter(None, [kept.get("NO_PROXY"), "127.0.0.1", "localhost"]))
        path = os.pathsep.join([str(self.command.parent), kept.get("PATH", os.defpath)])
        own = {"AIRFLOW_HOME": str(self.home), "PATH": path, "NO_PROXY": no_proxy, "no_proxy": no_proxy}
        return {**kept, **own, **extra}

    def _not_ready(self) -> list[str]:
        if self._release.server not in self._processes:
            return []
        health = self.request("GET", self._release.health).json()
        return [name for name in self._processes if not self._beats(name, health)]

    def _beats(self, name: str, health: Mapping[str, Mapping[str, str | None]]) -> bool:
        key = name.replace("-", "_")
        if key not in health:
            return True
        # Its status is not enough: for a while, a process that was killed still counts as healthy.
        beat = health[key].get(f"latest_{key}_heartbeat")
        return beat is not None and datetime.fromisoformat(beat) > self._started[name]

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _log_tail(self, name: str, lines: int) -> str:
        return "\n".join(self.component_log(name).splitlines()[-lines:])


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
