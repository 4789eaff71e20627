"""
The examples do what they say, run unchanged against a You.com that charges for their requests.

On every Airflow, ``tests/real_airflow/test_examples.py`` runs them too.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from copy import copy
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.sandbox import Fault, Sandbox
from tests.examples import EXAMPLES, FOLDER, ON_AIRFLOW_2

needs_airflow_3 = pytest.mark.skipif(ON_AIRFLOW_2, reason="Airflow 2 has no asset watchers")

PARSE_ALONE = """
import runpy, socket, sys, warnings

def refuse(*args, **kwargs):
    raise AssertionError("the example uses the network")

from airflow.providers.common.compat.sdk import DAG
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
for example in sys.argv[1:]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        left_behind = runpy.run_path(example)
    assert not (own := [str(each.message) for each in caught if each.filename == example]), own
    assert "requests" not in left_behind
"""


class Run:
    """One run of an example in this process."""

    def __init__(self, dag_id: str, folder: Path = FOLDER, **conf: Any) -> None:
        run = _parse(folder / f"{dag_id}.py").test(run_conf=conf)
        self.state = str(run.state)
        self._tasks = {(task.task_id, task.map_index): task for task in run.get_task_instances()}

    def task_state(self, task_id: str, map_index: int = -1) -> str:
        return str(self._tasks[task_id, map_index].state)

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        return self._tasks[task_id, -1].xcom_pull(task_ids=task_id, key=key)


def _parse(path: Path) -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 2.11 to 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(path)
    assert not bag.import_errors
    return bag.dags[path.stem]


def _answer_with(balance_cents: float, account_id: str = "4f1c") -> Fault:
    account = {"type": "account", "id": account_id, "attributes": {"balance": balance_cents}}
    return Fault(body=json.dumps({"data": account}))


@pytest.fixture
def airflow(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Airflow with the examples as its DAGs."""
    _take_dags_from(FOLDER, monkeypatch)


def _take_dags_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the folder from which dag.test reads the DAG on Airflow 3.1 and later."""
    bundle = {
        "name": "examples",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))


def _dag_in_the_readme() -> str:
    readme = (FOLDER.parent / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (import_on_2,) = re.findall(r"On Airflow 2\.11, write `(.+)` in place of the second line", readme)
    first, second, *others = code.splitlines()
    return "\n".join([first, second if find_spec("airflow.sdk") else import_on_2, *others])


@pytest.mark.airflow_process
def test_the_examples_parse_without_a_warning_the_network_or_a_database(tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "such" / "airflow.db"
    done = subprocess.run(
        [sys.executable, "-c", PARSE_ALONE, *EXAMPLES],
        env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{nowhere}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_quickstart_opens_its_gate_and_runs_what_is_behind_it(sandbox: Sandbox) -> None:
    run = Run("example_youcom_quickstart")

    assert run.state == "success"
    assert run.task_state("spend") == "success"
    assert run.xcom("enough_credit")["balance_usd"] == 100


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_dag_in_the_readme_runs_on_this_airflow(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "example_youcom_quickstart.py").write_text(_dag_in_the_readme())
    _take_dags_from(tmp_path, monkeypatch)

    run = Run("example_youcom_quickstart", folder=tmp_path)

    assert run.task_state("enough_credit") == "success"
    assert run.task_state("spend") == "success"


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_preflight_gate_waits_then_spends_and_reports_to_a_fraction_of_a_cent(sandbox: Sandbox) -> None:
    sandbox.inject(_answer_with(balance_cents=320))

    run = Run("example_youcom_preflight_gate")

    assert run.state == "success"
    assert run.xcom("enough_credit")["balance_usd"] == 100
    assert run.xcom("research") == [
        "All there is to know about: Why is the sea salty?",
        "All there is to know about: How do tides work?",
        "All there is to know about: Who named the Pacific?",
    ]
    assert run.xcom("report") == {"answers": 3, "balance_fall_usd": 0.036}
    assert sandbox.balance_usd() == Decimal("99.964")
    checks_of_the_gate, checks_of_the_report = 2, 1
    assert sandbox.request_count == checks_of_the_gate + checks_of_the_report


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_report_of_the_preflight_gate_waits_for_charges_that_are_posted_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Sandbox(100, post_charges_after=3) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", sandbox.connection())
        run = Run("example_youcom_preflight_gate")

    assert run.xcom("report") == {"answers": 3, "balance_fall_usd": 0.036}


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_a_top_up_hides_from_the_preflight_gate_what_was_spent(sandbox: Sandbox) -> None:
    sandbox.inject(_answer_with(2500, sandbox.accounts[sandbox.api_key].account_id))

    run = Run("example_youcom_preflight_gate")

    assert run.xcom("enough_credit")["balance_usd"] == 25
    assert run.xcom("report") == {"answers": 3}


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_preflight_gate_spends_nothing_when_there_is_nothing_to_ask(sandbox: Sandbox) -> None:
    run = Run("example_youcom_preflight_gate", questions=[], min_usd=0)

    assert run.state == "success"
    assert run.xcom("report") == {"answers": 0, "balance_fall_usd": 0}
    assert sandbox.balance_usd() == 100


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_preflight_gate_run_fails_when_the_credits_run_out_behind_the_gate(sandbox: Sandbox) -> None:
    sandbox.set_balance("0.013")

    run = Run("example_youcom_preflight_gate", min_usd=0.013, questions=["One?", "Two?"])

    assert run.state == "failed"
    assert run.task_state("enough_credit") == "success"
    assert run.task_state("research") == "failed"
    assert run.task_state("report") == "upstream_failed"
    assert sandbox.balance_usd() == Decimal("0.001")


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
@pytest.mark.parametrize(
    ("balance_usd", "chosen", "left_out"),
    [
        ("50", "research_deeply", "research_lightly"),
        ("49.995", "research_lightly", "research_deeply"),
    ],
)
def test_the_branch_does_what_the_balance_in_xcom_can_pay_for(
    sandbox: Sandbox, balance_usd: str, chosen: str, left_out: str
) -> None:
    sandbox.set_balance(balance_usd)

    run = Run("example_youcom_get_balance")

    assert run.state == "success"
    assert run.task_state(chosen) == "success"
    assert run.task_state(left_out) == "skipped"
    assert run.xcom("get_balance", "balance_usd") == float(balance_usd)
    assert sandbox.request_count == 1


@pytest.fixture
def three_accounts(monkeypatch: pytest.MonkeyPatch) -> Any:
    with Sandbox(100, accounts={"research-key": "20.005", "support-key": 3}) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", sandbox.connection())
        monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_RESEARCH", sandbox.connection("research-key"))
        monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_SUPPORT", sandbox.connection("support-key"))
        yield sandbox


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_many_accounts_are_checked_and_summed_up(three_accounts: Sandbox) -> None:
    run = Run("example_youcom_many_accounts")

    assert run.state == "success"
    assert run.xcom("summarize") == {"accounts": 3, "total_usd": 123.005}
    assert three_accounts.request_count == 3


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_keys_of_one_account_are_counted_once(
    three_accounts: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_SUPPORT", three_accounts.connection())

    run = Run("example_youcom_many_accounts")

    assert run.xcom("summarize") == {"accounts": 2, "total_usd": 120.005}


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_a_refused_key_among_many_fails_alone(three_accounts: Sandbox) -> None:
    three_accounts.accounts["support-key"].has_billing_scope = False

    run = Run("example_youcom_many_accounts")

    assert [run.task_state("get_balance", index) for index in range(3)] == ["success", "success", "failed"]
    assert run.xcom("summarize") == {"accounts": 2, "total_usd": 120.005}


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_reserved_run_spends_and_then_releases_what_it_has_reserved(
    sandbox: Sandbox, ledger: Ledger
) -> None:
    run = Run("example_youcom_reserved_run")

    assert run.state == "success"
    assert run.xcom("enough_credit")["available_usd"] == 100
    assert run.xcom("summarize") == (
        "All there is to know about: Summarize: All there is to know about: Why is the sea salty? "
        "All there is to know about: How do tides work?"
    )
    assert sandbox.balance_usd() == Decimal("99.964")
    (ended,) = ledger.history()
    assert ended.amount_usd == 25
    assert ended.end_reason is EndReason.RELEASED


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_reserved_run_spends_nothing_when_there_is_nothing_to_ask(
    sandbox: Sandbox, ledger: Ledger
) -> None:
    run = Run("example_youcom_reserved_run", questions=[], min_usd=0.01)

    assert run.state == "success"
    assert sandbox.balance_usd() == 100
    assert ledger.standing() == []


@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_reserved_run_that_fails_releases_what_it_has_reserved(sandbox: Sandbox, ledger: Ledger) -> None:
    sandbox.set_balance("0.013")

    run = Run("example_youcom_reserved_run", min_usd=0.013)

    assert run.state == "failed"
    assert run.task_state("research") == "failed"
    assert run.task_state("release_enough_credit") == "success"
    (ended,) = ledger.history()
    assert ended.end_reason is EndReason.CUT_SHORT


@needs_airflow_3
@pytest.mark.usefixtures("airflow")
def test_the_backlog_is_worked_off_until_the_credits_run_out_again(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_YOUCOM_BACKLOG", json.dumps(["One?", "Two?", "Three?"]))
    sandbox.inject(_answer_with(balance_cents=2500))
    sandbox.set_balance("0.025")

    run = Run("example_youcom_backlog")

    assert run.state == "success"
    assert run.xcom("work_off") == ["All there is to know about: One?", "All there is to know about: Two?"]
    assert sandbox.balance_usd() == Decimal("0.001")


@needs_airflow_3
@pytest.mark.on_the_ends
@pytest.mark.usefixtures("airflow")
def test_the_backlog_waits_on_when_the_credits_are_gone_before_the_run_starts(sandbox: Sandbox) -> None:
    sandbox.set_balance("24.99")

    run = Run("example_youcom_backlog")

    assert run.task_state("still_enough") == "skipped"
    assert run.task_state("work_off") == "skipped"


@needs_airflow_3
@pytest.mark.usefixtures("airflow")
def test_the_warning_that_is_run_by_hand_warns_of_nothing(sandbox: Sandbox) -> None:
    run = Run("example_youcom_low_credits")

    assert run.state == "success"
    assert run.xcom("alert") == []


@needs_airflow_3
@pytest.mark.usefixtures("airflow")
def test_an_alert_that_is_run_by_hand_sends_nothing(sandbox: Sandbox) -> None:
    run = Run("example_youcom_alert_once")

    assert run.state == "success"
    assert run.xcom("alert") == []


@needs_airflow_3
@pytest.mark.usefixtures("airflow")
def test_two_lines_that_are_crossed_in_one_check_send_one_alert_each_also_after_a_crash(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sends_alerts.py").write_text(SEND_ALERTS)
    _take_dags_from(tmp_path, monkeypatch)
    monkeypatch.setenv("EXAMPLE", str(FOLDER / "example_youcom_alert_once.py"))
    fired, repeated = asyncio.run(_fall_below_both_lines(sandbox))
    assert repeated == fired

    run = Run("sends_alerts", folder=tmp_path, fired=[*fired, *repeated])

    holds = f"You.com account {sandbox.accounts[sandbox.api_key].account_id} holds $3.00 and has fallen below"
    assert run.xcom("send") == [
        [f"Warning: {holds} the line of $25.00."],
        [f"Critical: {holds} the line of $5.00."],
        [],
        [],
    ]


# Runs the task of the example as Airflow does when it starts a run for an event.
SEND_ALERTS = """
import os, runpy
from types import SimpleNamespace
from airflow.sdk import DAG, task

example = runpy.run_path(os.environ["EXAMPLE"])

@task
def send(dag_run=None):
    return [alerts(example[name], event) for name, event in dag_run.conf["fired"]]

def alerts(dag, event):
    events = [SimpleNamespace(extra={"payload": event})]
    of_asset = SimpleNamespace(get=lambda asset, default: events if asset in dag.schedule else default)
    return dag.task_dict["alert"].python_callable(of_asset)

with DAG("sends_alerts"):
    send()
"""


async def _fall_below_both_lines(sandbox: Sandbox) -> tuple[list[Any], list[Any]]:
    """Return what the watchers of the example fire, and fire again after a crash."""
    example = runpy.run_path(str(FOLDER / "example_youcom_alert_once.py"))
    stores = {name: Store() for name in ("warning", "critical")}

    async def first_events(*checks: Any) -> list[Any]:
        events = []
        for name, store in stores.items():
            watcher = copy(example[name].schedule[0].watchers[0].trigger)
            watcher.asset_state_store = store
            async with aclosing(watcher.filter_shared_stream(yielding(*checks))) as fired:
                events.append((name, (await anext(fired)).payload))
        return events

    async def yielding(*checks: Any) -> AsyncIterator[Any]:
        for check in checks:
            yield check

    trigger = example["warning"].schedule[0].watchers[0].trigger
    async with aclosing(trigger.open_shared_stream({**trigger.serialize()[1], "poke_interval": 1})) as polled:
        sandbox.set_balance(30)
        before = await anext(polled)
        sandbox.set_balance(3)
        after = await anext(polled)
    return await first_events(before, after), await first_events(after)


class Store:
    """Airflow 3.3's state store of one asset."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str) -> Any:
        return self.values.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))
