"""A private Redis: its own port on 127.0.0.1, nothing on disk, gone when it is stopped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.process_session import kill_session, spawn


class RedisMissingError(RuntimeError):
    """There is no Redis server on this machine, and none can be installed."""


class PrivateRedis:
    """One Redis server for as long as a ``with`` block lasts."""

    def __init__(self) -> None:
        self._binary = find_redis_server()
        self._folder = tempfile.TemporaryDirectory(prefix="private-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def __enter__(self) -> Self:
        command = [self._binary, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self._folder.name]
        log = Path(self._folder.name) / "redis.log"
        self._process = spawn([*command, "--save", "", "--appendonly", "no"], os.environ, log)
        try:
            self._wait_until_it_answers(log)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, database: int) -> str:
        """
        Return the URL of one of the server's databases.

        :param database: Its number, 0 to 15.
        """
        return f"redis://127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop the server; it has nothing to save."""
        if self._process is not None:
            kill_session(self._process)
            self._process = None
        self._folder.cleanup()

    def _wait_until_it_answers(self, log: Path, timeout: float = 30) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def find_redis_server() -> str:
    """
    Return the path of Redis's server, which is installed with apt where that is possible.

    :raises RedisMissingError: If there is none.
    """
    if not shutil.which("redis-server") and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", "redis-server"], check=True
        )
    found = shutil.which("redis-server")
    if found is None:
        raise RedisMissingError(
            "There is no Redis server here: install one (apt-get install redis-server, or "
            "brew install redis), so that redis-server is on the PATH."
        )
    return found
