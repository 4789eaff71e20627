"""Let a fleet of runs pay, top up the account in steps, and record how the runs ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from benchmarks.fleet.outcome import MIXED, RESERVING, Outcome, lowest_usd
from benchmarks.fleet.watch import Watch
from benchmarks.process_accounting import cpu_seconds
from dev.airflow_api import LocalAirflowError

if TYPE_CHECKING:
    from airflow_provider_youcom.ledger.ledger import Ledger
    from airflow_provider_youcom.sandbox import Sandbox
    from benchmarks.fleet.plan import Plan
    from dev.local_airflow import LocalAirflow
    from dev.private_postgres import PrivatePostgres
    from dev.task_history import TaskHistory

# Airflow needs minutes. The rest allows for a busy machine.
PATIENCE = 3600.0
LARGE = "large"


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
        after = self._cpu()
        self._idle = ((after[0] - before[0]) / seconds, (after[1] - before[1]) / seconds)

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
            runs=len(self.plan.costs_usd(dag_id)),
            refused=self.sandbox.refused_count - refused,
            dead=len(self.plan.costs_usd(dag_id)) - len(succeeded),
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
            large_opened_after=self._large_opened_after(dag_id, started),
        )

    def _large_opened_after(self, dag_id: str, started: float) -> float | None:
        opened = self.ledger.history(dag_id=dag_id, run_id=LARGE) if dag_id == MIXED else []
        return opened[0].reserved_at.timestamp() - started if opened else None

    def _start_runs(self, dag_id: str) -> None:
        runs = len(self.plan.costs_usd(dag_id))
        if dag_id == MIXED:
            self.airflow.trigger(dag_id, {"payment_usd": str(self.plan.large_payment_usd)}, LARGE)
            self._wait("the large run to wait", lambda: bool(self.ledger.line.places()))
        for _ in range(self.plan.runs):
            self.airflow.trigger(dag_id)
        self._wait("gates to wait", lambda: self.history.gates_in(dag_id, "deferred") == runs)
        self._wait("triggers to be assigned", lambda: not self.history.triggers_without_triggerer())
        # A gate may join while a poll is under way. Each one gets the result of the poll after that.
        asked = self.sandbox.request_count
        self._wait("two more polls", lambda: self.sandbox.request_count >= asked + 2)

    def _top_up_until_all_is_done(self, dag_id: str) -> None:
        started = time.monotonic()
        for step in range(self.plan.top_ups(dag_id)):
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
        usd = self.history.payments(dag_id, *run_states) * self.plan.payment_usd
        if dag_id == MIXED and (not run_states or self.airflow.run_state(dag_id, LARGE) in run_states):
            # Each of its payments is larger by this.
            more_usd = self.plan.large_payment_usd - self.plan.payment_usd
            usd += self.history.payments_of_run(dag_id, LARGE) * more_usd
        return float(usd)

    def _cpu(self) -> tuple[float, float]:
        return cpu_seconds(self.airflow.process_ids.values()), cpu_seconds([self.postgres.pid])
