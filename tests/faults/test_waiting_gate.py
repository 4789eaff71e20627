"""Every fault of the matrix once more, met by a gate that already waits; then the account is topped up."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_youcom.exceptions import YouComResponseError
from airflow_provider_youcom.gate import Action, Reading, Verdict
from airflow_provider_youcom.sandbox import Fault, Sandbox
from airflow_provider_youcom.sensors.balance import BalanceSensor
from airflow_provider_youcom.triggers import _poll
from airflow_provider_youcom.triggers.balance import BalanceTrigger
from tests.faults.dags import waiting_gate
from tests.faults.dags.waiting_gate import MODES
from tests.faults.fault_matrix import ACCEPTED, CASES, UNAVAILABLE, Case
from tests.faults.places import HOLDS_A_DOLLAR
from tests.faults.tally import Tally
from tests.security.canary import CANARY_KEY, sightings

ENOUGH = 2_000_000
# A proxy, or a CA file, is set for the whole process: all these gates would meet it.
GATES = [case for case in CASES if not case.name.startswith(("proxy", "CA file"))]
# How the task of a gate on a worker ends, by what is to come of the fault.
ENDS = {
    Action.WAIT: ["opens after it"],
    Action.OPEN: ["opens after it", "opens for it"],
    Action.FAIL: ["fails now"],
    Action.RETRY: ["fails this try"],
}
# What a gate in a DAG meets, and the state in which its task must end.
FAULTS = {
    "cut before the answer": (Fault(cut="before"), "success"),
    "cut inside the body": (Fault(cut="inside"), "success"),
    "a byte a second": (Fault(drip=1), "success"),
    "503": (Fault(status=503, body="<html>"), "success"),
    "429": (Fault(status=429, headers={"Retry-After": "1"}), "success"),
    "200 with HTML": (Fault(body="<html>"), "failed"),
    "401": (Fault(status=401, body='{"detail": "revoked"}'), "failed"),
    "302": (Fault(status=302, headers={"Location": "https://elsewhere.invalid"}), "failed"),
}


class WaitingGate:
    """
    A gate whose connection leads to one place after the other.

    :param number: names its connection.
    :param case: the fault that it meets at its second look.
    :param rich: a You.com with enough, which it meets at its third.
    """

    def __init__(self, number: int, case: Case, rich: Sandbox, patch: pytest.MonkeyPatch) -> None:
        self._conn_id = f"gate_{number}"
        self._case = case
        self._rich = rich
        self._patch = patch

    async def verdict(self, poor: Sandbox) -> Verdict:
        """Wait in the triggerer until the gate decides."""
        self._lead_to(poor.base_url)
        trigger = BalanceTrigger(self._conn_id, str(ENOUGH), poke_interval=1)
        async with aclosing(self._readings(trigger)) as readings:
            async for event in trigger.filter_shared_stream(readings):
                return Verdict.from_event(json.loads(json.dumps(event.payload)))
        raise AssertionError("the gate never decided")

    async def _readings(self, trigger: BalanceTrigger) -> AsyncGenerator[Reading]:
        looks = trigger.open_shared_stream(trigger.serialize()[1])
        yield await anext(looks)
        with self._case.place() as base_url:
            self._lead_to(base_url)
            yield await anext(looks)
        self._lead_to(self._rich.base_url)
        yield await anext(looks)

    def ending(self, poor: Sandbox) -> str:
        """Look on a worker until the gate decides, and tell how its task ends."""
        sensor = BalanceSensor(task_id="gate", min_usd=ENOUGH, youcom_conn_id=self._conn_id)
        self._lead_to(poor.base_url)
        assert sensor.poke({}) is False
        try:
            with self._case.place() as base_url:
                self._lead_to(base_url)
                still_waits = sensor.poke({}) is False
            self._lead_to(self._rich.base_url)
            assert sensor.poke({})
        except AirflowFailException:
            return "fails now"
        except YouComResponseError:
            return "fails this try"
        return "opens after it" if still_waits else "opens for it"

    def _lead_to(self, base_url: str) -> None:
        connection = {
            "conn_type": "youcom",
            "host": base_url,
            "password": CANARY_KEY,
            "extra": {"timeout": 2, "retries": 0},
        }
        self._patch.setenv(f"AIRFLOW_CONN_{self._conn_id.upper()}", json.dumps(connection))


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    """What every gate decided; they all wait at the same time, for each waits some seconds."""

    async def all_verdicts(gates: list[WaitingGate], poor: Sandbox) -> list[Verdict]:
        return await asyncio.gather(*(gate.verdict(poor) for gate in gates))

    with you_com_before_and_after() as (poor, rich), pytest.MonkeyPatch.context() as patch:
        # A gate that is asked to come back in an hour does; here, the hour is short.
        patch.setattr(_poll, "LONGEST_BACKOFF", 2.0)
        gates = [WaitingGate(number, case, rich, patch) for number, case in enumerate(GATES)]
        decided = asyncio.run(all_verdicts(gates, poor))
    return dict(zip((case.name for case in GATES), decided, strict=True))


@pytest.fixture(scope="module")
def endings() -> dict[str, str]:
    """How every gate ended on a worker; they all wait at the same time here, too."""
    with (
        you_com_before_and_after() as (poor, rich),
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor(len(GATES)) as workers,
    ):
        gates = [WaitingGate(number, case, rich, patch) for number, case in enumerate(GATES)]
        ended = list(workers.map(lambda gate: gate.ending(poor), gates))
    return dict(zip((case.name for case in GATES), ended, strict=True))


@contextmanager
def you_com_before_and_after() -> Iterator[tuple[Sandbox, Sandbox]]:
    with Sandbox(0, api_key=CANARY_KEY) as poor, Sandbox(ENOUGH, api_key=CANARY_KEY) as rich:
        yield poor, rich


@pytest.mark.parametrize("case", GATES, ids=lambda case: case.name)
def test_a_gate_on_a_worker_gets_over_a_fault_or_ends_for_it(
    case: Case, endings: dict[str, str], tally: Tally
) -> None:
    tally.gates += 1
    assert endings[case.name] in ENDS[case.outcome.wait]
    tally.gates_right += 1


@pytest.mark.parametrize("case", GATES, ids=lambda case: case.name)
def test_a_gate_in_the_triggerer_gets_over_a_fault_or_ends_for_it(
    case: Case, verdicts: dict[str, Verdict], tally: Tally
) -> None:
    tally.gates += 1
    verdict = verdicts[case.name]
    keys = sightings(json.dumps(verdict.to_event()))
    tally.keys_found += keys

    gets_over_it = case.outcome in (UNAVAILABLE, ACCEPTED)
    assert verdict.action is (Action.OPEN if gets_over_it else case.outcome.wait)
    assert keys == 0
    tally.gates_right += 1


@pytest.fixture(scope="module")
def dags_folder(airflow_database: None) -> None:
    """From Airflow 3.1 on, dag.test looks for the DAG there."""
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    shutil.copy(waiting_gate.__file__, folder)


@pytest.mark.usefixtures("dags_folder")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_gate_in_a_dag_gets_over_a_fault_or_ends_for_it(
    fault: str, mode: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    tally.gates += 1
    strikes, state = FAULTS[fault]
    sandbox.inject(Fault(body=HOLDS_A_DOLLAR))
    sandbox.inject(strikes)
    connection = {**json.loads(sandbox.connection()), "extra": {"timeout": 2, "retries": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps(connection))

    run = waiting_gate.waiting_gate(mode).test()

    assert run.get_task_instance("gate").state == state
    assert sandbox.state()["faults"] == 0
    tally.gates_right += 1
