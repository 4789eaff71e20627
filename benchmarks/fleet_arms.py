"""Let a fleet of runs pay, top up the account in steps, and record how the runs ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComError
from benchmarks.process_accounting import cpu_seconds
from dev.airflow_api import LocalAirflowError

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_youcom.ledger.ledger import Ledger
    from airflow_provider_youcom.sandbox import Sandbox
    from benchmarks.fleet_plan import Plan
    from benchmarks.postgres import PrivatePostgres
    from benchmarks.task_history import TaskHistory
    from dev.local_airflow import LocalAirflow

ARMS = {
    "fleet_checking": "gates that check",
    "fleet_pool": "gates that check, a pool of one slot, and a second check",
    "fleet_reserving": "gates that reserve",
}
RESERVING = "fleet_reserving"
# Airflow needs minutes. The rest allows for a busy machine.
PATIENCE = 3600.0


@dataclass(frozen=True)
class Outcome:
    """
    How one arm's runs ended. Times are seconds after the first top-up.

    CPU seconds are those of all Airflow processes, less what an idle Airflow uses in the same time.
    """

    arm: str
    runs: int
    refused: int
    """Payments that were refused with 402."""
    dead: int
    """Runs that failed, or did not end."""
    paid_usd: float
    lost_usd: float
    """What runs had paid that then failed."""
    lowest_usd: float
    """The least that the account held after the first payment."""
    seconds: float
    """Until the last run had ended."""
    run_seconds: float
    """How long the fastest run took that succeeded, from the end of its gate to its own end."""
    api_calls: int
    cpu: float
    database_cpu: float
    succeeded_at: list[float]
    died_at: list[float]
    balances: list[tuple[float, float]] = field(repr=False)
    """When the account's balance changed, and to what."""
    reserved_at_the_end: int = 0
    checks_missed: int = 0
    """The most checks in a row that opened no gate although one could have been paid."""


class Fleet:
    """
    A running Airflow with the DAGs of all arms, and what is needed to measure them.

    :param airflow: the Airflow, running.
    :param postgres: its database.
    :param sandbox: the You.com that the runs pay.
    :param ledger: the ledger of the gates that reserve.
    :param history: the changes of state that the database records.
    :param plan: what the runs pay, and how the account is topped up.
    """

    def __init__(
        self,
        airflow: LocalAirflow,
        postgres: PrivatePostgres,
        sandbox: Sandbox,
        ledger: Ledger,
        history: TaskHistory,
        plan: Plan,
    ) -> None:
        self.airflow = airflow
        self.postgres = postgres
        self.sandbox = sandbox
        self.ledger = ledger
        self.history = history
        self.plan = plan
        self._idle = (0.0, 0.0)

    def measure_idle(self, seconds: float = 30) -> None:
        """
        Measure the CPU time that Airflow uses when it has nothing to do.

        :param seconds: for how long.
        """
        before = self._cpu()
        time.sleep(seconds)
        self._idle = tuple((now - then) / seconds for now, then in zip(self._cpu(), before, strict=True))

    def measure(self, dag_id: str) -> Outcome:
        """
        Let all runs of one arm wait, top up the account until all are paid for, and return the outcome.

        :param dag_id: the arm's DAG.
        """
        self.sandbox.set_balance(0)
        self._start_runs(dag_id)
        refused, calls, cpu = self.sandbox.refused_count, self.sandbox.request_count, self._cpu()
        with Watch(self.sandbox, self.ledger, self.plan) as watch:
            started = time.time()
            self._top_up_until_all_is_done(dag_id)
            seconds = time.time() - started
        used = [
            now - then - idle * seconds for now, then, idle in zip(self._cpu(), cpu, self._idle, strict=True)
        ]
        ends = self.history.run_endings(dag_id)
        succeeded = [at - started for state, at in ends if state == "success"]
        died = [at - started for state, at in ends if state == "failed"]
        balances = [(at - started, usd) for at, usd in watch.balances]
        return Outcome(
            arm=dag_id,
            runs=self.plan.runs,
            refused=self.sandbox.refused_count - refused,
            dead=self.plan.runs - len(succeeded),
            paid_usd=self._paid_usd(dag_id),
            lost_usd=self._paid_usd(dag_id, "failed"),
            lowest_usd=lowest_usd(balances),
            seconds=max([*succeeded, *died], default=seconds),
            run_seconds=min(self.history.seconds_behind_gate(dag_id), default=0.0),
            api_calls=self.sandbox.request_count - calls,
            cpu=used[0],
            database_cpu=used[1],
            succeeded_at=succeeded,
            died_at=died,
            balances=balances,
            reserved_at_the_end=len(self.ledger.standing()),
            checks_missed=watch.checks_missed if dag_id == RESERVING else 0,
        )

    def _start_runs(self, dag_id: str) -> None:
        for _ in range(self.plan.runs):
            self.airflow.trigger(dag_id)
        self._wait("gates to wait", lambda: self.history.gates_in(dag_id, "deferred") == self.plan.runs)
        self._wait("triggers to be assigned", lambda: not self.history.triggers_without_triggerer())
        # A gate may join while a poll is under way. Each one gets the result of the poll after that.
        asked = self.sandbox.request_count
        self._wait("two more polls", lambda: self.sandbox.request_count >= asked + 2)

    def _top_up_until_all_is_done(self, dag_id: str) -> None:
        started = time.monotonic()
        for step in range(self.plan.top_ups):
            self._sleep_until(started + step * self.plan.top_up_seconds)
            if not self.history.left_to_do(dag_id):
                return
            self.sandbox.top_up(self.plan.top_up_usd)
        # Runs that have not ended by then are reported as dead.
        with suppress(LocalAirflowError):
            self._wait("runs to end", lambda: not self.history.left_to_do(dag_id))

    def _sleep_until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))

    def _wait(self, what: str, reached: Callable[[], bool]) -> None:
        self.airflow.wait_until(what, reached, bool, PATIENCE)

    def _paid_usd(self, dag_id: str, *run_states: str) -> float:
        return float(self.history.payments(dag_id, *run_states) * self.plan.payment_usd)

    def _cpu(self) -> tuple[float, float]:
        return cpu_seconds(self.airflow.process_ids.values()), cpu_seconds([self.postgres.pid])


class Watch(threading.Thread):
    """
    Watches the account and the ledger inside a ``with`` block.

    :param sandbox: the You.com that the runs pay.
    :param ledger: the ledger of the gates that reserve.
    :param plan: what the runs pay.
    """

    def __init__(self, sandbox: Sandbox, ledger: Ledger, plan: Plan) -> None:
        super().__init__(daemon=True)
        self.balances: list[tuple[float, float]] = []
        self.checks_missed = 0
        self._sandbox = sandbox
        self._ledger = ledger
        self._plan = plan
        self._over = threading.Event()
        self._payable_since: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Read the balance fifty times a second, and the ledger every second."""
        readings = 0
        while not self._over.wait(0.02):
            usd = float(self._sandbox.balance_usd())
            if not self.balances or self.balances[-1][1] != usd:
                self.balances.append((time.time(), usd))
            readings += 1
            if readings % 50 == 0:
                self._read_ledger()

    def _read_ledger(self) -> None:
        asked = self._sandbox.request_count
        with suppress(YouComError):
            if not self._one_could_be_paid():
                self._payable_since = None
                return
            if self._payable_since is None:
                self._payable_since = asked
            # The first of these checks may have been under way when the money came.
            self.checks_missed = max(self.checks_missed, asked - self._payable_since - 1)

    def _one_could_be_paid(self) -> bool:
        note = self._ledger.note()
        account = self._sandbox.accounts[self._sandbox.api_key]
        cents = self._sandbox.posted_balance_cents(account)
        balance = AccountBalance(account.account_id, cents, datetime.now(UTC))
        waiting = self._plan.runs - len(self._ledger.history(limit=self._plan.runs))
        return waiting > 0 and note.available(balance).available_usd >= self._plan.run_usd


def lowest_usd(balances: list[tuple[float, float]]) -> float:
    """
    Return the lowest balance of an account after the first charge.

    :param balances: each change of the balance: when, and to what.
    """
    changes = [usd for _, usd in balances]
    charged = [turn for turn, (before, after) in enumerate(pairwise(changes), 1) if after < before]
    return min(changes[charged[0] :]) if charged else 0.0
