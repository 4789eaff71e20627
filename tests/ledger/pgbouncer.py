"""A private PgBouncer in transaction mode, which lends each transaction one of its few connections."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dev.private_postgres import PrivatePostgres

CONFIGURATION = """
[databases]
ledger = host=127.0.0.1 port={server} dbname={database} user=airflow
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 4
server_round_robin = 1
max_client_conn = 200
logfile = {folder}/pgbouncer.log
"""


def find_pgbouncer() -> str | None:
    """Return the program, or None; Debian's is in a folder that is not on everybody's path."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def pgbouncer(server: PrivatePostgres, database: str) -> Iterator[int]:
    """Run it in front of a database for the length of a ``with`` block, and return its port."""
    program = find_pgbouncer()
    assert program
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    # Not pytest's folder, which the owner of the server may not enter.
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        values = {"server": server.port, "database": database, "port": port, "folder": folder}
        (folder / "pgbouncer.ini").write_text(CONFIGURATION.format(**values))
        (folder / "users.txt").write_text('"airflow" ""')
        if owner := server._owner:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        process = subprocess.Popen(
            [program, "-q", folder / "pgbouncer.ini"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **server._as_owner(),
        )
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.05)
