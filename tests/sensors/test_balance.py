from __future__ import annotations

import time
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
    AirflowTaskTimeout,
    Asset,
    TaskDeferred,
)

from airflow_provider_youcom.exceptions import (
    YouComResponseError,
    YouComSpendCapError,
    YouComUnavailableError,
)
from airflow_provider_youcom.gate import CreditGate
from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.sandbox import Fault, Sandbox
from airflow_provider_youcom.sensors.balance import BalanceSensor


def gate(**options: object) -> BalanceSensor:
    return BalanceSensor(**{"task_id": "gate", "min_usd": 25, "poke_interval": 0.01, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"min_usd": "ten"}, "min_usd='ten' is not an amount in dollars"),
        ({"min_usd": -1}, "min_usd=-1 is not an amount in dollars"),
        ({"min_usd": float("nan")}, "min_usd=nan is not an amount in dollars"),
        ({"min_usd": None}, "min_usd=None is not an amount in dollars"),
        ({"on_shortfall": "pass"}, "on_shortfall='pass' is not a policy"),
        ({"on_unavailable": "skip"}, "on_unavailable='skip' is not a policy"),
        (
            {"silent_fail": True, "on_unavailable": "fail"},
            'silent_fail=True and on_unavailable="fail" contradict',
        ),
        ({"soft_fail": True, "never_fail": True}, "soft_fail and never_fail are mutually exclusive"),
        ({"start_from_trigger": True}, "need deferrable=True"),
        ({"end_from_trigger": True}, "need deferrable=True"),
    ],
)
def test_an_invalid_option_is_refused_when_the_dag_is_parsed(options: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        gate(**{"deferrable": False, **options})


@pytest.mark.parametrize(
    ("options", "lost"),
    [
        ({"outlets": [Asset("credits")]}, "outlets"),
        ({"on_success_callback": print}, "on_success_callback"),
        ({"on_execute_callback": print}, "on_execute_callback"),
        ({"on_skipped_callback": print}, "on_skipped_callback"),
        ({"pre_execute": print}, "pre_execute"),
        ({"post_execute": print}, "post_execute"),
        ({"multiple_outputs": True}, "multiple_outputs"),
    ],
)
def test_an_option_that_would_be_lost_without_a_worker_is_refused_when_the_dag_is_parsed(
    options: dict, lost: str
):
    with pytest.raises(ValueError, match=f"end_from_trigger=True would ignore {lost}"):
        gate(deferrable=True, end_from_trigger=True, **options)


def test_a_threshold_from_another_task_cannot_start_in_the_triggerer():
    with DAG("d", start_date=pendulum.datetime(2026, 1, 1), schedule=None):
        limit = GetBalanceOperator(task_id="limit").output["balance_usd"]
        with pytest.raises(ValueError, match="start_from_trigger=True cannot take min_usd from another task"):
            gate(deferrable=True, start_from_trigger=True, min_usd=limit)
    with pytest.raises(ValueError, match="start_from_trigger=True cannot take youcom_conn_id"):
        gate(deferrable=True, start_from_trigger=True, youcom_conn_id="{{ ti.xcom_pull('which') }}")


@pytest.mark.parametrize("limit", ["max_active_tis_per_dag", "max_active_tis_per_dagrun"])
def test_a_limit_that_a_start_in_the_triggerer_would_ignore_is_refused_when_the_dag_is_parsed(limit: str):
    with pytest.raises(ValueError, match=f"start_from_trigger=True would ignore {limit}"):
        gate(deferrable=True, start_from_trigger=True, **{limit: 1})


def test_a_mapped_gate_that_starts_on_a_worker_may_have_options_that_the_triggerer_would_ignore():
    with DAG("d", start_date=pendulum.datetime(2026, 1, 1), schedule=None):
        limit = GetBalanceOperator(task_id="limit").output["balance_usd"]
        mapped = BalanceSensor.partial(
            task_id="gate", min_usd=limit, deferrable=True, start_from_trigger=True, max_active_tis_per_dag=1
        ).expand(youcom_conn_id=["youcom_default"])
    made_on_the_worker = mapped.unmap({"youcom_conn_id": "youcom_default"})
    assert made_on_the_worker.youcom_conn_id == "youcom_default"


def test_a_template_or_another_tasks_output_is_checked_only_when_the_task_runs():
    gate(min_usd="{{ params.nothing }}")
    with DAG("d", start_date=pendulum.datetime(2026, 1, 1), schedule=None):
        limit = GetBalanceOperator(task_id="limit")
        waiting = gate(min_usd=limit.output["balance_usd"])
    assert waiting.upstream_task_ids == {"limit"}


@pytest.mark.parametrize("min_usd", ["", "ten", "{{ params.nothing }}"])
def test_a_threshold_that_rendered_to_nonsense_fails_without_retries_and_stays_red(
    sandbox: Sandbox, min_usd: str
):
    sensor = gate(soft_fail=True)
    sensor.min_usd = min_usd
    with pytest.raises(AirflowFailException, match=r"min_usd='.*' is not an amount in dollars"):
        sensor.execute({})


@pytest.mark.parametrize("min_usd", [25, 25.0, "25", "25.00", Decimal("25")])
def test_a_sufficient_balance_opens_the_gate_and_is_returned(sandbox: Sandbox, min_usd: object):
    sandbox.set_balance(25)
    assert gate(min_usd=min_usd).execute({})["balance_usd"] == 25


def test_a_gate_that_times_out_says_what_it_last_saw(sandbox: Sandbox):
    sandbox.set_balance("3.20")
    with pytest.raises(AirflowSensorTimeout, match=r"Last seen: \$21.80 short of \$25.00. The balance is"):
        gate(timeout=0).execute({})


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_a_gate_with_soft_fail_or_never_fail_is_skipped_when_it_times_out(sandbox: Sandbox, option: str):
    sandbox.set_balance(0)
    with pytest.raises(AirflowSkipException):
        gate(timeout=0, **{option: True}).execute({})


def test_a_key_at_its_spending_cap_fails_the_task_without_retries_under_soft_fail(sandbox: Sandbox):
    sandbox.inject(Fault(status=429, body='{"code": "spend_cap_exceeded"}'), times=None)
    with pytest.raises(AirflowFailException, match="raise the cap at .*, or use another key"):
        gate(soft_fail=True, on_unavailable="pass").execute({})
    assert sandbox.request_count == 1
    sent = verdict(YouComSpendCapError("The key has reached its spending cap."))
    with pytest.raises(AirflowFailException, match="spending cap"):
        gate(soft_fail=True).execute_complete({}, sent)


def test_never_fail_skips_even_a_refused_key(sandbox: Sandbox):
    sandbox.inject(Fault(status=401))
    with pytest.raises(AirflowSkipException):
        gate(never_fail=True).execute({})


def test_a_missing_connection_fails_the_task_under_soft_fail(airflow_database: None):
    with pytest.raises(AirflowFailException, match="There is no connection 'nowhere'"):
        gate(youcom_conn_id="nowhere", soft_fail=True).execute({})


def test_silent_fail_goes_on_after_an_answer_that_cannot_be_read(sandbox: Sandbox):
    sandbox.inject(Fault(body="{}"), times=2)
    assert gate(silent_fail=True).execute({})["balance_usd"] == 100
    assert sandbox.request_count == 3


def test_an_open_gate_does_not_defer(sandbox: Sandbox):
    assert gate(deferrable=True).execute({})["balance_usd"] == 100


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(body="{}")], ids=["unavailable", "not the contract, under silent_fail"]
)
def test_a_gate_that_waits_says_so_and_defers_after_one_check(
    sandbox: Sandbox, fault: Fault, task_log: pytest.LogCaptureFixture
):
    sandbox.inject(fault, times=3)
    with pytest.raises(TaskDeferred):
        gate(deferrable=True, silent_fail=True).execute({})
    (line,) = (message for message in task_log.messages if "You.com" in message)
    assert line.startswith("Waiting: ")


def test_every_option_is_kept_when_deferred(sandbox: Sandbox):
    sandbox.set_balance(1)
    sensor = gate(
        deferrable=True,
        on_unavailable="pass",
        poke_interval=30,
        timeout=600,
        exponential_backoff=True,
        max_wait=timedelta(minutes=2),
        silent_fail=True,
        do_xcom_push=False,
        min_usd=Decimal("25.10"),
    )
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    assert deferred.value.timeout == timedelta(seconds=600)
    assert deferred.value.method_name == "execute_complete"
    arguments = deferred.value.trigger.serialize()[1]
    looked_at = arguments.pop("looked_at")
    assert before <= looked_at <= time.time()
    assert arguments.pop("ends_at") == looked_at + 600
    assert arguments == {
        "youcom_conn_id": "youcom_default",
        "min_usd": "25.10",
        "on_shortfall": "wait",
        "on_unavailable": "pass",
        "poke_interval": 30,
        "exponential_backoff": True,
        "max_wait": 120,
        "silent_fail": True,
        "end_from_trigger": False,
        "do_xcom_push": False,
    }


def verdict(reading: object, **policy: object) -> dict:
    return CreditGate(25, **policy).judge(reading).to_event()  # type: ignore[arg-type]


def test_the_task_ends_with_the_verdict_of_the_triggerer(sandbox: Sandbox):
    unavailable = YouComUnavailableError("No answer.")
    passed = gate().execute_complete({}, verdict(unavailable, on_unavailable="pass"))
    assert passed["balance_usd"] is None
    with pytest.raises(YouComUnavailableError, match="No answer"):
        gate().execute_complete({}, verdict(unavailable, on_unavailable="fail"))
    with pytest.raises(YouComResponseError, match="Nonsense"):
        gate().execute_complete({}, verdict(YouComResponseError("Nonsense.")))
    assert sandbox.request_count == 0


@pytest.mark.parametrize("event", ["success", {"action": "ask the worker"}, None])
def test_an_event_without_a_verdict_makes_the_worker_check(sandbox: Sandbox, event: object):
    assert gate(deferrable=True).execute_complete({}, event)["balance_usd"] == 100


TIMED_OUT = [
    {"error": "Trigger timeout"},
    {"error": "Trigger/execution timeout"},
    # The trigger fired at the moment of the timeout.
    {"event": {"action": "time out"}},
    {"event": {"action": "open", "reason": "Enough.", "balance": None}},
]


@pytest.mark.parametrize("stored", TIMED_OUT)
def test_a_deferral_that_timed_out_checks_once_more_and_then_fails_without_retries(
    sandbox: Sandbox, stored: dict[str, Any]
):
    sandbox.set_balance("3.20")
    sensor = gate(deferrable=True, timeout=60)
    with pytest.raises(
        AirflowSensorTimeout, match=r"The timeout of 60 s is over. Last seen: \$21.80 short of \$25.00"
    ):
        sensor.resume_execution("__fail__", dict(stored), {})
    sandbox.top_up(50)
    assert sensor.resume_execution("__fail__", dict(stored), {})["balance_usd"] == 53.2


def test_an_earlier_execution_timeout_ends_the_wait_and_allows_retries(sandbox: Sandbox):
    sandbox.set_balance("3.20")
    sensor = gate(
        deferrable=True, timeout=60, execution_timeout=timedelta(seconds=5), start_from_trigger=True
    )
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({})
    assert deferred.value.timeout == sensor.start_trigger_args.timeout == timedelta(seconds=5)
    with pytest.raises(AirflowTaskTimeout, match="The execution_timeout of 5 s is over. Last seen: "):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})


def test_a_later_execution_timeout_changes_nothing(sandbox: Sandbox):
    sandbox.set_balance(0)
    sensor = gate(deferrable=True, timeout=5, execution_timeout=timedelta(seconds=60))
    with pytest.raises(AirflowSensorTimeout, match="The timeout of 5 s is over"):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})


def test_a_gate_that_the_triggerer_could_not_run_fails_under_soft_fail():
    failure = {"error": "Trigger failure", "traceback": ["ModuleNotFoundError: airflow_provider_youcom"]}
    with pytest.raises(Exception, match="Trigger failure") as caught:
        gate(deferrable=True, soft_fail=True).resume_execution("__fail__", dict(failure), {})
    assert not isinstance(caught.value, AirflowSkipException)
    with pytest.raises(AirflowSkipException):
        gate(deferrable=True, never_fail=True).resume_execution("__fail__", dict(failure), {})


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_a_deferral_that_timed_out_is_skipped_under_soft_fail_or_never_fail(sandbox: Sandbox, option: str):
    sandbox.set_balance(0)
    with pytest.raises(AirflowSkipException):
        gate(deferrable=True, **{option: True}).resume_execution("__fail__", {"error": "Trigger timeout"}, {})


def test_never_fail_skips_an_answer_that_cannot_be_read_after_the_deferral_too():
    event = verdict(YouComResponseError("Nonsense."))
    with pytest.raises(AirflowSkipException):
        gate(never_fail=True).resume_execution("execute_complete", {"event": event}, {})


def test_construction_reads_no_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", "not a connection at all")
    gate(deferrable=True, start_from_trigger=True, end_from_trigger=True)
