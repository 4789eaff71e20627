"""Let a number of gates wait, top up the account, and record what that cost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from airflow_provider_youcom.ledger.rule import EndReason
from benchmarks.process_accounting import cpu_seconds, memory_kb
from benchmarks.waiting.call_rate import calls_per_minute, calls_to_end_of_round
from benchmarks.waiting.cost import DEFERRED_MODES, Cost
from dev.airflow_api import LocalAirflowError

if TYPE_CHECKING:
    from airflow_provider_youcom.ledger.ledger import Ledger
    from airflow_provider_youcom.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow
    from dev.private_postgres import PrivatePostgres
    from dev.task_history import TaskHistory

EMPTY_USD = "3.20"
# What a gate needs. The top-up is enough for all gates to reserve it.
GATE_USD = 25
DATABASE = "database"
# Airflow needs seconds. The rest allows for a busy machine.
PATIENCE = 900.0


@dataclass(frozen=True)
class _Meter:
    cpu: dict[str, float]
    """CPU seconds so far, of each component of Airflow and of its database."""
    at: float


class Stage:
    """
    A running Airflow, and what is needed to measure it.

    :param airflow: the Airflow, running, with the DAGs ``gate_a`` to ``gate_e``.
    :param postgres: its database.
    :param sandbox: the You.com that the gates ask.
    :param ledger: the ledger of the gates that reserve.
    :param history: the changes of state that the database records.
    :param minute: the minimum seconds to measure the wait for. The figures are scaled to 60.
    :param intervals: seconds between two checks of a gate, by mode.
    """

    def __init__(
        self,
        airflow: LocalAirflow,
        postgres: PrivatePostgres,
        sandbox: Sandbox,
        ledger: Ledger,
        history: TaskHistory,
        minute: float,
        intervals: Mapping[str, float],
    ) -> None:
        self.airflow = airflow
        self.postgres = postgres
        self.sandbox = sandbox
        self.ledger = ledger
        self.history = history
        self.minute = minute
        self.intervals = intervals
        self._idle: dict[str, float] = {}

    def measure_idle(self) -> None:
        """Measure the CPU time that Airflow uses when it has nothing to do."""
        before = self._meter()
        time.sleep(self.minute)
        after = self._meter()
        seconds = after.at - before.at
        self._idle = {name: (after.cpu[name] - before.cpu[name]) / seconds for name in after.cpu}

    @property
    def idle_cpu_per_second(self) -> float:
        """CPU seconds that Airflow, without its database, uses in a second when it has nothing to do."""
        return sum(self._idle[name] for name in self.airflow.process_ids)

    def measure(self, mode: str, gates: int) -> Cost:
        """
        Let gates wait for a minute, open them, and return what that cost.

        :param mode: the mode, a to e.
        :param gates: how many gates.
        """
        dag_id = f"gate_{mode}"
        if mode in DEFERRED_MODES:
            # The triggerer does not free the memory that earlier gates used.
            self.airflow.restart("triggerer")
        self.sandbox.set_balance(EMPTY_USD)
        known = len(self.history.endings(dag_id))
        workers_before = self.history.worker_starts(dag_id)
        self._create_runs(dag_id, gates)
        triggerer_idle_kb = self._triggerer_kb()
        with _watch_requests(self.sandbox) as calls:
            start = self._meter()
            self._pause(dag_id, paused=False)
            self._wait_until_all_wait(dag_id, mode, known, gates)
            waiting, first_call = self._meter(), len(calls) - 1
            time.sleep(self.minute)
            self._wait_for_end_of_round(calls, first_call + 1, _calls_per_round(mode, gates))
            waited, last_call = self._meter(), len(calls)
            triggerer_waiting_kb = self._triggerer_kb()
            load = os.getloadavg()[0]
            # A check has just been made, or is about to be: top up half-way between two checks.
            time.sleep(self.intervals[mode] / 2)
            self.sandbox.set_balance(gates * GATE_USD)
            topped_up = time.time()
            self._let_them_end(dag_id, known + gates)
            end = self._meter()
        # There is no teardown, which would cost a worker of its own.
        self.ledger.end([each.id for each in self.ledger.standing()], EndReason.RELEASED, by="benchmark")
        done = self.history.times_of(dag_id, "success")[known:]
        sample = min(at for at in calls if at >= topped_up)
        by_component = {name: seconds / gates for name, seconds in self._net_cpu(start, end).items()}
        database = by_component.pop(DATABASE)
        measured = sum(by_component.values())
        per_second = self._airflows_net_cpu(waiting, waited) / (waited.at - waiting.at) / gates
        mean_wait = topped_up - fmean(self.history.beginnings(dag_id)[known:])
        return Cost(
            mode=mode,
            gates=gates,
            api_calls_per_minute=calls_per_minute(calls[first_call:last_call], _calls_per_round(mode, gates)),
            cpu_per_gate_minute=per_second * 60,
            cpu_per_gate_life=measured - per_second * (mean_wait - 60),
            cpu_per_gate_measured=measured,
            cpu_per_gate_by_component=by_component,
            database_cpu_per_gate=database,
            mean_wait=mean_wait,
            triggerer_idle_kb=triggerer_idle_kb,
            triggerer_waiting_kb=triggerer_waiting_kb,
            worker_starts=self.history.worker_starts(dag_id) - workers_before,
            seconds_to_all_waiting=waiting.at - start.at,
            sample_after_top_up=sample - topped_up,
            first_done_after_top_up=done[0] - topped_up,
            last_done_after_top_up=done[-1] - topped_up,
            last_done_after_sample=done[-1] - sample,
            lost=known + gates - self.history.successes(dag_id),
            twice=self.history.second_endings(dag_id),
            load=load,
        )

    def measure_crash(self, gates: int) -> dict[str, float]:
        """
        Kill the triggerer while gates wait in it, start it again, and open the gates.

        :param gates: how many gates, in mode d.
        """
        dag_id = "gate_d"
        self.sandbox.set_balance(EMPTY_USD)
        known = len(self.history.endings(dag_id))
        self._create_runs(dag_id, gates)
        self._pause(dag_id, paused=False)
        self._wait_until_all_wait(dag_id, "d", known, gates)
        self.airflow.kill("triggerer")
        killed = time.time()
        self.sandbox.set_balance(gates * GATE_USD)
        self.airflow.start("triggerer")
        self._let_them_end(dag_id, known + gates)
        done = self.history.times_of(dag_id, "success")[known:]
        return {
            "gates": gates,
            "lost": known + gates - self.history.successes(dag_id),
            "twice": self.history.second_endings(dag_id),
            "last_done_after_kill": done[-1] - killed,
        }

    def _create_runs(self, dag_id: str, gates: int) -> None:
        # Paused meanwhile, since creating the runs costs the same in every mode, and is not measured.
        self._pause(dag_id, paused=True)
        for _ in range(gates):
            self.airflow.trigger(dag_id)

    def _pause(self, dag_id: str, *, paused: bool) -> None:
        self.airflow.request("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def _wait_until_all_wait(self, dag_id: str, mode: str, known: int, gates: int) -> None:
        if mode not in DEFERRED_MODES:
            self._wait(
                "each gate to have checked once",
                lambda: len(self.history.runs_that_were(dag_id, "up_for_reschedule")) >= known + gates,
            )
            return
        self._wait("gates to be deferred", lambda: self.history.gates_in(dag_id, "deferred") == gates)
        self._wait("triggers to be assigned", lambda: not self.history.triggers_without_triggerer())
        # A gate may join while a poll is under way. Each one gets the result of the poll after that.
        asked = self.sandbox.request_count
        self._wait("two more polls", lambda: self.sandbox.request_count >= asked + 2)

    def _wait_for_end_of_round(self, calls: list[float], before: int, calls_per_round: int) -> None:
        wanted = before + calls_to_end_of_round(len(calls) - before, calls_per_round)
        self._wait("the end of a round of checks", lambda: len(calls) >= wanted)

    def _let_them_end(self, dag_id: str, gates: int) -> None:
        # Gates that have not ended by then are reported as lost.
        with suppress(LocalAirflowError):
            self._wait("gates to end", lambda: len(self.history.endings(dag_id)) >= gates)
            self._wait("runs to end", lambda: not self.history.left_to_do(dag_id))

    def _wait(self, what: str, reached: Callable[[], bool]) -> None:
        self.airflow.wait_until(what, reached, bool, PATIENCE)

    def _triggerer_kb(self) -> int:
        return memory_kb([self.airflow.process_ids["triggerer"]])

    def _meter(self) -> _Meter:
        leaders = {**self.airflow.process_ids, DATABASE: self.postgres.pid}
        return _Meter({name: cpu_seconds([pid]) for name, pid in leaders.items()}, time.time())

    def _net_cpu(self, before: _Meter, after: _Meter) -> dict[str, float]:
        seconds = after.at - before.at
        return {name: after.cpu[name] - before.cpu[name] - self._idle[name] * seconds for name in after.cpu}

    def _airflows_net_cpu(self, before: _Meter, after: _Meter) -> float:
        return sum(seconds for name, seconds in self._net_cpu(before, after).items() if name != DATABASE)


@contextmanager
def _watch_requests(sandbox: Sandbox) -> Iterator[list[float]]:
    """Return a list of the times of requests to the sandbox, which grows inside the ``with`` block."""
    calls: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        seen = sandbox.request_count
        while not ended.wait(0.02):
            count = sandbox.request_count
            calls.extend([time.time()] * (count - seen))
            seen = count

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield calls
    finally:
        ended.set()
        watcher.join()


def _calls_per_round(mode: str, gates: int) -> int:
    return 1 if mode in DEFERRED_MODES else gates
