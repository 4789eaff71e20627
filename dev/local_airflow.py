"""
Start a whole private Airflow, of whichever version is installed, and drive it.

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
    A private Airflow of the installed version: its own home, database, ports and processes.

    Everything listens on 127.0.0.1 only, and nobody has to log in: every visitor of the UI and of the
    REST API is an administrator. The processes end with the interpreter at the latest; one that is ended
    by a signal has to turn it into an exception for that.

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
        """Names of the components an Airflow of this version consists of."""
        return tuple(self._release.commands)

    @property
    def process_ids(self) -> dict[str, int]:
        """Ids of the components' own processes; each leads a session, to which all its children belong."""
        return {name: process.pid for name, process in self._processes.items()}

    def __enter__(self) -> Self:
        return self if self._processes else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *components: str, timeout: float = 180) -> Self:
        """
        Start components side by side, and wait until they work; those that run already stay as they are.

        While no API server runs, nobody can tell when the others are ready: then this does not wait.

        :param components: Names out of :attr:`components`, or their names in the other major version; all
            of them if none is given.
        :param timeout: Seconds to wait for them.
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
        Ask components to end, and kill what is left of them; those that do not run are left out.

        :param components: As for :meth:`start`.
        :param grace: Seconds they may take before they are killed.
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
        Kill a component and all its children at once, as a crash of its machine would.

        :param component: One that runs.
        """
        (name,) = self._names([component])
        if name not in self._processes:
            raise LocalAirflowError(f"{name} does not run")
        kill_session(self._processes.pop(name))

    def restart(self, component: str, timeout: float = 180) -> None:
        """
        Start a component anew, which may run or have been killed, and wait until it works.

        :param component: One of :attr:`components`.
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
        """Return which component has died, with the end of its log, or nothing."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                return f"{name} has died ({process.returncode}):\n{self._log_tail(name, 60)}"
        return ""

    def log_tails(self) -> str:
        """Return the end of what each component wrote."""
        return "\n".join(f"--- {name}\n{self._log_tail(name, 15)}" for name in self._started)

    def _names(self, components: Sequence[str]) -> list[str]:
        names = [self._release.aliases.get(each, each) for each in components or self.components]
        if unknown := set(names) - set(self.components):
            raise ValueError(f"Airflow {self.version} has no {unknown}, only {self.components}")
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
        if kept.pop("PYTHONDONTWRITEBYTECODE", None):
            # Every process would compile all of Airflow anew: that takes longer than all else.
            kept.setdefault("PYTHONPYCACHEPREFIX", str(Path.home() / ".cache" / "local-airflow"))
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
        # Its status would not do: for a while it still tells of a process that has been killed.
        beat = health[key].get(f"latest_{key}_heartbeat")
        return beat is not None and datetime.fromisoformat(beat) > self._started[name]

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _log_tail(self, name: str, lines: int) -> str:
        path = self._log(name)
        text = path.read_text(errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
