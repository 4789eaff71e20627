"""A process that forks while a sandbox runs, as multiprocessing and some pytest plugins do."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.only_in_test

PREPARATION = """
import os
import socket
import sys

import requests

from airflow_provider_youcom.sandbox import Sandbox


def answers(url):
    try:
        with requests.get(url, timeout=60) as answer:
            return answer.status_code == 200
    except requests.ConnectionError:
        return False


def fork(child):
    pid = os.fork()
    if pid:
        return pid
    try:
        child()
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)


def ends_well(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


sandbox = Sandbox()
sandbox.start()
url = f"{sandbox.base_url}/sandbox"
session = requests.Session()
assert session.get(url, timeout=60).status_code == 200
"""
A_FORK_LEAVES_THE_BLOCK = """
def leave_a_block():
    sandbox.__exit__(None, None, None)
    sandbox.stop()

assert ends_well(fork(leave_a_block))
assert session.get(url, timeout=60).status_code == 200
assert sandbox.connection_count == 1
assert answers(url)
"""
A_FORK_GOES_ON = """
reader, writer = os.pipe()

def wait_for_the_end():
    os.close(writer)
    os.read(reader, 1)

pid = fork(wait_for_the_end)
sandbox.stop()
assert not answers(url)
sandbox.start()
assert url.startswith(sandbox.base_url)
assert answers(url)
sandbox.stop()
assert not answers(url)
os.close(writer)
assert ends_well(pid)
"""
A_FORK_CHANGES_ITS_COPY = """
def change():
    for attempt in (
        sandbox.state, sandbox.balance_usd, sandbox.spent_usd, sandbox.heal,
        lambda: sandbox.top_up(1), lambda: sandbox.set_balance(1), lambda: sandbox.spend(1),
        lambda: sandbox.set_spending_cap(1),
    ):
        try:
            attempt()
        except RuntimeError as error:
            assert "was forked from the one that runs the sandbox" in str(error)
        else:
            raise AssertionError(attempt)
    assert requests.post(f"{url}/top-up", json={"usd": 5}, timeout=60).status_code == 200

with sandbox._lock:
    # A thread may hold the lock while another one forks.
    pid = fork(change)
assert ends_well(pid)
assert sandbox.balance_usd() == 105
"""
A_FORK_RUNS_ITS_OWN = """
sandbox.stop()
never_started = Sandbox()

def run():
    for own in (sandbox, never_started):
        with own:
            assert answers(f"{own.base_url}/sandbox")
            own.top_up(5)
            assert own.balance_usd() == 105

assert ends_well(fork(run))
assert sandbox.balance_usd() == 100
"""


@pytest.mark.parametrize(
    "code",
    [A_FORK_LEAVES_THE_BLOCK, A_FORK_GOES_ON, A_FORK_CHANGES_ITS_COPY, A_FORK_RUNS_ITS_OWN],
    ids=["leaves the block", "goes on", "changes its copy", "runs its own"],
)
def test_a_sandbox_runs_in_the_process_that_started_it_and_stops_there(code: str):
    # In a process of its own, since a fork of pytest has all of its threads and plugins.
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PREPARATION + code],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
