"""A large gate opens while small ones still wait, and keeps its place in line whatever happens to it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
import sqlalchemy

from airflow_provider_youcom.ledger.line_rule import FIRST_PATIENCE
from dev.local_airflow import LocalAirflow
from tests.real_airflow.conftest import end_reschedule_intervals, minor_version
from tests.real_airflow.reserved_runs import ReservedRuns

pytestmark = [
    pytest.mark.real_airflow,
    pytest.mark.scenario,
    pytest.mark.on_the_ends,
    pytest.mark.timeout(1800),
]

SMALL_USD = 5
PATIENCE = 900


class RunsInLine:
    """
    Runs that wait for one account, which gets no more than the next of them needs.

    So the order in which they open depends on the line alone, and not on the speed of the machine.

    :param runs: starts them.
    :param key: the account's key.
    """

    def __init__(self, runs: ReservedRuns, key: str) -> None:
        self._runs = runs
        self._key = key
        self._added_usd = Decimal(0)
        self._dags: dict[str, str] = {}

    def join(self, dag_id: str, usd: int, *run_ids: str) -> None:
        """Start runs, and wait until all of them are in line."""
        airflow = self._runs.airflow
        airflow.wait_for_dag(dag_id)
        # Those that run already would keep SQLite from the others for longer than Airflow waits.
        airflow.request("PATCH", f"/dags/{dag_id}", json={"is_paused": True})
        for run_id in run_ids:
            self._dags[airflow.trigger(dag_id, {"usd": usd}, run_id)] = dag_id
        airflow.wait_for_dag(dag_id)
        self.wait_until(f"{run_ids} are in line", lambda: set(self.numbers()) == set(self._dags))

    def numbers(self) -> dict[str, int]:
        """Return the number of each run's place, the first in line first."""
        return {place.holder.run_id: place.number for place in self._runs.places(self._key)}

    def opened(self) -> list[str]:
        """Return the runs that have opened, in this order."""
        return [each.holder.run_id for each in self._runs.openings(self._key)]

    def is_first(self, run_id: str) -> bool:
        """Return whether a run is the first in line, and there is enough for it."""
        return next(iter(self.numbers()), "") == run_id and self._left_usd() >= self._next_needs_usd()

    def top_up_until(self, what: str, reached: Callable[[], bool]) -> None:
        """Add credits whenever there are too few for the next gate, until something has happened."""

        def top_up() -> bool:
            if self._left_usd() < self._next_needs_usd():
                self._runs.add_credits(self._key, SMALL_USD)
                self._added_usd += SMALL_USD
            return reached()

        self.wait_until(what, top_up)

    def top_up_until_all_have_paid(self) -> None:
        """Let all runs end, and see that what is left is what nobody has reserved."""
        self.top_up_until("all have opened", lambda: set(self.opened()) == set(self._dags))
        self.wait_until_all_that_have_opened_are_done()
        assert self.numbers() == {}
        assert self._runs.balance_usd(self._key) == self._left_usd()
        assert self._runs.no_payment_was_refused()

    def wait_until_all_that_have_opened_are_done(self) -> None:
        """Wait until the runs that have opened have paid, and released their reservations."""
        for run_id in self.opened():
            self._runs.airflow.wait_for_run(self._dags[run_id], run_id, "success", timeout=PATIENCE)

    def wait_until(self, what: str, reached: Callable[[], bool]) -> None:
        """Wait until something has happened."""
        self._runs.airflow.wait_until(what, reached, bool, PATIENCE)

    def _left_usd(self) -> Decimal:
        reserved = sum((each.amount_usd for each in self._runs.openings(self._key)), Decimal(0))
        return self._added_usd - reserved

    def _next_needs_usd(self) -> Decimal:
        places = self._runs.places(self._key)
        held = (place.amount_usd for place in places if place.is_held)
        return next(held, min((place.amount_usd for place in places), default=Decimal(0)))


def smalls_that_pass(large_usd: int) -> int:
    """Return how many small runs open until the amount of a large one is held."""
    return FIRST_PATIENCE * large_usd // SMALL_USD + 1


def test_a_large_gate_opens_while_small_ones_still_wait(runs: ReservedRuns) -> None:
    line = RunsInLine(runs, "youcom_reserving_line")
    smalls = [f"small_{number}" for number in range(12)]
    line.join("run_in_line", 10, "large")
    line.join("run_in_line", SMALL_USD, *smalls)

    line.top_up_until_all_have_paid()
    assert line.opened().index("large") == smalls_that_pass(10)


def test_gates_keep_their_places_through_a_crash_a_clear_and_a_busy_pool(runs: ReservedRuns) -> None:
    airflow = runs.airflow
    airflow.request("POST", "/pools", json={"name": "busy_pool", "slots": 1})
    line = RunsInLine(runs, "youcom_reserving_disturbed_line")
    smalls = [f"little_{number}" for number in range(7)]
    line.join("run_in_disturbed_line", 6, "deferred")
    line.join("rescheduled_run", 6, "rescheduled")
    line.join("run_in_disturbed_line", SMALL_USD, *smalls)
    numbers = line.numbers()
    assert list(numbers)[:2] == ["deferred", "rescheduled"]

    runs.clear("run_in_disturbed_line", "deferred", ["gate"])
    runs.wait_for_log("run_in_disturbed_line", "deferred", "gate", "Place 1 in line", try_number=2)
    airflow.wait_for_task("run_in_disturbed_line", "deferred", "gate", "deferred")
    airflow.kill("triggerer")
    airflow.start("triggerer")
    keep_in_queue(runs, "first", minutes=40)
    assert "rescheduled" not in line.numbers(), "three times its interval is shorter"
    runs.let_go("first", "occupy_the_pool")
    line.wait_until("the places are as before", lambda: line.numbers() == numbers)

    # Now the ledger knows that it may take 40 minutes until the gate checks again.
    keep_in_queue(runs, "second", minutes=45)
    line.top_up_until("there is enough for the second", lambda: line.is_first("rescheduled"))
    small = next(run_id for run_id in smalls if run_id not in line.opened())
    held = "is held for run rescheduled of DAG rescheduled_run"
    held_before = runs.log("run_in_disturbed_line", small, "gate").count(held)
    runs.wait_for_log("run_in_disturbed_line", small, "gate", held, times=held_before + 2)
    # What a run has paid counts twice until it has released its reservation.
    line.wait_until_all_that_have_opened_are_done()
    runs.let_go("second", "occupy_the_pool")

    line.top_up_until_all_have_paid()
    passed = smalls_that_pass(6)
    assert line.opened()[passed : passed + 2] == ["deferred", "rescheduled"]


def keep_in_queue(runs: ReservedRuns, run_id: str, minutes: int) -> None:
    """Let the gate in the pool wait for a slot, for so long by the ledger's clock."""
    runs.airflow.wait_for_task("rescheduled_run", "rescheduled", "gate", "up_for_reschedule")
    runs.start("busy_pool", run_id)
    runs.wait_until_held(run_id, "occupy_the_pool")
    wait_until_the_scheduler_knows_of_each_check(runs.airflow)
    end_reschedule_intervals(runs.airflow)
    runs.airflow.wait_for_task("rescheduled_run", "rescheduled", "gate", "scheduled")
    runs.let_time_pass_in_line("rescheduled", 60 * minutes)


def wait_until_the_scheduler_knows_of_each_check(airflow: LocalAirflow) -> None:
    """Airflow fails a task that is scheduled again before the end of its last check has been noticed."""
    with sqlalchemy.create_engine(airflow.database_url).connect() as connection:
        query = "SELECT count(*) FROM task_reschedule JOIN task_instance ON ti_id = task_instance.id"
        if minor_version(airflow) < (3, 0):
            query = "SELECT count(*) FROM task_reschedule"
        where = " WHERE dag_id = 'rescheduled_run'"
        checks = connection.execute(sqlalchemy.text(query + where)).scalar_one()
    scheduler_log = airflow._log("scheduler")
    airflow.wait_until(
        "the end of each check in the scheduler's log",
        lambda: scheduler_log.read_text().count("TaskInstance Finished: dag_id=rescheduled_run"),
        lambda finished: finished >= checks,
    )
