"""What the tests of the commands share: what is reserved, and a terminal to type in."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder

Command = Callable[..., str]
# With -P, Python does not take the sources in the working directory for the installed provider.
YOUCOM = [sys.executable, "-P", "-m", "airflow_provider_youcom"]


def reserve_for(
    run: str, usd: str, dag_id: str = "pipeline", task_id: str = "gate", settle_seconds: float = 0
) -> str:
    """Reserve credits, and return the reservation's id."""
    attempt = Attempt(Holder("production", dag_id, run, task_id), f"{dag_id} {run} {task_id}", run)
    decision = YouComHook().ledger.reserve(
        Claim(attempt, Decimal(usd)), YouComHook().get_balance, settle_seconds
    )
    assert decision.reservation is not None
    return decision.reservation.id


class Terminal:
    """A terminal of 80 columns in which one command runs."""

    def __init__(self, controlling_end: int) -> None:
        self._controlling_end = controlling_end
        self.shown = ""

    def type(self, keys: str) -> None:
        """Type keys, such as ``"\\x04"`` for Ctrl-D."""
        os.write(self._controlling_end, keys.encode())

    def read_until(self, text: str) -> None:
        """Wait until the command has printed a text."""
        while text not in self.shown:
            assert self._read(), f"The command ended before it printed {text!r}:\n{self.shown}"

    def read_to_the_end(self) -> str:
        """Wait until the command has ended, and return all that it printed."""
        while self._read():
            pass
        return self.shown

    def _read(self) -> bool:
        try:
            read = os.read(self._controlling_end, 65536).decode()
        except OSError:
            # Linux reports the end of a terminal in this way.
            return False
        self.shown += read.replace("\r\n", "\n")
        return bool(read)


@contextmanager
def in_a_terminal(*arguments: str) -> Iterator[Terminal]:
    """Run one command in a terminal of its own."""
    controlling_end, command_end = pty.openpty()
    process = subprocess.Popen(
        [*YOUCOM, *arguments],
        stdin=command_end,
        stdout=command_end,
        stderr=command_end,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
    )
    os.close(command_end)
    try:
        yield Terminal(controlling_end)
    finally:
        os.close(controlling_end)
        process.terminate()
        process.wait(timeout=60)
