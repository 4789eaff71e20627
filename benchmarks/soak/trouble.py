"""Random trouble for an Airflow whose gates wait: faults of You.com, crashes, and a changing balance."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_provider_youcom.sandbox import Fault
from dev.airflow_api import LocalAirflowError

if TYPE_CHECKING:
    from airflow_provider_youcom.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow
    from dev.private_postgres import PrivatePostgres

FAULT_SECONDS = 5.0
SHARE_OF_FAULTS = 0.3
FAULTS = {
    "500": Fault(status=500, body="<html>"),
    "503, come back in 2 s": Fault(status=503, headers={"Retry-After": "2"}),
    "429, come back in 2 s": Fault(status=429, headers={"Retry-After": "2"}),
    "429, come back tomorrow": Fault(status=429, headers={"Retry-After": "86400"}, body="{}"),
    "cut before the answer": Fault(cut="before"),
    "cut inside the body": Fault(cut="inside"),
    "a byte each 0.2 s": Fault(drip=0.2),
    "4 s of silence": Fault(delay=4),
    "HTML": Fault(body="<html>It works!</html>"),
    "half a document": Fault(body='{"data": {"type": "account"'),
    "a balance of NaN": Fault(
        body='{"data": {"type": "account", "id": "a", "attributes": {"balance": NaN}}}'
    ),
    "endless": Fault(body="x" * 65536, repeat=-1),
}


class FaultyYouCom(threading.Thread):
    """
    Makes a sandbox answer with one fault after another for a share of the time.

    :param sandbox: the sandbox.
    :param chance: decides when, and which fault.
    """

    def __init__(self, sandbox: Sandbox, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.tried: Counter[str] = Counter()
        self.struck = 0
        self._sandbox = sandbox
        self._chance = chance
        self._over = threading.Event()

    def run(self) -> None:
        """Inject faults until :meth:`stop`."""
        while not self._over.is_set():
            faulty = self._chance.random() < SHARE_OF_FAULTS
            asked = self._sandbox.request_count
            if faulty:
                name = self._chance.choice(list(FAULTS))
                self.tried[name] += 1
                self._sandbox.inject(FAULTS[name], None)
            self._over.wait(FAULT_SECONDS)
            self._sandbox.heal()
            self.struck += (self._sandbox.request_count - asked) if faulty else 0

    def stop(self) -> None:
        """Return to correct answers."""
        self._over.set()
        self.join()


class Servers:
    """
    Kills components, and restarts those that have died, as a service manager would.

    :param airflow: the Airflow, running.
    :param postgres: its database.
    """

    def __init__(self, airflow: LocalAirflow, postgres: PrivatePostgres) -> None:
        self.killed: Counter[str] = Counter()
        self.died: Counter[str] = Counter()
        self._airflow = airflow
        self._postgres = postgres

    def kill(self, component: str) -> None:
        """
        Kill a component with ``kill -9``, or crash the database, and restart it.

        :param component: its name, or ``postgresql``.
        """
        self.killed[component] += 1
        if component == "postgresql":
            self._postgres.crash_and_restart()
        else:
            self._airflow.kill(component)
        self.restart_the_dead()

    def restart_the_dead(self) -> None:
        """Restart what was killed, and what died because of the trouble."""
        while trouble := self._airflow.trouble():
            component = trouble.split()[0]
            self.died[component] += 1
            self._airflow.stop(component)
        # A component that dies before all of them work is restarted by the next call.
        with suppress(LocalAirflowError):
            self._airflow.start()


class ChangingBalance:
    """
    Moves the balance up and down. The more time has passed, the higher it may go.

    :param sandbox: the sandbox.
    :param chance: decides how high.
    :param thresholds: the dollars that gates wait for.
    """

    def __init__(self, sandbox: Sandbox, chance: random.Random, thresholds: list[int]) -> None:
        self.crossings = 0
        self._sandbox = sandbox
        self._chance = chance
        self._thresholds = thresholds
        self._usd = 0

    def move(self, progress: float) -> None:
        """
        Set another balance.

        :param progress: how much of the time has passed, 0 to 1.
        """
        reachable = [usd for usd in self._thresholds if usd <= progress * 100] or [0]
        usd = 0 if self._usd else self._chance.choice(reachable)
        self.crossings += sum(
            min(usd, self._usd) < threshold <= max(usd, self._usd) for threshold in self._thresholds
        )
        self._usd = usd
        self._sandbox.set_balance(usd)


def at_random(chance: random.Random, seconds: float, times: int) -> list[float]:
    """
    Return random moments in a period, in order, spread over its middle 80 %.

    :param chance: decides when.
    :param seconds: the length of the period.
    :param times: how many moments.
    """
    slice_ = seconds * 0.8 / times
    return [seconds * 0.1 + slice_ * (turn + chance.uniform(0.1, 0.9)) for turn in range(times)]


def play(
    plan: Sequence[tuple[float, Callable[[], None]]], seconds: float, between: Callable[[], None]
) -> None:
    """
    Call each function at its moment.

    :param plan: moments in seconds, and the functions to call then.
    :param seconds: when to stop.
    :param between: called twice a second.
    """
    started = time.monotonic()
    waiting = sorted(plan, key=lambda entry: entry[0])
    while time.monotonic() - started < seconds:
        while waiting and waiting[0][0] <= time.monotonic() - started:
            waiting.pop(0)[1]()
        between()
        time.sleep(0.5)
