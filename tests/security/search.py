"""Search everything that an Airflow writes for the canary."""

from __future__ import annotations

import configparser
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cryptography.fernet import Fernet

from tests.security.canary import sightings

_DATABASE = "airflow.db"
_TRIGGER_ARGUMENTS = ("trigger.kwargs", "trigger.encrypted_kwargs")


class Search:
    """
    Searches one AIRFLOW_HOME, place by place.

    :param home: the folder, with Airflow's SQLite database in it.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self.searched: dict[str, int] = {}
        self.found: list[str] = []

    def files(self) -> None:
        """Search every file: logs, what the components printed, the configuration, the raw database."""
        for path in self._home.rglob("*"):
            if path.is_file():
                self._search("bytes of files", str(path.relative_to(self._home)), path.read_bytes())

    def database(self) -> None:
        """Search every value of every table."""
        for place, value in self._values():
            self._search("values of the database", place, value)

    def triggers(self) -> int:
        """Search the arguments of the waiting triggers, decrypted, and return how many triggers there are."""
        configuration = configparser.ConfigParser()
        configuration.read(self._home / "airflow.cfg")
        fernet = Fernet(configuration["core"]["fernet_key"].replace("%%", "%"))
        stored = [value for place, value in self._values() if place in _TRIGGER_ARGUMENTS]
        for value in stored:
            # Airflow 3 does not encrypt the arguments that a worker hands over.
            self._search("triggers", "trigger", value if value.startswith(b"{") else fernet.decrypt(value))
        return len(stored)

    def processes(self) -> None:
        """Search the arguments of every process of this machine."""
        for arguments in subprocess.check_output(["ps", "-A", "-ww", "-o", "args="]).splitlines():
            self._search("processes", arguments.decode(errors="replace")[:60], arguments)

    def summary(self) -> str:
        """Return a table of what was searched."""
        rows = [*self.searched.items(), ("keys found", len(self.found))]
        return "\n".join(["The key is invisible", *(f"{what:<38} {count}" for what, count in rows)])

    def _search(self, what: str, place: str, data: bytes) -> None:
        self.searched[what] = self.searched.get(what, 0) + (len(data) if what.startswith("bytes") else 1)
        if sightings(data):
            self.found.append(place)

    def _values(self) -> Iterator[tuple[str, bytes]]:
        with closing(sqlite3.connect(self._home / _DATABASE, timeout=60)) as database:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in names:
                rows = database.execute(f'SELECT * FROM "{table}"')
                columns = [column[0] for column in rows.description]
                for row in rows:
                    for column, value in zip(columns, row, strict=True):
                        if isinstance(value, str | bytes):
                            yield f"{table}.{column}", value.encode() if isinstance(value, str) else value
