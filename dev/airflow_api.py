"""Drive an Airflow of any version through its REST API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import requests

from dev.airflow_release import Release

T = TypeVar("T")
TaskStates = dict[tuple[str, int], str | None]
RUN_ENDED = frozenset({"success", "failed"})
TASK_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_LOG_LOCATION = {"logger", "filename", "lineno"}
_LOG_CONTEXT = {"dag_id", "run_id", "task_id", "map_index", "try_number", "ti_id"}


class LocalAirflowError(RuntimeError):
    """Airflow failed, or did not finish in time."""


class AirflowApi:
    """
    The REST API of an Airflow that makes every visitor an administrator.

    :param base_url: URL of the UI.
    :param release: the version of Airflow.
    """

    def __init__(self, base_url: str, release: Release) -> None:
        self.base_url = base_url
        self._release = release
        self._http = requests.Session()
        # Neither a proxy from the environment nor a password from ~/.netrc applies to this machine.
        self._http.trust_env = False

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """
        Call the REST API.

        :param method: HTTP method.
        :param path: path below ``/api/v1`` or ``/api/v2``.
        :param options: what :meth:`requests.Session.request` takes.
        :raises requests.HTTPError: if the answer is not a success.
        """
        # On a busy machine, Airflow 3 on SQLite may take longer than half a minute.
        options.setdefault("timeout", 120)
        url = f"{self.base_url}{self._release.api}{path}"
        response = self._http.request(method, url, **options)
        if response.status_code == requests.codes.unauthorized:
            answer = self._http.get(f"{self.base_url}/auth/token", timeout=options["timeout"])
            self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            response = self._http.request(method, url, **options)
        if not response.ok:
            message = f"{method} {path}: {response.status_code} {response.text[:2000]}"
            raise requests.HTTPError(message, response=response)
        return response

    def add_connection(self, conn_id: str, connection: Mapping[str, Any]) -> None:
        """
        Save a connection in Airflow's database.

        :param conn_id: id of the connection.
        :param connection: its fields, as the REST API names them.
        """
        self.request("POST", "/connections", json={"connection_id": conn_id, **connection})

    def wait_for_dag(self, dag_id: str, timeout: float = 300) -> None:
        """
        Wait until a DAG is parsed, and unpause it.

        :param dag_id: id of the DAG.
        :param timeout: seconds to wait.
        """
        path = f"/dags/{dag_id}"
        try:
            self.wait_until(f"DAG {dag_id}", lambda: self.request("GET", f"{path}/details"), bool, timeout)
        except LocalAirflowError as error:
            broken = self.request("GET", "/importErrors").json()["import_errors"]
            traces = "".join(f"\n--- {each['filename']}\n{each['stack_trace']}" for each in broken)
            raise LocalAirflowError(f"{error}{traces}") from None
        self.request("PATCH", path, json={"is_paused": False})

    def parse_again(self, dag_id: str) -> None:
        """
        Let a DAG's file be parsed at once. That starts the watchers of a DAG, or ends those of a paused one.

        :param dag_id: id of the DAG.
        """
        token = self.request("GET", f"/dags/{dag_id}").json()["file_token"]
        self.request("PUT", f"/parseDagFile/{token}")

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """
        Start a run of a DAG, and return the run's id.

        :param dag_id: id of the DAG.
        :param conf: the run's configuration.
        :param run_id: the run's id. By default Airflow makes one.
        """
        body: dict[str, Any] = {**self._release.trigger_defaults, "conf": dict(conf or {})}
        if run_id:
            body["dag_run_id"] = run_id
        answer = self.request("POST", f"/dags/{dag_id}/dagRuns", json=body)
        return str(answer.json()["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """
        Return the state of a run.

        :param dag_id: id of the DAG.
        :param run_id: id of the run.
        """
        return str(self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}").json()["state"])

    def task_states(self, dag_id: str, run_id: str) -> TaskStates:
        """
        Return the state of each task instance of a run, by task id and map index; -1 is for unmapped tasks.

        :param dag_id: id of the DAG.
        :param run_id: id of the run.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self.request("GET", path, params={"limit": 10_000}).json()["task_instances"]
        return {(each["task_id"], each["map_index"]): each["state"] for each in found}

    def wait_for_run(self, dag_id: str, run_id: str, *states: str, timeout: float = 300) -> str:
        """
        Wait until a run is in one of these states, and return the state.

        :param dag_id: id of the DAG.
        :param run_id: id of the run.
        :param states: the states. Default: those of a run that has ended.
        :param timeout: seconds to wait.
        :raises LocalAirflowError: if that takes longer, or the run ends in another state.
        """
        wanted = frozenset(states) or RUN_ENDED
        what = f"run {run_id} of {dag_id} in state {'/'.join(sorted(wanted))}"
        state = self.wait_until(
            what,
            lambda: self.run_state(dag_id, run_id),
            lambda seen: seen in wanted | RUN_ENDED,
            timeout,
        )
        if state not in wanted:
            tasks = self.task_states(dag_id, run_id)
            logs = self._failed_logs(dag_id, run_id, tasks)
            raise LocalAirflowError(f"{what}: it ended in state {state}: {tasks}\n{logs}")
        return state

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, map_index: int = -1, timeout: float = 300
    ) -> str:
        """
        Wait until a task instance is in one of these states, and return the state.

        :param dag_id: id of the DAG.
        :param run_id: id of the run.
        :param task_id: id of the task.
        :param states: the states. Default: those of a task that has ended.
        :param map_index: which instance of a mapped task.
        :param timeout: seconds to wait.
        :raises LocalAirflowError: if that takes longer, or the task ends in another state.
        """
        wanted = frozenset(states) or TASK_ENDED
        what = f"task {task_id} of {run_id} in state {'/'.join(sorted(wanted))}"
        state = self.wait_until(
            what,
            lambda: str(self.task_states(dag_id, run_id).get((task_id, map_index))),
            lambda seen: seen in wanted | TASK_ENDED,
            timeout,
        )
        if state not in wanted:
            raise LocalAirflowError(f"{what}: it ended in state {state}\n{self.log_tails()}")
        return state

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> str:
        """
        Return the log of a task instance, with that of its trigger, as text.

        :param dag_id: id of the DAG.
        :param run_id: id of the run.
        :param task_id: id of the task.
        :param try_number: which of its tries.
        :param map_index: which instance of a mapped task.
        """
        response = self.request(
            "GET",
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}",
            params={"map_index": map_index, "full_content": True},
            headers={"Accept": self._release.log_format},
        )
        if not response.headers["Content-Type"].startswith("application/json"):
            return response.text
        return "\n".join(_log_line(entry) for entry in response.json()["content"])

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """
        Return an XCom value.

        :param dag_id: id of the DAG.
        :param run_id: id of the run.
        :param task_id: id of the task that pushed it.
        :param key: the value's key.
        :param map_index: which instance of a mapped task.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.request("GET", path, params={"map_index": map_index, "stringify": False}).json()["value"]

    def wait_until(
        self, what: str, probe: Callable[[], T], reached: Callable[[T], bool], timeout: float = 300
    ) -> T:
        """
        Call a probe until it returns what is wanted, and return that.

        A probe that fails at the REST API is called again.

        :param what: what this waits for, for the error.
        :param probe: the probe.
        :param reached: whether a value of the probe is what is wanted.
        :param timeout: seconds to wait.
        :raises LocalAirflowError: if that takes longer, or a component dies.
        """
        started = time.monotonic()
        deadline = started + timeout
        while True:
            began = time.monotonic()
            try:
                seen = probe()
                if reached(seen):
                    return seen
                last = repr(seen)
            except requests.RequestException as error:
                last = str(error)
            if trouble := self.trouble():
                raise LocalAirflowError(f"{what}: {trouble}")
            if time.monotonic() > deadline:
                problem = f"not within {timeout:g} s; last seen: {last}"
                raise LocalAirflowError(f"{what}: {problem}\n{self.log_tails()}")
            # An Airflow that is slow, or busy for long, is asked less often, and has the more time to work.
            now = time.monotonic()
            time.sleep(max(0.5, 3 * (now - began), 0.02 * (now - started)))

    def _failed_logs(self, dag_id: str, run_id: str, tasks: TaskStates) -> str:
        """Return the end of the first log of each task that has failed, and of Airflow's own logs."""
        logs = []
        for task_id, map_index in (task for task, state in tasks.items() if state == "failed"):
            try:
                log = self.task_log(dag_id, run_id, task_id, map_index=map_index)
            except requests.RequestException as error:
                log = str(error)
            logs.append(f"--- {task_id} {map_index}\n{log[-5000:]}")
        return "\n".join([*logs, self.log_tails()])

    def trouble(self) -> str:
        """Return why waiting longer is useless; empty if it is not."""
        return ""

    def log_tails(self) -> str:
        """Return the end of Airflow's own logs, for an error."""
        return ""


def _log_line(entry: dict[str, Any] | str) -> str:
    if isinstance(entry, str):
        return entry
    shown = {key: value for key, value in entry.items() if key not in _LOG_LOCATION | _LOG_CONTEXT}
    errors = shown.pop("error_detail", None) or ()
    head = [str(shown.pop(key)) for key in ("timestamp", "level", "event") if key in shown]
    lines = [" ".join([*head, *(f"{key}={value!r}" for key, value in shown.items())])]
    for error in errors:
        lines += [f"  {each['filename']}:{each['lineno']} {each['name']}" for each in error["frames"]]
        lines += [f"{error['exc_type']}: {error['exc_value']}"]
    return "\n".join(lines)
