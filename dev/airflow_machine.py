"""One more machine for a private Airflow: a worker, or another triggerer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from dev.local_airflow import LocalAirflow, LocalAirflowError
from dev.process_session import kill_session, spawn

_HOST_NAME = Path(__file__).parent / "host_name"


class AirflowMachine:
    """
    A machine on which one component of an Airflow runs, with a home and a host name of its own.

    It shares the keys in ``airflow.cfg`` and the folder of the task logs with the Airflow, as the machines of
    a real one do. It does not share the connections in the environment of the Airflow's processes.

    :param airflow: The Airflow, started at least once.
    :param name: The machine's host name.
    :param arguments: Arguments of the ``airflow`` command.
    :param environment: Variables to add to those of the Airflow's own processes.
    """

    def __init__(
        self, airflow: LocalAirflow, name: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._home = airflow.home / name
        self._log = self._home / "component.log"
        self._command = [str(airflow.command), *arguments]
        self._environment = {
            **{
                key: value
                for key, value in airflow.environment.items()
                if not key.startswith("AIRFLOW_CONN_")
            },
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(airflow.home / "logs"),
            # What Airflow calls to learn the name of the machine.
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "private_host_name.private_host_name",
            "PRIVATE_HOST_NAME": name,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_HOST_NAME), os.environ.get("PYTHONPATH")])),
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._home.mkdir(parents=True, exist_ok=True)
        shutil.copy(airflow.home / "airflow.cfg", self._home)

    def start(self) -> None:
        """Start the component. It works some seconds later."""
        self._process = spawn(self._command, self._environment, self._log)

    def kill(self) -> None:
        """Kill the component and all its children with ``kill -9``, as a power cut would."""
        if self._process is not None:
            kill_session(self._process)
            self._process = None

    def check(self) -> None:
        """
        Check that the component runs, unless it was killed.

        :raises LocalAirflowError: If it has ended by itself, with the end of its log.
        """
        if self._process is not None and self._process.poll() is not None:
            raise LocalAirflowError(
                f"{self.name} has ended by itself ({self._process.returncode}):\n{self.log_tail()}"
            )

    def log_tail(self, lines: int = 30) -> str:
        """
        Return the end of what the component wrote.

        :param lines: How many lines.
        """
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def _without_connections(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("AIRFLOW_CONN_")}
