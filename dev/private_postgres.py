"""A private PostgreSQL server with a folder and a port on 127.0.0.1 of its own, deleted when it stops."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg2  # type: ignore[import-untyped]

from dev.process_session import unwatch, watch

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "300",
    # The data need not survive a power cut, and a slow disk must not distort what is measured.
    "fsync": "off",
    "log_min_messages": "error",
}


class PostgresMissingError(RuntimeError):
    """There is no PostgreSQL server on this machine, and none can be installed."""


class PrivatePostgres:
    """
    One PostgreSQL server with one empty database, for as long as a ``with`` block lasts.

    initdb refuses to run as root. For root, the server runs as the user ``postgres`` or ``nobody``.
    """

    def __init__(self) -> None:
        self._binaries = find_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="private-postgres-"))
        self._owner = _unprivileged_user()
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def __enter__(self) -> PrivatePostgres:
        if self._owner:
            os.chown(self._folder, self._owner.pw_uid, self._owner.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "airflow", "-A", "trust", "-E", "UTF8", "--no-sync")
        try:
            self.start()
            self.create_database("airflow")
        except BaseException:
            self._clear_away()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear_away()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database ``airflow``."""
        return self.url_of("airflow")

    def url_of(self, database: str) -> str:
        """
        Return the SQLAlchemy URL of a database.

        :param database: the database's name.
        """
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}/{database}"

    def airflow_connection(self, database: str) -> str:
        """
        Return the JSON for an ``AIRFLOW_CONN_…`` variable.

        :param database: the database's name.
        """
        login = {"conn_type": "postgres", "host": "127.0.0.1", "login": "airflow"}
        return json.dumps({**login, "port": self.port, "schema": database})

    def create_database(self, name: str) -> None:
        """
        Create one more empty database.

        :param name: its name.
        """
        with closing(self.connect("postgres")) as connection:
            connection.cursor().execute(f"CREATE DATABASE {name}")

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def version(self) -> str:
        """The server's version."""
        return self._run("postgres", "--version").split()[2]

    def connect(self, database: str = "airflow") -> Any:
        """
        Open a connection in autocommit mode.

        :param database: the database's name.
        """
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="airflow", dbname=database)
        connection.autocommit = True
        return connection

    def start(self, timeout: float = 60) -> None:
        """
        Start the server, and wait until it answers.

        :param timeout: seconds to wait.
        """
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": str(self._folder)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._as_owner(),
            )
        watch(self._process)
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg2.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """
        Stop the server, and wait until it has ended.

        :param how: SIGINT closes every connection and shuts down; SIGQUIT crashes the server.
        """
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            unwatch(self._process)
            self._process = None

    def crash_and_restart(self) -> None:
        """Crash the server, and start it again."""
        self.stop(signal.SIGQUIT)
        self.start()

    def _clear_away(self) -> None:
        # Writing the data of many tests to a slow disk takes a minute, only for it to be deleted.
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, binary: str, *arguments: str) -> str:
        command = [str(self._binaries / binary), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, **self._as_owner())
        if done.returncode:
            raise RuntimeError(f"{binary} failed ({done.returncode}): {done.stderr}")
        return str(done.stdout)

    def _as_owner(self) -> dict[str, Any]:
        identity = (
            {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}
            if self._owner
            else {}
        )
        return {"cwd": self._folder, **identity}


def find_binaries() -> Path:
    """
    Return the folder of PostgreSQL's server programs, which are installed with apt where that is possible.

    :raises PostgresMissingError: if there is none.
    """
    found = installed_binaries()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", "postgresql"], check=True
        )
        found = installed_binaries()
    if found is None:
        raise PostgresMissingError(
            "There is no PostgreSQL server here: install one (apt-get install postgresql, or "
            "brew install postgresql), so that initdb is on the PATH or in /usr/lib/postgresql/*/bin."
        )
    return found


def installed_binaries() -> Path | None:
    """Return the folder of PostgreSQL's server programs, or None if this machine has none."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return versions[-1].parent if versions else None


def _unprivileged_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]
