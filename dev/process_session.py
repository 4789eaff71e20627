"""
Processes in a session of their own, which can be ended with all their descendants.

They end with the program that started them, however that ends: run as a program, this module is the watchdog
that kills what is left after a signal or ``kill -9``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """
    Start a process that leads a new session, and append what it writes to a file.

    :param command: The program and its arguments.
    :param environment: Its whole environment.
    :param log: The file.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    watch(process)
    return process


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """
    Kill a process that leads a session, if it still runs, and all that is left of the session.

    :param process: What :func:`spawn` returned.
    """
    _kill_family(process.pid)
    process.wait()
    unwatch(process)


def watch(process: subprocess.Popen[bytes]) -> None:
    """
    Have a process killed, with all that is left of its session, when this interpreter has died.

    :param process: One that leads a session.
    """
    _tell_watchdog("watch", process)


def unwatch(process: subprocess.Popen[bytes]) -> None:
    """
    Have a process watched no longer, since it has ended.

    :param process: What was given to :func:`watch`.
    """
    _tell_watchdog("unwatch", process)


def _tell_watchdog(order: str, process: subprocess.Popen[bytes]) -> None:
    orders = _watchdog().stdin
    assert orders is not None
    orders.write(f"{order} {process.pid}\n")
    orders.flush()


@cache
def _watchdog() -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", __file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)


def _kill_what_is_left() -> None:
    """Take orders until the program that gives them has died, and kill what it still had watched."""
    watched: set[int] = set()
    for line in sys.stdin:
        order, pid = line.split()
        if order == "watch":
            watched.add(int(pid))
        else:
            watched.discard(int(pid))
    for leader in watched:
        _kill_family(leader)


def _kill_family(leader: int) -> None:
    # Killing its process group is not enough: Airflow puts tasks and parsers in groups of their own.
    while family := _family(leader):
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


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


if __name__ == "__main__":
    _kill_what_is_left()
