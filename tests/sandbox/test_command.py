"""The sandbox as a command: what it refuses, and how it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from airflow_provider_youcom.sandbox import BALANCE_PATH

pytestmark = pytest.mark.only_in_test

COMMAND = [sys.executable, "-P", "-m", "airflow_provider_youcom.sandbox"]
# A process in a namespace of its own is the first one there, as in a container.
AS_THE_FIRST = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--"]


def can_be_the_first() -> bool:
    return (
        shutil.which("unshare") is not None
        and not subprocess.run([*AS_THE_FIRST, "true"], capture_output=True).returncode
    )


@contextmanager
def running(*options: str, before: tuple[str, ...] = ()) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the URL of a sandbox."""
    program = subprocess.Popen(
        [*before, *COMMAND, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        greeting = program.stdout.readline()
        assert " at http" in greeting, program.communicate(timeout=60)
        yield program, greeting.split(" at ")[1].split(",")[0]
    finally:
        program.kill()
        program.communicate(timeout=60)


def balance_cents(base_url: str, key: str) -> requests.Response:
    return requests.get(base_url + BALANCE_PATH, headers={"X-API-Key": key}, timeout=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_a_word(number: signal.Signals):
    with running() as (program, base_url):
        program.send_signal(number)
        _, errors = program.communicate(timeout=60)
        assert (program.returncode, errors) == (0, "")
        with pytest.raises(requests.ConnectionError):
            requests.get(base_url, timeout=60)


def test_sigterm_ends_it_as_the_first_process_of_a_container():
    if not can_be_the_first():
        pytest.skip("this machine does not let a test make a namespace of processes")
    with running(before=tuple(AS_THE_FIRST)) as (program, base_url):
        (first,) = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        status = Path(f"/proc/{first}/status").read_text()
        assert re.search(r"^NSpid:.*\t1$", status, re.MULTILINE)
        os.kill(int(first), signal.SIGTERM)
        _, errors = program.communicate(timeout=60)
        assert (program.returncode, errors) == (0, "")
        with pytest.raises(requests.ConnectionError):
            requests.get(base_url, timeout=60)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_it_ends_without_a_traceback_if_nobody_reads_its_greeting(
    unbuffered: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "--port", "0"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_it_goes_on_for_a_reader_that_goes_away_after_one_line(
    unbuffered: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with running() as (program, base_url):
        assert program.stdout is not None
        program.stdout.close()
        assert requests.get(f"{base_url}/sandbox", timeout=60).status_code == 200
        assert program.poll() is None


def test_each_option_does_what_it_says():
    options = ["--host", "localhost", "--api-key", "a", "--balance-usd", "7", "--spending-cap-usd", "0"]
    accounts = ["--account", "team==5", "--account", "b=3"]
    with running(*options, *accounts, "--post-charges-after", "5.5") as (_, base_url):
        assert base_url.startswith("http://127.0.0.1:")
        assert balance_cents(base_url, "a").json()["code"] == "spend_cap_exceeded"
        assert balance_cents(base_url, "team=").json()["data"]["attributes"]["balance"] == 500
        assert balance_cents(base_url, "b").json()["data"]["attributes"]["balance"] == 300
        balances = [each["balance"] for each in requests.get(f"{base_url}/sandbox").json()["accounts"]]
        assert balances == ["$7.00", "$5.00", "$3.00"]


def test_a_port_in_use_is_refused_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as other:
        refused(
            ["--port", str(other.getsockname()[1])], r"in use): use another host or port; port 0 takes a "
        )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--host", "0.0.0.0"], "would let others in"),
        (["--host", "example.com"], "host is not valid: expected a loopback address, 127.0.0.1 or ::1."),
        (["--port", "65536"], "port is not valid: expected a number from 0 to 65535."),
        (["--port", "-1"], "port is not valid"),
        (["--api-key", ""], "The key of an account is not valid: expected a text of printable ASCII"),
        (["--api-key", "two words"], "The key of an account is not valid"),
        (["--balance-usd", "nan"], "balance_usd='nan' is not an amount in dollars"),
        (["--balance-usd", "1e13"], "balance_usd is not valid: expected at most 1000000000000."),
        (["--spending-cap-usd", "much"], "usd='much' is not an amount in dollars"),
        (["--post-charges-after", "nan"], "post_charges_after is not valid: expected a number of seconds"),
        (["--post-charges-after", "-1"], "post_charges_after is not valid"),
        (["--account", "team"], "argument --account: expected KEY=USD, such as team=50"),
        (["--account", "=5"], "The key of an account is not valid"),
        (["--account", "team="], "balance_usd='' is not an amount in dollars"),
        (["--account", "team=5", "--account", "team=6"], "argument --account: the same key is given twice"),
        (["--account", "sandbox-key=5"], "accounts is not valid: expected each key once"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_used_is_refused_in_one_sentence(options: list[str], reason: str):
    refused(options, reason)


def refused(options: list[str], reason: str) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert reason in done.stderr.splitlines()[-1], done.stderr
    assert done.stderr.splitlines()[-1].startswith("python -m airflow_provider_youcom.sandbox: error: ")
    assert "Traceback" not in done.stderr
