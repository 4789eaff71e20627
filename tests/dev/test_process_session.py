"""What a program has started ends with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.only_in_test

# Starts a process in another session, which starts one in a session of its own, as Airflow does for a task.
PROGRAM = """
import os, sys, time
from pathlib import Path
from dev.process_session import spawn

child = "; ".join([
    "import subprocess, time",
    "subprocess.Popen(['sleep', '1000'], start_new_session=True)",
    "time.sleep(1000)",
])
process = spawn([sys.executable, "-c", child], os.environ, Path(sys.argv[1]))
print(process.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_a_program_that_is_ended_leaves_nothing_behind(how: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "log")]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as program:
        assert program.stdout is not None
        leader = int(program.stdout.readline())
        while not (sleeper := children(leader)):
            time.sleep(0.05)
        program.send_signal(how)
    while any(map(runs, [leader, *sleeper])):
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(child) for child in found.split()]


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state) and not state.startswith("Z")
