"""Processes in a session of their own, which can be ended with all their descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """
    Start a process that leads a new session, and append what it writes to a file.

    :param command: The program and its arguments.
    :param environment: Its whole environment.
    :param log: The file.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """
    Kill a process that leads a session, if it still runs, and all that is left of the session.

    :param process: What :func:`spawn` returned.
    """
    # Killing its process group is not enough: Airflow puts tasks and parsers in groups of their own.
    while family := _family(process.pid):
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    process.wait()


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
