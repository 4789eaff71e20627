"""A call off the event loop does not outlive the process that made it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading

import pytest

from airflow_provider_youcom._off_the_loop import run_off_the_loop
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.sandbox import Fault, Sandbox

# Seconds. A process that waited for its thread would take longer than the test allows.
_LONGEST_CALL = 600

CANCEL_A_CHECK = """
import asyncio, sys
from airflow_provider_youcom.triggers.balance import BalanceTrigger

async def cancel_while_you_com_is_silent():
    waiting = asyncio.create_task(anext(BalanceTrigger(min_usd="25").run()))
    await asyncio.to_thread(sys.stdin.readline)
    waiting.cancel()
    await asyncio.wait([waiting])

asyncio.run(cancel_while_you_com_is_silent())
"""

# Airflow 2.11 can no longer read a connection at exit, so the hook reads it earlier.
CHECK_AT_EXIT = """
import atexit
from airflow_provider_youcom.hooks.youcom import YouComHook

hook = YouComHook()
hook.get_conn()
atexit.register(lambda: print(f"holds {hook.get_balance().balance_usd}"))
"""


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
def test_a_process_ends_at_once_although_you_com_has_not_answered(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    connection = {**json.loads(sandbox.connection()), "extra": {"timeout": _LONGEST_CALL}}
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps(connection))
    sandbox.inject(Fault(drip=5), times=None)
    with subprocess.Popen(
        [sys.executable, "-c", CANCEL_A_CHECK],
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            while not sandbox.request_count and process.poll() is None:
                threading.Event().wait(0.05)
            process.communicate("cancel\n", timeout=_LONGEST_CALL / 4)
        finally:
            process.kill()
    assert sandbox.request_count == 1
    assert process.returncode == 0


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
def test_an_exit_handler_may_ask_for_the_balance(sandbox: Sandbox):
    done = subprocess.run(
        [sys.executable, "-c", CHECK_AT_EXIT],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "holds 100" in done.stdout, done.stderr


def test_a_call_returns_its_result_or_raises_its_error():
    assert asyncio.run(run_off_the_loop(lambda: 7, 60)) == 7
    with pytest.raises(YouComError, match="No"):
        asyncio.run(run_off_the_loop(fail, 60))


def test_a_call_that_takes_too_long_is_abandoned():
    release = threading.Event()
    with pytest.raises(TimeoutError):
        asyncio.run(run_off_the_loop(release.wait, 0.01))
    release.set()


def fail() -> None:
    raise YouComError("No.")
