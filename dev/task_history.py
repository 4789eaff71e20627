"""
Every change of a task's state, recorded by the database when it happens.

Airflow's tables hold only the last state. They do not show that a gate ended twice, or that a worker was
started for it in between.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

_SCHEMA = """
CREATE SCHEMA task_history;
CREATE TABLE task_history.change (
    dag_id text, run_id text, task_id text, old text, new text,
    at double precision DEFAULT extract(epoch FROM clock_timestamp())
);
CREATE FUNCTION task_history.record() RETURNS trigger AS $$
BEGIN
    INSERT INTO task_history.change VALUES (NEW.dag_id, NEW.run_id, NEW.task_id, OLD.state, NEW.state);
    RETURN NEW;
END
$$ LANGUAGE plpgsql;
CREATE TRIGGER record AFTER UPDATE ON task_instance
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION task_history.record();
"""
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


class TaskHistory:
    """
    Reads what the database recorded about the gates, which are all tasks named ``gate``, and their runs.

    :param connection: a connection to Airflow's PostgreSQL database, in autocommit mode.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    def start(cls, connection: Any) -> TaskHistory:
        """
        Make the database record every change from now on.

        :param connection: a connection to Airflow's PostgreSQL database, in autocommit mode.
        """
        connection.cursor().execute(_SCHEMA)
        return cls(connection)

    def runs_that_were(self, dag_id: str, *states: str) -> set[str]:
        """
        Return the runs of a DAG whose gate has been in one of these states.

        :param dag_id: the DAG.
        :param states: the states.
        """
        query = "SELECT run_id FROM task_history.change WHERE dag_id=%s AND new IN %s AND task_id='gate'"
        return {row[0] for row in self._rows(query, dag_id, states)}

    def gates_in(self, dag_id: str, *states: str) -> int:
        """
        Count the gates of a DAG that are in one of these states now.

        :param dag_id: the DAG.
        :param states: the states.
        """
        query = "SELECT count(*) FROM task_instance WHERE dag_id=%s AND state IN %s AND task_id='gate'"
        return int(self._rows(query, dag_id, states)[0][0])

    def runs_with_a_gate_on(self, hostname: str) -> set[str]:
        """
        Return the runs whose gate runs on a worker now.

        :param hostname: the worker's host name.
        """
        query = "SELECT run_id FROM task_instance WHERE hostname=%s AND state='running' AND task_id='gate'"
        return {row[0] for row in self._rows(query, hostname)}

    def left_to_do(self, dag_id: str) -> int:
        """
        Count the runs of a DAG that have not ended, and the callbacks that the dag-processor has not run.

        Airflow sends one for each task that ends in the triggerer, even for a task without callbacks.

        :param dag_id: the DAG.
        """
        query = (
            "SELECT (SELECT count(*) FROM dag_run WHERE dag_id=%s AND state IN ('queued', 'running'))"
            " + (SELECT count(*) FROM callback)"
        )
        return int(self._rows(query, dag_id)[0][0])

    def triggers_without_triggerer(self) -> int:
        """Count the triggers that no triggerer holds."""
        return int(self._rows("SELECT count(*) FROM trigger WHERE triggerer_id IS NULL")[0][0])

    def worker_starts(self, dag_id: str) -> int:
        """
        Count how often a gate of a DAG started on a worker.

        :param dag_id: the DAG.
        """
        query = (
            "SELECT count(*) FROM task_history.change WHERE dag_id=%s AND new='running' AND task_id='gate'"
        )
        return int(self._rows(query, dag_id)[0][0])

    def times_of(self, dag_id: str, *states: str) -> list[float]:
        """
        Return the times at which gates of a DAG entered one of these states, in order.

        :param dag_id: the DAG.
        :param states: the states.
        """
        query = (
            "SELECT at FROM task_history.change WHERE dag_id=%s AND new IN %s AND task_id='gate' ORDER BY at"
        )
        return [float(row[0]) for row in self._rows(query, dag_id, states)]

    def beginnings(self, dag_id: str) -> list[float]:
        """
        Return the times at which gates of a DAG began to wait without a worker, in order.

        :param dag_id: the DAG.
        """
        query = (
            "SELECT min(at) FROM task_history.change WHERE dag_id=%s AND task_id='gate'"
            " AND new IN ('deferred', 'up_for_reschedule') GROUP BY run_id ORDER BY 1"
        )
        return [float(row[0]) for row in self._rows(query, dag_id)]

    def endings(self, dag_id: str) -> Counter[str]:
        """
        Return how often each gate of a DAG ended, by its run. Gates that did not end are left out.

        :param dag_id: the DAG.
        """
        query = "SELECT run_id FROM task_history.change WHERE dag_id=%s AND new IN %s AND task_id='gate'"
        return Counter(row[0] for row in self._rows(query, dag_id, ENDED))

    def successes(self, dag_id: str) -> int:
        """
        Count the gates of a DAG whose last state is success.

        :param dag_id: the DAG.
        """
        return sum(state == "success" for state, _ in self.final_states(dag_id).values())

    def second_endings(self, dag_id: str) -> int:
        """
        Count how often a gate of a DAG ended that had ended before.

        :param dag_id: the DAG.
        """
        return sum(count - 1 for count in self.endings(dag_id).values())

    def final_states(self, dag_id: str) -> dict[str, tuple[str, float]]:
        """
        Return each gate's last state and the time of that change, by its run.

        :param dag_id: the DAG.
        """
        query = (
            "SELECT DISTINCT ON (run_id) run_id, new, at FROM task_history.change"
            " WHERE dag_id=%s AND task_id='gate' ORDER BY run_id, at DESC"
        )
        return {row[0]: (row[1], float(row[2])) for row in self._rows(query, dag_id)}

    def run_endings(self, dag_id: str) -> list[tuple[str, float]]:
        """
        Return the state and the time of the end of each run of a DAG that has ended, in order of time.

        :param dag_id: the DAG.
        """
        query = (
            "SELECT state, extract(epoch FROM end_date) AS at FROM dag_run"
            " WHERE dag_id=%s AND state IN ('success', 'failed') ORDER BY at"
        )
        return [(row[0], float(row[1])) for row in self._rows(query, dag_id)]

    def seconds_behind_gate(self, dag_id: str) -> list[float]:
        """
        Return how long each run of a DAG took that succeeded, from the end of its gate to its own end.

        :param dag_id: the DAG.
        """
        query = (
            "SELECT extract(epoch FROM dag_run.end_date - gate.end_date)"
            " FROM dag_run JOIN task_instance AS gate USING (dag_id, run_id)"
            " WHERE dag_id=%s AND dag_run.state='success' AND task_id='gate'"
        )
        return [float(row[0]) for row in self._rows(query, dag_id)]

    def payments(self, dag_id: str, *run_states: str) -> int:
        """
        Count the payments of a DAG: its tasks named ``pay_1``, ``pay_2`` and so on that succeeded.

        :param dag_id: the DAG.
        :param run_states: count only those of runs in these states.
        """
        query = (
            "SELECT count(*) FROM task_instance JOIN dag_run USING (dag_id, run_id)"
            " WHERE dag_id=%s AND task_instance.state='success' AND task_id LIKE 'pay\\_%%'"
            " AND dag_run.state IN %s"
        )
        return int(self._rows(query, dag_id, run_states or ("success", "failed", "running"))[0][0])

    def payments_of_run(self, dag_id: str, run_id: str) -> int:
        """
        Count the payments of one run.

        :param dag_id: its DAG.
        :param run_id: its id.
        """
        query = (
            "SELECT count(*) FROM task_instance WHERE dag_id=%s AND run_id=%s AND state='success'"
            " AND task_id LIKE 'pay\\_%%'"
        )
        return int(self._rows(query, dag_id, run_id)[0][0])

    def gates_by_triggerer(self) -> dict[int, int]:
        """Count the gates that each triggerer holds, by the id of the triggerer's job."""
        query = "SELECT triggerer_id, count(*) FROM trigger WHERE triggerer_id IS NOT NULL GROUP BY 1"
        return {int(row[0]): int(row[1]) for row in self._rows(query)}

    def gates_by_host_of_triggerer(self) -> dict[str, int]:
        """Count the gates that each triggerer holds, by its host name."""
        query = (
            "SELECT job.hostname, count(*) FROM trigger JOIN job ON job.id = trigger.triggerer_id GROUP BY 1"
        )
        return {row[0]: int(row[1]) for row in self._rows(query)}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())
