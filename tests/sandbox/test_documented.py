"""The code on the docs page runs as printed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_youcom.sandbox import Sandbox

pytestmark = pytest.mark.only_in_test

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
WRITTEN_URL = "http://127.0.0.1:8765"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_each_request_is_answered(sandbox: Sandbox):
    # A line that ends in a backslash goes on in the next one.
    commands = re.findall(r"^curl .*$", PAGE.replace("\\\n", ""), re.MULTILINE)
    for command in commands:
        here = shlex.split(command.replace(WRITTEN_URL, sandbox.base_url))
        done = subprocess.run(
            [*here, "--fail-with-body", "--silent"], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        assert "accounts" in done.stdout or "output" in done.stdout
    assert len(commands) == 8
    # Set to $10, topped up by $25, $1.50 spent, and a question asked for 1.2 cents.
    assert str(sandbox.balance_usd()) == "33.488"
    assert sandbox.state()["faults"] == 0


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_each_example_runs(code: str):
    exec(compile(code, "sandbox.md", "exec"), {})


def test_the_command_prints_what_the_page_shows():
    command = re.search(r"^python (-m .*)$", PAGE, re.MULTILINE)
    assert command
    program = subprocess.Popen(
        [sys.executable, *shlex.split(command[1]), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        greeting = "".join(program.stdout.readline() for _ in range(3))
    finally:
        program.terminate()
        program.wait(10)
    assert re.sub(r"http://127\.0\.0\.1:\d+", WRITTEN_URL, greeting) in PAGE


def test_each_option_is_in_the_table():
    help_text = subprocess.run(
        [sys.executable, "-P", "-m", "airflow_provider_youcom.sandbox", "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    options = set(re.findall(r"--[a-z-]+", help_text.stdout)) - {"--help"}
    assert set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE)) == options


def test_the_connection_on_the_page_reaches_the_command():
    command = re.search(r"AIRFLOW_CONN_YOUCOM_DEFAULT='([^']*)'", PAGE)
    assert command
    connection = json.loads(command[1])
    with Sandbox() as sandbox:
        ours = {**json.loads(sandbox.connection()), "host": WRITTEN_URL}
    assert connection == {name: ours[name] for name in ("conn_type", "password", "host")}
