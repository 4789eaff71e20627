"""A gate that reserves: what it refuses, reserves and logs with a real ledger."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
    TaskGroup,
)

from airflow_provider_youcom import _airflow
from airflow_provider_youcom._airflow import LEDGER_ID_KEY
from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError, YouComUnavailableError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.claim import Claim
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
from airflow_provider_youcom.sandbox import Fault, Sandbox
from airflow_provider_youcom.sensors import _reservation
from airflow_provider_youcom.sensors.balance import BalanceSensor
from airflow_provider_youcom.triggers.balance import BalanceTrigger
from airflow_provider_youcom.triggers.reserving import ReservingBalanceTrigger
from tests.connections import connect
from tests.sensors.gates import gate, try_of, work


def airflow_answers(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Any], int]) -> list[Any]:
    asked: list[Any] = []

    def ask(question: Any) -> int:
        asked.append(question)
        return answer(question)

    monkeypatch.setattr(_reservation, "ask", ask)
    return asked


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"min_usd": 0}, "reserve=True and min_usd=0 contradict each other: set min_usd to what"),
        ({"min_usd": "0.00"}, "reserve=True and min_usd=0 contradict"),
        ({"on_unavailable": "pass"}, 'reserve=True and on_unavailable="pass" contradict'),
        ({"start_from_trigger": True, "deferrable": True}, "reserve=True needs a worker to start the task"),
        ({"reserve_for": 0}, "reserve_for=0 is not a duration: use a timedelta or a number of seconds"),
        ({"reserve_for": -1}, "reserve_for=-1 is not a duration"),
        ({"reserve_for": timedelta(0)}, r"reserve_for=0\.0 is not a duration"),
        ({"reserve_for": "soon"}, "reserve_for='soon' is not a duration"),
        ({"reserve_for": True}, "reserve_for=True is not a duration"),
    ],
)
def test_an_invalid_option_is_refused_when_the_dag_is_parsed(options: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        BalanceSensor(**{"task_id": "gate", "min_usd": 25, "reserve": True, **options})


def test_a_gate_that_opens_has_reserved_what_it_needs_for_the_tasks_behind_it(ledger: Ledger):
    opened = gate(reserve_for=timedelta(hours=6)).execute(try_of("monday"))
    assert (opened["balance_usd"], opened["reserved_usd"], opened["available_usd"]) == (100, 0, 100)
    (standing,) = ledger.standing()
    assert standing.amount_usd == 25
    assert standing.task_ids == ("search", "summarize")
    assert standing.expires_at - standing.reserved_at == timedelta(hours=6)
    assert json.dumps(opened)


def test_a_gate_that_opens_tells_its_teardown_in_which_ledger_it_has_reserved(ledger: Ledger):
    context = try_of("monday")
    gate().execute(context)
    assert context["ti"].pushed == {"youcom_ledger_id": ledger.id}


def test_a_gate_opens_by_what_is_available_and_not_by_the_balance(ledger: Ledger):
    gate(min_usd=70).execute(try_of("monday"))
    with pytest.raises(
        AirflowFailException,
        match=r"^\$0\.50 short of \$30\.50\. The balance is \$100\.00, of which 1 run has reserved \$70\.00 ",
    ):
        gate(min_usd=30.5, on_shortfall="fail").execute(try_of("tuesday"))
    result = gate(min_usd=30).execute(try_of("tuesday"))
    assert (result["reserved_usd"], result["available_usd"]) == (70, 30)
    assert sum(each.amount_usd for each in ledger.standing()) == 100


def test_credits_reserved_by_the_same_run_are_named(ledger: Ledger, caplog: pytest.LogCaptureFixture):
    gate(min_usd=70).execute(try_of("monday"))
    other = try_of("monday")
    other["ti"].task_id, other["ti"].id = "second_gate", "another"
    with pytest.raises(AirflowSkipException, match=r"of which this run has reserved \$70\.00"):
        gate(min_usd=40, on_shortfall="skip").execute(other)


def test_a_try_that_checks_twice_reserves_once(ledger: Ledger):
    for _ in range(3):
        gate(min_usd=60).execute(try_of("monday"))
    assert len(ledger.standing()) == 1


def test_a_gate_that_waits_in_poke_mode_opens_when_other_reservations_have_ended(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    gate(min_usd=70).execute(try_of("monday"))
    (monday,) = ledger.standing()
    checks: list[int] = []
    poke = BalanceSensor.poke

    def count_and_poke(self: BalanceSensor, context: Any) -> Any:
        checks.append(1)
        if len(checks) == 3:
            ledger.end([monday.id], EndReason.RELEASED, by="test")
        return poke(self, context)

    airflow_answers(monkeypatch, lambda question: 1)
    monkeypatch.setattr(BalanceSensor, "poke", count_and_poke)
    gate(min_usd=70).execute(try_of("tuesday"))
    assert len(checks) >= 3


def test_a_new_try_replaces_an_earlier_reservation_once_no_task_behind_the_gate_may_spend(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    gate(min_usd=70).execute(try_of("monday", 1))
    (first,) = ledger.standing()
    asked = airflow_answers(monkeypatch, lambda question: 2)
    with caplog.at_level(logging.INFO), pytest.raises(AirflowSkipException, match="this run has reserved"):
        gate(min_usd=70, on_shortfall="skip").execute(try_of("monday", 2))
    assert (
        "An earlier attempt of this gate keeps its $70.00, since 2 of the tasks behind it may" in caplog.text
    )
    assert asked[0].task_ids == ("search", "summarize")

    airflow_answers(monkeypatch, lambda question: 0)
    with pytest.raises(AirflowSkipException):
        # It counts during its grace: the tasks of the earlier try may still be dying.
        gate(min_usd=70, on_shortfall="skip").execute(try_of("monday", 2))
    assert ledger.get([first.id])[0].end_reason is EndReason.SUPERSEDED
    gate(min_usd=30).execute(try_of("monday", 2))


def test_an_airflow_that_does_not_answer_ends_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    gate(min_usd=70).execute(try_of("monday", 1))

    def no_answer(question: Any) -> int:
        raise OSError("the API server is away")

    airflow_answers(monkeypatch, no_answer)
    with pytest.raises(AirflowSkipException):
        gate(min_usd=70, on_shortfall="skip").execute(try_of("monday", 2))
    assert len(ledger.standing()) == 1


def test_a_try_that_was_overtaken_fails_without_retries(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    airflow_answers(monkeypatch, lambda question: 0)
    gate(min_usd=10).execute(try_of("monday", 2))
    with pytest.raises(AirflowFailException, match="A newer attempt of task 'gate' has asked for credits"):
        gate(min_usd=10).execute(try_of("monday", 1))


def test_a_waiting_gate_ends_the_reservations_of_finished_runs(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    gate(min_usd=70).execute(try_of("monday"))
    gate(min_usd=10).execute(try_of("tuesday"))

    def airflow(question: Any) -> int:
        over = {"monday"}
        wants_over = "success" in question.states
        return sum((run in over) is wants_over for run in question.run_ids)

    airflow_answers(monkeypatch, airflow)
    # A minute ago, by the ledger's clock.
    ledger._ready().write(
        lambda connection: connection.exec_driver_sql("UPDATE youcom_reservations SET asked_at = 0")
    )
    with pytest.raises(AirflowSkipException):
        gate(min_usd=80, on_shortfall="skip").execute(try_of("wednesday"))
    ends = {each.holder.run_id: each.end_reason for each in ledger.history()}
    assert ends == {"monday": EndReason.RUN_OVER, "tuesday": None}


def test_the_policy_decides_when_the_ledger_does_not_answer(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    held = ledger._database._engine.connect()
    held.exec_driver_sql("BEGIN EXCLUSIVE")
    monkeypatch.setattr(ledger._database, "_milliseconds", 1)
    monkeypatch.setattr(ledger._database, "_answer_within", 0.01)
    with pytest.raises(YouComUnavailableError, match="What is reserved is unknown, since the ledger"):
        gate(on_unavailable="fail").execute(try_of("monday"))
    with pytest.raises(AirflowSensorTimeout, match="What is reserved is unknown"):
        gate(timeout=0.05).execute(try_of("monday"))
    held.close()


def test_nothing_is_reserved_when_you_com_does_not_answer(ledger: Ledger, sandbox: Sandbox):
    sandbox.inject(Fault(status=503), times=20)
    with pytest.raises(YouComUnavailableError):
        gate(on_unavailable="fail").execute(try_of("monday"))
    assert ledger.history() == []


def test_a_threshold_that_rendered_to_nonsense_fails_without_retries(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
):
    sensor = gate()
    sensor.min_usd = "ten"
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(AirflowFailException, match="min_usd='ten' is not an amount"),
    ):
        sensor.execute(try_of("monday"))
    assert "reserves nothing" not in caplog.text


def test_an_amount_that_no_ledger_can_hold_fails_without_retries(ledger: Ledger, sandbox: Sandbox):
    sandbox.set_balance(2_000_000_000)
    sensor = gate()
    sensor.min_usd = 900_000_001
    with pytest.raises(AirflowFailException, match="amount_usd=900000001 cannot be reserved"):
        sensor.execute(try_of("monday"))
    assert ledger.history() == []


@pytest.mark.parametrize("min_usd", [0, "0", "0.00"])
def test_a_gate_that_turns_out_to_need_nothing_reserves_nothing(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, min_usd: object
):
    sensor = gate()
    sensor.min_usd = min_usd
    with caplog.at_level(logging.INFO):
        opened = sensor.execute(try_of("monday"))
    assert (opened["balance_usd"], ledger.history()) == (100, [])
    assert "min_usd is 0, so this gate reserves nothing." in caplog.text


def test_a_gate_that_needs_nothing_waits_for_debts_like_one_that_does_not_reserve(
    ledger: Ledger, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
):
    next(iter(sandbox.accounts.values())).balance_cents = Decimal(-1)
    polling = gate()
    polling.min_usd = "0"
    assert polling.poke(try_of("monday")) is False
    assert ledger.line.places() == []
    assert "line" not in caplog.text, "it has asked for a place"
    sensor = gate(deferrable=True)
    sensor.min_usd = "0"
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(try_of("monday"))
    assert type(deferred.value.trigger) is BalanceTrigger
    opened = sensor.execute_complete(
        try_of("monday"), {"action": "open", "reason": "enough", "balance": {"balance_usd": 1}}
    )
    assert opened == {"balance_usd": 1}


def test_a_connection_without_a_ledger_fails_and_says_where_to_name_one(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    connect(monkeypatch, sandbox)
    with pytest.raises(AirflowFailException, match="Reserving credits needs a ledger"):
        gate().execute(try_of("monday"))


def test_a_gate_that_waits_without_a_worker_carries_its_identity(ledger: Ledger, sandbox: Sandbox):
    sandbox.set_balance(1)
    with pytest.raises(TaskDeferred) as deferred:
        gate(deferrable=True).execute(try_of("monday"))
    trigger = deferred.value.trigger
    assert type(trigger) is ReservingBalanceTrigger
    path, options = trigger.serialize()
    assert path == "airflow_provider_youcom.triggers.reserving.ReservingBalanceTrigger"
    claim = Claim.from_json(json.loads(json.dumps(options["claim"])), Decimal(options["min_usd"]))
    assert (claim.attempt.id, claim.attempt.holder.run_id, claim.amount_usd) == ("monday-1", "monday", 25)
    assert claim.task_ids == ("search", "summarize")
    assert claim.ledger_id == ledger.id


def test_a_connection_that_airflow_cannot_read_now_is_waited_for_without_a_worker(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    def away(self: YouComHook, conn_id: str) -> Any:
        raise OSError("the API server is away")

    monkeypatch.setattr(YouComHook, "get_connection", away)
    with pytest.raises(TaskDeferred) as deferred:
        gate(deferrable=True).execute(try_of("monday"))
    assert type(deferred.value.trigger) is ReservingBalanceTrigger


def test_a_gate_that_does_not_reserve_sends_what_an_older_triggerer_understands(sandbox: Sandbox):
    sandbox.set_balance(1)
    with pytest.raises(TaskDeferred) as deferred:
        gate(deferrable=True, reserve=False).execute(try_of("monday"))
    assert type(deferred.value.trigger) is BalanceTrigger
    assert "claim" not in deferred.value.trigger.serialize()[1]


def event_of(reservation_id: str | None) -> dict[str, Any]:
    event = {"action": "open", "reason": "enough", "balance": {"balance_usd": 100}}
    return event if reservation_id is None else {**event, "reservation_id": reservation_id}


def test_the_task_ends_with_the_reservation_of_the_triggerer(ledger: Ledger):
    gate().execute(try_of("monday"))
    (standing,) = ledger.standing()
    resumed = try_of("monday")
    assert gate().execute_complete(resumed, event_of(standing.id)) == {"balance_usd": 100}
    assert resumed["ti"].pushed == {LEDGER_ID_KEY: ledger.id}


@pytest.mark.parametrize("reason", [EndReason.EXPIRED, EndReason.BY_HAND])
def test_a_reservation_that_ended_while_the_task_was_queued_is_made_again(
    ledger: Ledger, task_log: pytest.LogCaptureFixture, reason: EndReason
):
    gate(min_usd=40).execute(try_of("monday"))
    (ended,) = ledger.standing()
    ledger.end([ended.id], reason, by="test")
    assert "available_usd" in gate(min_usd=40).execute_complete(try_of("monday"), event_of(ended.id))
    assert ledger.standing()[0].id != ended.id
    assert "Checking again, since what the triggerer reserved does not stand any more." in task_log.text


def test_a_gate_checks_again_if_the_ledger_does_not_say_whether_its_reservation_stands(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, task_log: pytest.LogCaptureFixture
):
    gate().execute(try_of("monday"))
    (standing,) = ledger.standing()

    def away(self: Ledger, ids: Any) -> Any:
        raise YouComLedgerUnavailableError("What is reserved is unknown, since the ledger is away.")

    monkeypatch.setattr(Ledger, "get", away)
    assert gate().execute_complete(try_of("monday"), event_of(standing.id))["available_usd"] == 100
    assert "does not say whether the reservation stands: What is reserved is unknown" in task_log.text


def test_an_event_from_before_the_gate_reserved_does_not_open_it(ledger: Ledger, sandbox: Sandbox):
    assert gate().execute_complete(try_of("monday"), event_of(None))["available_usd"] == 100
    assert len(ledger.standing()) == 1


def alone(**options: Any) -> BalanceSensor:
    """Return a gate that nothing releases: one task here is for another gate, the other not behind it."""
    with DAG("pipeline", start_date=pendulum.datetime(2026, 1, 1), schedule=None):
        made = BalanceSensor(task_id="gate", min_usd=25, reserve=True, **options)
        made >> work("search") >> ReleaseCreditsOperator(task_id="of_another", gate_task_id="another_gate")
        ReleaseCreditsOperator(task_id="not_behind_it", gate_task_id="gate")
    return made


NEVER_RELEASED = (
    "No task releases what gate gate reserves, so other gates go without it until the run is over"
)


def test_a_gate_that_nothing_releases_says_so_when_it_opens(ledger: Ledger, caplog: pytest.LogCaptureFixture):
    alone().execute(try_of("monday"))
    assert caplog.text.count(NEVER_RELEASED) == 1
    (standing,) = ledger.standing()
    alone(deferrable=True).execute_complete(try_of("monday"), event_of(standing.id))
    assert caplog.text.count(NEVER_RELEASED) == 2


@pytest.mark.parametrize("end_from_trigger", [True, False])
def test_a_gate_that_will_end_without_a_worker_says_before_it_waits_that_nothing_releases_it(
    ledger: Ledger, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, end_from_trigger: bool
):
    sandbox.set_balance(1)
    with pytest.raises(TaskDeferred):
        alone(deferrable=True, end_from_trigger=end_from_trigger).execute(try_of("monday"))
    assert caplog.text.count(NEVER_RELEASED) == end_from_trigger


def test_a_gate_that_is_released_or_reserves_nothing_says_nothing_of_it(
    ledger: Ledger, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
):
    gate().execute(try_of("monday"))
    alone_but_not_reserving = alone()
    alone_but_not_reserving.reserve = False
    alone_but_not_reserving.execute(try_of("tuesday"))
    sandbox.set_balance(1)
    with pytest.raises(TaskDeferred):
        gate(deferrable=True, end_from_trigger=True).execute(try_of("wednesday"))
    with pytest.raises(AirflowSkipException):
        alone(on_shortfall="skip").execute(try_of("thursday"))
    assert "No task releases" not in caplog.text


def test_reservation_always_returns_the_same_teardown_of_its_gate():
    with DAG("pipeline", start_date=pendulum.datetime(2026, 1, 1), schedule=None) as dag:
        made = BalanceSensor(task_id="enough_credit", min_usd=25, reserve=True)
        with made.reservation():
            search = work("search")
        assert made.reservation() is made.reservation()
    teardown = dag.get_task("release_enough_credit")
    assert isinstance(teardown, ReleaseCreditsOperator)
    assert (made.is_setup, teardown.is_teardown) == (True, True)
    assert search.upstream_task_ids == {"enough_credit"}
    assert search.downstream_task_ids == {"release_enough_credit"}
    assert teardown.gate_task_id == "enough_credit"


def test_a_reservation_is_a_teardown_of_its_gate_without_a_block_too():
    with DAG("pipeline", start_date=pendulum.datetime(2026, 1, 1), schedule=None):
        made = BalanceSensor(task_id="enough_credit", min_usd=25, reserve=True)
        teardown = made.reservation()
    assert (made.is_setup, teardown.is_teardown) == (True, True)
    assert made.downstream_task_ids == {"release_enough_credit"}


def test_a_teardown_has_the_connection_the_dag_and_the_group_of_its_gate_wherever_it_is_made():
    dag = DAG("pipeline", start_date=pendulum.datetime(2026, 1, 1), schedule=None)
    group = TaskGroup("research", dag=dag)
    made = BalanceSensor(
        task_id="gate", min_usd=25, reserve=True, youcom_conn_id="youcom_research", dag=dag, task_group=group
    )
    teardown = made.reservation()
    assert (teardown.task_id, teardown.youcom_conn_id) == ("research.release_gate", "youcom_research")
    assert teardown.dag is dag
    # Airflow 2 hands out a proxy of the group.
    assert teardown.task_group.group_id == "research"
    assert made.reservation() is teardown


def test_a_gate_that_reserves_nothing_has_nothing_to_release():
    with pytest.raises(ValueError, match="Gate 'gate' has nothing to release: set reserve=True"):
        gate(reserve=False).reservation()


# A process of its own, since Airflow remembers which hooks it could not import.
OPEN_A_LEDGER = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
from airflow_provider_youcom.exceptions import YouComRefusedError
from airflow_provider_youcom.hooks.youcom import YouComHook
try:
    YouComHook().ledger.note()
except YouComRefusedError as error:
    print(error)
"""


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
@pytest.mark.parametrize(
    ("connection", "missing"),
    [
        ({"conn_type": "sqlite", "host": "/tmp/x.db"}, "airflow.providers.sqlite.hooks.sqlite"),
        ({"conn_type": "postgres", "host": "127.0.0.1"}, "airflow.providers.postgres.hooks.postgres"),
        ({"conn_type": "postgres", "host": "127.0.0.1"}, "psycopg2,psycopg"),
    ],
)
def test_a_missing_package_is_named(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, connection: dict[str, str], missing: str
):
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
    process = subprocess.run(
        [sys.executable, "-c", OPEN_A_LEDGER, missing],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    package = f"apache-airflow-providers-{connection['conn_type']}"
    assert re.search(f"ledger 'ledger' cannot be opened .*: install {package}", process.stdout), (
        process.stderr
    )


def test_a_ledger_in_a_file_causes_a_warning_with_several_machines(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    gate(min_usd=1).execute(try_of("monday"))
    assert "The ledger is a file of this machine" not in caplog.text
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,airflow.executors.CeleryExecutor:team")
    gate(min_usd=1).execute(try_of("tuesday"))
    assert "The ledger is a file of this machine, and the executor uses several machines" in caplog.text


def test_a_gate_waits_on_the_worker_until_the_id_of_its_deployment_is_known(
    ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.set_balance(3)
    asked = []

    def unknown_at_first() -> str:
        asked.append("id")
        if len(asked) < 4:
            raise YouComLedgerUnavailableError("Airflow does not answer.")
        return "deployment"

    monkeypatch.setattr(_airflow, "_deployment_id", unknown_at_first)
    with pytest.raises(TaskDeferred):
        gate(deferrable=True).execute(try_of("run"))
    assert len(asked) == 4
    assert ledger.standing() == []
