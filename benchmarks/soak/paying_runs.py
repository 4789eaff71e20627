"""Runs that reserve and pay while everything around them is killed, and what became of their money."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.ledger.ledger import Ledger
from dev.you_com_connection import connection_with_ledger

if TYPE_CHECKING:
    from airflow_provider_youcom.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow
    from dev.private_postgres import PrivatePostgres
    from dev.task_history import TaskHistory

DAG_ID = "paying"
API_KEY = "paying-key"
PAYMENTS = 3
# For three payments of $1, and for those that killed tries make twice.
MIN_USD = 9
TOP_UP_USD = MIN_USD + PAYMENTS
SETTLE_SECONDS = 5
# The last run waits for more than the account ever holds, and ends what the others have left reserved.
LAST_RUN_USD = 100_000
PATIENCE = 600.0


def environment(sandbox: Sandbox, ledger: PrivatePostgres) -> dict[str, str]:
    """
    Return the variables that the DAG needs.

    :param sandbox: the You.com that the runs pay.
    :param ledger: the server on which the ledger is.
    """
    return {
        "AIRFLOW_CONN_YOUCOM_PAYING": connection_with_ledger(
            sandbox, "youcom_ledger", settle_seconds=SETTLE_SECONDS, api_key=API_KEY
        ),
        "AIRFLOW_CONN_YOUCOM_LEDGER": ledger.airflow_connection("airflow"),
        "SOAK_PAYING_KEY": API_KEY,
        "SOAK_SPEND_URL": f"{sandbox.base_url}/sandbox/spend",
    }


class PayingRuns:
    """
    The runs that pay, from one account that is topped up in steps.

    :param airflow: the Airflow, running.
    :param sandbox: the You.com that they pay.
    :param ledger: the server on which the ledger is.
    :param runs: how many runs.
    """

    def __init__(self, airflow: LocalAirflow, sandbox: Sandbox, ledger: PrivatePostgres, runs: int) -> None:
        self.runs = runs
        self._airflow = airflow
        self._sandbox = sandbox
        self._ledger = Ledger(sa.create_engine(ledger.url))
        self._topped_up_usd = 0

    def start(self) -> None:
        """Start the runs, with nothing in the account."""
        self._airflow.wait_for_dag(DAG_ID)
        for run in range(self.runs):
            self._airflow.trigger(DAG_ID, {"min_usd": MIN_USD}, run_id=f"paying-{run}")

    def top_up(self) -> None:
        """Add enough for one more run."""
        self._add(TOP_UP_USD)

    def finish(self, history: TaskHistory, between: Callable[[], None]) -> dict[str, object]:
        """
        Pay for all that is left, and return what became of the runs.

        :param history: the changes of state that the database records.
        :param between: called every second, to restart what dies.
        """
        paid_in_trouble = history.payments(DAG_ID)
        self._add(self.runs * TOP_UP_USD)
        _wait(lambda: not history.left_to_do(DAG_ID), between)
        # A teardown that the ledger did not answer leaves its reservation to whoever polls next.
        self._airflow.trigger(DAG_ID, {"min_usd": LAST_RUN_USD}, run_id="last")
        _wait(lambda: not self._standing(), between)
        left = self._standing()
        self._add(2 * LAST_RUN_USD)
        _wait(lambda: not history.left_to_do(DAG_ID), between)
        endings = history.endings(DAG_ID)
        paid_usd = self._topped_up_usd - self._sandbox.balance_usd(API_KEY)
        return {
            "runs": self.runs + 1,
            "refused": self._sandbox.refused_count,
            "dead": self.runs + 1 - sum(state == "success" for state, _ in history.run_endings(DAG_ID)),
            "lost": self.runs + 1 - len(endings),
            "twice": [run_id for run_id, count in endings.items() if count > 1],
            "paid_in_trouble": paid_in_trouble,
            "paid_again": int(paid_usd) - history.payments(DAG_ID),
            "left_reserved": left + self._standing(),
            "ends": Counter(
                each.end_reason.value for each in self._ledger.history(limit=10_000) if each.end_reason
            ),
        }

    def _add(self, usd: int) -> None:
        self._topped_up_usd += usd
        self._sandbox.top_up(usd, API_KEY)

    def _standing(self) -> list[str]:
        try:
            return [each.holder.run_id for each in self._ledger.standing()]
        except YouComError as error:
            return [str(error)]


def _wait(reached: Callable[[], bool], between: Callable[[], None]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached() and time.monotonic() < deadline:
        between()
        time.sleep(1)
