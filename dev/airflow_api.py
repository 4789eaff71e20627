"""Drive an Airflow through its REST API, of whichever version it is."""

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
    """Airflow did not do what was asked of it."""


class AirflowApi:
    """
    The REST API of an Airflow at which every visitor is an administrator.

    :param base_url: URL of the server, which is that of the UI.
    :param release: The version of Airflow it is.
    """

    def __init__(self, base_url: str, release: Release) -> None:
        self.base_url = base_url
        self._release = release
        self._http = requests.Session()
        # A proxy of the caller, or a password in ~/.netrc, has no business here.
        self._http.trust_env = False

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """
        Call the REST API.

        :param method: HTTP method.
        :param path: Path below ``/api/v1`` or ``/api/v2``.
        :param options: What :meth:`requests.Session.request` takes.
        :raises requests.HTTPError: For any answer that is not a success.
        """
        options.setdefault("timeout", 30)
        url = f"{self.base_url}{self._release.api}{path}"
        response = self._http.request(method, url, **options)
        if response.status_code == requests.codes.unauthorized:
            token = self._http.get(f"{self.base_url}/auth/token", timeout=30).json()["access_token"]
            self._http.headers["Authorization"] = f"Bearer {token}"
            response = self._http.request(method, url, **options)
        if not response.ok:
            message = f"{method} {path}: {response.status_code} {response.text[:2000]}"
            raise requests.HTTPError(message, response=response)
        return response

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> None:
        """
        Wait until a DAG is parsed and can be triggered, and unpause it.

        :param dag_id: Id of the DAG.
        :param timeout: Seconds to wait.
        """
        path = f"/dags/{dag_id}"
        try:
            self.wait_until(f"DAG {dag_id}", lambda: self.request("GET", f"{path}/details"), bool, timeout)
        except LocalAirflowError as error:
            broken = self.request("GET", "/importErrors").json()["import_errors"]
            traces = "".join(f"\n--- {each['filename']}\n{each['stack_trace']}" for each in broken)
            raise LocalAirflowError(f"{error}{traces}") from None
        self.request("PATCH", path, json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """
        Start a run of a DAG and return its id.

        :param dag_id: Id of the DAG.
        :param conf: Configuration of the run.
        :param run_id: Id for it; by default Airflow makes one.
        """
        body: dict[str, Any] = {**self._release.trigger_defaults, "conf": dict(conf or {})}
        if run_id:
            body["dag_run_id"] = run_id
        return str(self.request("POST", f"/dags/{dag_id}/dagRuns", json=body).json()["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """
        Return the state of a run.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        """
        return str(self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}").json()["state"])

    def task_states(self, dag_id: str, run_id: str) -> TaskStates:
        """
        Return the state of each task instance of a run, by task id and map index (-1 if not mapped).

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self.request("GET", path, params={"limit": 10_000}).json()["task_instances"]
        return {(each["task_id"], each["map_index"]): each["state"] for each in found}

    def wait_for_run(self, dag_id: str, run_id: str, *states: str, timeout: float = 120) -> str:
        """
        Wait until a run is in one of some states, and return it.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param states: The states; by default those in which a run has ended.
        :param timeout: Seconds to wait.
        :raises LocalAirflowError: After that, or as soon as the run has ended in another state.
        """
        wanted = frozenset(states) or RUN_ENDED
        what = f"run {run_id} of {dag_id} in state {'/'.join(sorted(wanted))}"
        state, tasks = self.wait_until(
            what,
            lambda: (self.run_state(dag_id, run_id), self.task_states(dag_id, run_id)),
            lambda seen: seen[0] in wanted | RUN_ENDED,
            timeout,
        )
        if state not in wanted:
            raise LocalAirflowError(f"{what}: it ended otherwise, {state}: {tasks}\n{self.log_tails()}")
        return state

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, *states: str, map_index: int = -1, timeout: float = 120
    ) -> str:
        """
        Wait until a task instance is in one of some states, and return it.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param states: The states; by default those in which a task has ended.
        :param map_index: Which instance of a mapped task.
        :param timeout: Seconds to wait.
        :raises LocalAirflowError: After that, or as soon as the task has ended in another state.
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
            raise LocalAirflowError(f"{what}: it ended otherwise, {state}\n{self.log_tails()}")
        return state

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> str:
        """
        Return the log of a task instance as text, with what its trigger wrote.

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task.
        :param try_number: Which of its tries.
        :param map_index: Which instance of a mapped task.
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

        :param dag_id: Id of the DAG.
        :param run_id: Id of the run.
        :param task_id: Id of the task that pushed it.
        :param key: Its key.
        :param map_index: Which instance of a mapped task.
        """
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.request("GET", path, params={"map_index": map_index, "stringify": False}).json()["value"]

    def wait_until(
        self, what: str, probe: Callable[[], T], reached: Callable[[T], bool], timeout: float = 120
    ) -> T:
        """
        Look at something again and again until it is as wanted, and return what was seen then.

        A probe that gets no good answer from the REST API is tried again.

        :param what: What is waited for, for the error.
        :param probe: Looks.
        :param reached: Whether what was seen is what is wanted.
        :param timeout: Seconds to wait.
        :raises LocalAirflowError: After that, or as soon as there is no hope left.
        """
        deadline = time.monotonic() + timeout
        while True:
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
                problem = f"not within {timeout:g} s, last seen: {last}"
                raise LocalAirflowError(f"{what}: {problem}\n{self.log_tails()}")
            time.sleep(0.3)

    def trouble(self) -> str:
        """Return why it is no use to wait any longer, or nothing."""
        return ""

    def log_tails(self) -> str:
        """Return the end of the logs of Airflow itself, for an error."""
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
