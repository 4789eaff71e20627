"""Runs whose gates reserve, and the ledger that keeps what they have reserved."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.place import Place
from airflow_provider_youcom.ledger.reservation import Reservation
from airflow_provider_youcom.ledger.rule import GRACE_SECONDS, EndReason
from airflow_provider_youcom.sandbox import Account, Sandbox
from dev.local_airflow import LocalAirflow

LEDGER = "youcom_reserving_ledger"
DEPLOYMENT = "youcom_deployment_id"
# What each account holds, by its key, which is the id of its connection too.
HOLDS_USD = {
    "youcom_reserving_rich": 1000,
    "youcom_reserving_short": 3,
    # Enough for one reservation of $5.
    "youcom_reserving_worker": 9,
    "youcom_reserving_triggerer": 9,
    "youcom_reserving_scarce": 9,
    "youcom_reserving_line": 0,
    "youcom_reserving_disturbed_line": 0,
}
_MICROSECONDS = 1_000_000


class ReservedRuns:
    """
    Starts runs, orders what their tasks do, and reads the ledger.

    :param airflow: where they run.
    :param you_com: the You.com that they pay.
    :param folder: where their tasks find what they wait for; see the DAGs.
    """

    def __init__(self, airflow: LocalAirflow, you_com: Sandbox, folder: Path) -> None:
        self.airflow = airflow
        self._you_com = you_com
        self._folder = folder
        self._engine = sqlalchemy.create_engine(f"sqlite:///{folder / 'ledger.db'}")
        self._ledger = Ledger(self._engine, LEDGER)

    def connect(self) -> None:
        """Save the connections in Airflow's database, where a triggerer has to ask for them."""
        file = {"conn_type": "sqlite", "host": str(self._folder / "ledger.db")}
        self.airflow.add_connection(LEDGER, file)
        extra = {"retries": 0, "timeout": 20, "ledger_conn_id": LEDGER, "settle_seconds": 0}
        for number, (key, usd) in enumerate(HOLDS_USD.items(), start=1):
            self._you_com.accounts[key] = Account(f"4f{number}c", Decimal(usd) * 100)
            connection = {**json.loads(self._you_com.connection(key)), "extra": json.dumps(extra)}
            self.airflow.add_connection(key, connection)

    def close(self) -> None:
        """Close the ledger's file."""
        self._engine.dispose()

    def start(self, dag_id: str, run_id: str, **orders: Sequence[str]) -> str:
        """
        Start a run, and return its id.

        :param dag_id: id of the DAG.
        :param run_id: id of the run; no other run here has the same.
        :param orders: what a task does, by its id: ``hold``, ``fail`` and ``pay``.
        """
        self.airflow.wait_for_dag(dag_id)
        return self.airflow.trigger(dag_id, {name: list(order) for name, order in orders.items()}, run_id)

    def set_balance(self, key: str, usd: int) -> None:
        """Let an account hold this much."""
        self._you_com.set_balance(usd, key)

    def pay(self, key: str, usd: int) -> bool:
        """Pay in place of a task that Airflow has given up, and return whether You.com accepts."""
        return self._you_com.spend(usd, key)

    def reserve_elsewhere(self, key: str, dag_id: str, run_id: str, usd: int) -> str:
        """Reserve as the gate of the same run in another Airflow, and return the id of the reservation."""
        account = self._you_com.accounts[key]
        balance = AccountBalance(account.account_id, account.balance_cents, datetime.now(UTC))
        attempt = Attempt(Holder("another Airflow", dag_id, run_id, "gate"), id=run_id, order="1")
        claim = Claim(attempt, Decimal(usd))
        decision = self._ledger.decide(claim, balance, self._ledger.note(), settle_seconds=0)
        if decision.reservation is None:
            raise AssertionError(f"nothing was reserved: {decision.available}")
        return decision.reservation.id

    def end(self, reservation_id: str, reason: EndReason) -> None:
        """End a reservation."""
        self._ledger.end([reservation_id], reason, by="a test")

    def balance_usd(self, key: str) -> Decimal:
        """Return what an account holds, in dollars."""
        return self._you_com.balance_usd(key)

    def add_credits(self, key: str, usd: int) -> None:
        """Add credits to an account."""
        self._you_com.top_up(usd, key)

    def wait_until_held(self, run_id: str, *task_ids: str, try_number: int = 1) -> list[int]:
        """Wait until tasks hold, and return their process ids."""
        files = [self._folder / f"{run_id}.{task_id}.{try_number}.pid" for task_id in task_ids]
        read = self.airflow.wait_until(
            f"{run_id}: {task_ids} hold",
            lambda: [file.read_text() if file.exists() else "" for file in files],
            all,
        )
        return [int(text) for text in read]

    def wait_until_dead(self, process_id: int) -> None:
        """Wait until a process has ended."""
        self.airflow.wait_until(
            f"the end of process {process_id}",
            lambda: psutil.pid_exists(process_id),
            lambda exists: not exists,
        )

    def let_go(self, run_id: str, *task_ids: str) -> None:
        """Let tasks that hold go on."""
        for task_id in task_ids:
            (self._folder / f"{run_id}.{task_id}.go").touch()

    def let_everything_go(self) -> None:
        """Let all tasks that hold go on."""
        for file in self._folder.glob("*.pid"):
            file.with_suffix("").with_suffix(".go").touch()

    def let_succeed(self, run_id: str, task_id: str) -> None:
        """Let a failing task succeed at its next try."""
        (self._folder / f"{run_id}.{task_id}.may_succeed").touch()

    def kill_task(self, run_id: str, task_id: str) -> None:
        """Kill the process of a task that holds, as the kernel does when memory is short."""
        (process_id,) = self.wait_until_held(run_id, task_id)
        os.kill(process_id, signal.SIGKILL)

    def mark(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as failed or as success, as a user of the UI does."""
        self.airflow.request("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": state})

    def clear(self, dag_id: str, run_id: str, task_ids: Iterable[str], only_failed: bool = False) -> None:
        """Clear tasks of a run, as the UI does: with those behind them, and whatever else Airflow clears."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            # Without this, Airflow 3.1 does not clear the gate.
            "include_downstream": True,
            "only_failed": only_failed,
            "reset_dag_runs": True,
        }
        self.airflow.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def reservations(self, run_id: str) -> list[Reservation]:
        """Return what a run has reserved, the oldest first, whether it stands or not."""
        return self._ledger.history(run_id=run_id)[::-1]

    def ends(self, run_id: str) -> list[tuple[str | None, str | None]]:
        """Return how each reservation of a run ended, and who ended it."""
        return [
            (each.end_reason and each.end_reason.value, each.ended_by) for each in self.reservations(run_id)
        ]

    def places(self, key: str) -> list[Place]:
        """Return the places of the gates that wait in an account, the first in line first."""
        return self._ledger.line.places(self._account_id(key))

    def openings(self, key: str) -> list[Reservation]:
        """Return what has been reserved in an account, the oldest first, whether it stands or not."""
        return self._ledger.history(account_id=self._account_id(key))[::-1]

    def wait_for_ends(self, run_id: str, *ends: tuple[str | None, str]) -> None:
        """Wait until the reservations of a run have ended in this way."""
        self.airflow.wait_until(
            f"the ends of {run_id}", lambda: self.ends(run_id), lambda seen: seen == list(ends), timeout=90
        )

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """Return the log of a task."""
        return self.airflow.task_log(dag_id, run_id, task_id, try_number)

    def wait_for_log(
        self, dag_id: str, run_id: str, task_id: str, words: str, *, try_number: int = 1, times: int = 1
    ) -> None:
        """Wait until the log of a task contains these words this many times."""
        self.airflow.wait_until(
            f"{words!r} in the log of {task_id} of {run_id}",
            lambda: self.log(dag_id, run_id, task_id, try_number),
            lambda log: log.count(words) >= times,
            timeout=120,
        )

    def let_a_minute_pass(self, run_id: str) -> None:
        """Let the ledger believe that a minute has passed since Airflow was asked about a run."""
        self._write(
            "UPDATE youcom_reservations SET asked_at = asked_at - :time WHERE run_id = :run_id",
            time=60 * _MICROSECONDS,
            run_id=run_id,
        )

    def let_time_pass_in_line(self, run_id: str, seconds: int) -> None:
        """Let the ledger believe that a gate in line has not checked for so long."""
        self._write(
            "UPDATE youcom_line SET seen_at = seen_at - :time, alive_until = alive_until - :time"
            " WHERE run_id = :run_id",
            time=seconds * _MICROSECONDS,
            run_id=run_id,
        )

    def let_the_grace_pass(self, run_id: str) -> None:
        """Let the ledger believe that a run's work can no longer pay now that its reservation has ended."""
        self._write(
            "UPDATE youcom_reservations SET counts_until = counts_until - :time"
            " WHERE run_id = :run_id AND ended_at IS NOT NULL",
            time=GRACE_SECONDS * _MICROSECONDS,
            run_id=run_id,
        )

    def let_the_run_time_out(self, dag_id: str, run_id: str) -> None:
        """Let Airflow believe that a run started long ago."""
        engine = sqlalchemy.create_engine(self.airflow.database_url)
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text(
                    "UPDATE dag_run SET start_date = '2025-01-01 00:00:00.000000'"
                    " WHERE dag_id = :dag_id AND run_id = :run_id"
                ),
                {"dag_id": dag_id, "run_id": run_id},
            )
        engine.dispose()

    def no_payment_was_refused(self) -> bool:
        """Return whether You.com has accepted every payment of every task."""
        return not (self._folder / "refused").exists()

    def _account_id(self, key: str) -> str:
        return self._you_com.accounts[key].account_id

    def _write(self, statement: str, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(sqlalchemy.text(statement), values)
