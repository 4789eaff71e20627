from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import (
    YouComError,
    YouComRefusedError,
    YouComSpendCapError,
    YouComUnavailableError,
)
from airflow_provider_youcom.gate import Verdict
from airflow_provider_youcom.hooks import _lookup
from airflow_provider_youcom.sandbox import Fault, Sandbox
from airflow_provider_youcom.triggers import _poll, _polling_trigger
from airflow_provider_youcom.triggers.balance import NOT_RENDERED, TIMED_OUT, BalanceTrigger

# The arguments that each released version serialized: gates that wait with them outlive an upgrade.
EARLIER_ARGUMENTS: list[dict[str, Any]] = [
    {
        "youcom_conn_id": "youcom_default",
        "min_usd": "25",
        "on_shortfall": "wait",
        "on_unavailable": "wait",
        "poke_interval": 1.0,
        "exponential_backoff": False,
        "max_wait": None,
        "silent_fail": False,
        "end_from_trigger": False,
        "do_xcom_push": True,
    },
]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_poll, "SHORTEST_PAUSE", 0.01)


def trigger(**options: Any) -> BalanceTrigger:
    return BalanceTrigger(**{"min_usd": "25", "poke_interval": 0.01, **options})


async def first(events: AsyncIterator[TriggerEvent]) -> TriggerEvent:
    async with aclosing(events) as open_events:  # type: ignore[type-var]
        return await anext(open_events)


def fire(fired: BalanceTrigger) -> TriggerEvent:
    return asyncio.run(asyncio.wait_for(first(fired.run()), 60))


def test_it_fires_with_the_verdict_once_there_is_enough(sandbox: Sandbox):
    payload = fire(trigger()).payload
    assert payload["action"] == "open"
    assert payload["balance"]["balance_usd"] == 100


def test_it_keeps_checking_while_there_is_not_enough(sandbox: Sandbox):
    sandbox.set_balance(1)

    async def top_up_after_three_checks() -> TriggerEvent:
        waiting = asyncio.create_task(first(trigger().run()))
        while sandbox.request_count < 3:
            await asyncio.sleep(0.01)
        sandbox.top_up(50)
        return await asyncio.wait_for(waiting, 60)

    assert asyncio.run(top_up_after_three_checks()).payload["balance"]["balance_usd"] == 51


def test_each_check_is_one_line_of_the_log(sandbox: Sandbox, task_log: pytest.LogCaptureFixture):
    sandbox.set_balance("3.20")
    sandbox.inject(Fault(status=503), times=3)
    fire(trigger(on_shortfall="fail"))
    unknown, short = (record for record in task_log.records if record.name == "task")
    assert unknown.levelname == "WARNING"
    assert unknown.getMessage().startswith(
        "Waiting: the balance is unknown, not low. You.com returned no balance (HTTP 503)"
    )
    assert short.getMessage().startswith("Failed: $21.80 short of $25.00. The balance is $3.20 (account ")


def first_line(waiting: BalanceTrigger, log: pytest.LogCaptureFixture) -> str:
    """Return what a gate logs at its first check, and cancel it."""

    async def run() -> str:
        gate = asyncio.create_task(first(waiting.run()))
        while not (lines := [record.getMessage() for record in log.records if record.name == "task"]):
            assert not gate.done()
            await asyncio.sleep(0.01)
        gate.cancel()
        return lines[0]

    return asyncio.run(asyncio.wait_for(run(), 60))


def seconds_to_next_check(line: str) -> int:
    found = re.search(r"\. The next check is in (\d+) s\.$", line)
    assert found, line
    return int(found[1])


ASKS_TO_WAIT = Fault(status=429, headers={"Retry-After": "21600"})


def test_a_gate_that_you_com_asks_to_wait_says_when_it_checks_again(
    sandbox: Sandbox, task_log: pytest.LogCaptureFixture
):
    sandbox.inject(ASKS_TO_WAIT, times=None)
    line = first_line(trigger(poke_interval=60), task_log)
    assert "asks to wait 21600 s; this usually passes, so try again later. The next check" in line
    assert 200 <= seconds_to_next_check(line) <= _poll.LONGEST_BACKOFF


def test_a_gate_whose_waits_grow_says_when_it_checks_again(
    sandbox: Sandbox, task_log: pytest.LogCaptureFixture
):
    sandbox.set_balance(1)
    growing = trigger(poke_interval=100, exponential_backoff=True, looked_at=time.time() - 100)
    line = first_line(growing, task_log)
    assert line.startswith("Waiting: $24.00 short of $25.00.")
    assert 101 <= seconds_to_next_check(line) <= 200


def test_a_gate_whose_wait_ends_before_the_next_check_is_checked_then(
    sandbox: Sandbox, task_log: pytest.LogCaptureFixture
):
    sandbox.inject(ASKS_TO_WAIT, times=None)
    line = first_line(trigger(poke_interval=60, ends_at=time.time() + 100), task_log)
    assert seconds_to_next_check(line) <= 100


@pytest.mark.parametrize("options", [{}, {"silent_fail": True}, {"poke_interval": 0}])
def test_a_gate_that_checks_again_after_an_interval_does_not_say_so(
    sandbox: Sandbox, task_log: pytest.LogCaptureFixture, options: dict
):
    sandbox.inject(Fault(body="{}") if "silent_fail" in options else Fault(status=503), times=None)
    line = first_line(trigger(**{"poke_interval": 60, **options}), task_log)
    assert line.startswith("Waiting: ")
    assert "next check" not in line


def test_a_gate_that_opens_does_not_say_when_it_would_check_again(
    sandbox: Sandbox, task_log: pytest.LogCaptureFixture
):
    fire(trigger(poke_interval=100, exponential_backoff=True, looked_at=time.time() - 100))
    assert task_log.records[-1].getMessage().endswith("is enough for $25.00 (account db6bcf6a…).")


@pytest.mark.parametrize(
    ("fault", "options", "action"),
    [
        (Fault(status=401), {}, "fail"),
        (Fault(status=429, body='{"code": "spend_cap_exceeded"}'), {"on_unavailable": "pass"}, "fail"),
        (Fault(body="{}"), {}, "retry"),
        (Fault(status=503), {"on_unavailable": "fail"}, "retry"),
        (Fault(status=503), {"on_unavailable": "pass"}, "open"),
    ],
)
def test_it_fires_when_the_policy_decides_without_a_balance(
    sandbox: Sandbox, fault: Fault, options: dict, action: str
):
    sandbox.inject(fault, times=None)
    assert fire(trigger(**options)).payload["action"] == action


def test_a_key_at_its_spending_cap_is_asked_with_once(sandbox: Sandbox):
    sandbox.inject(Fault(status=429, body='{"code": "spend_cap_exceeded"}'), times=None)
    verdict = Verdict.from_event(fire(trigger(on_shortfall="skip")).payload)
    assert type(verdict.error) is YouComSpendCapError
    assert "raise the cap" in verdict.reason
    assert sandbox.request_count == 1


def test_silent_fail_goes_on_after_an_answer_that_cannot_be_read(sandbox: Sandbox):
    sandbox.inject(Fault(body="{}"), times=2)
    assert fire(trigger(silent_fail=True)).payload["action"] == "open"


def test_it_ends_the_task_by_itself_only_when_asked_and_only_in_success_or_skip(sandbox: Sandbox):
    success = fire(trigger(end_from_trigger=True))
    assert isinstance(success, TaskSuccessEvent)
    assert success.xcoms is not None
    assert success.xcoms["return_value"]["balance_usd"] == 100
    assert fire(trigger(end_from_trigger=True, do_xcom_push=False)).xcoms is None
    sandbox.set_balance(0)
    assert isinstance(fire(trigger(end_from_trigger=True, on_shortfall="skip")), TaskSkippedEvent)
    assert fire(trigger(end_from_trigger=True, on_shortfall="fail")).payload["action"] == "fail"


def test_an_invalid_threshold_is_refused_and_does_not_crash_the_trigger(sandbox: Sandbox):
    assert fire(trigger(min_usd="ten")).payload["error"]["type"] == "YouComRefusedError"


@pytest.mark.parametrize(
    "options", [{"min_usd": "{{ params.limit }}"}, {"youcom_conn_id": "{% if a %}b{% endif %}"}]
)
def test_an_unrendered_template_goes_to_the_worker_without_a_check(sandbox: Sandbox, options: dict):
    assert fire(trigger(**options)).payload == NOT_RENDERED
    assert trigger(**options).shared_stream_key() is None
    assert sandbox.request_count == 0


def test_gates_on_one_connection_and_interval_share_a_poll_whatever_they_need():
    assert trigger().shared_stream_key() == trigger(min_usd="99", on_unavailable="pass").shared_stream_key()
    assert trigger().shared_stream_key() != trigger(youcom_conn_id="other").shared_stream_key()
    assert trigger().shared_stream_key() != trigger(poke_interval=30).shared_stream_key()


def test_a_gate_whose_waits_grow_polls_for_itself():
    assert trigger(exponential_backoff=True).shared_stream_key() is None


def test_the_stream_yields_errors_as_readings_and_never_ends(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, airflow_database: None
):
    sandbox.inject(Fault(status=401))

    async def five_readings() -> list[object]:
        readings: list[object] = []
        async with aclosing(BalanceTrigger.open_shared_stream(trigger().serialize()[1])) as stream:  # type: ignore[type-var]
            readings.append((await anext(stream)).reading)
            readings.append((await anext(stream)).reading)
            monkeypatch.delenv("AIRFLOW_CONN_YOUCOM_DEFAULT")
            readings.append((await anext(stream)).reading)
            monkeypatch.setattr(_lookup, "get_async_connection", raising(OSError("no database")))
            readings.append((await anext(stream)).reading)
            monkeypatch.setattr(_lookup, "get_async_connection", raising(AttributeError("a bug")))
            readings.append((await anext(stream)).reading)
        return readings

    refused, balance, missing, broken, bug = asyncio.run(five_readings())
    assert isinstance(refused, YouComRefusedError)
    assert isinstance(balance, AccountBalance)
    assert isinstance(missing, YouComUnavailableError)
    assert "does not find connection 'youcom_default' any more" in str(missing)
    assert isinstance(broken, YouComUnavailableError)
    assert "OSError" in str(broken)
    assert type(bug) is YouComError
    assert "unexpected AttributeError" in str(bug)


def raising(error: Exception) -> Callable[..., Awaitable[object]]:
    async def get_async_connection(conn_id: str, hook: object) -> object:
        raise error

    return get_async_connection


def test_an_unexpected_error_fails_the_try_instead_of_being_waited_for(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_lookup, "get_async_connection", raising(KeyError("a bug")))
    assert fire(trigger()).payload["action"] == "retry"


def test_a_wait_that_airflow_does_not_end_ends_by_itself(sandbox: Sandbox):
    sandbox.set_balance(0)
    assert fire(trigger(poke_interval=3600, ends_at=time.time() + 0.5)).payload == TIMED_OUT
    assert fire(trigger(ends_at=time.time() - 60)).payload == TIMED_OUT


def test_a_trigger_of_an_earlier_version_is_made_again_from_its_arguments(sandbox: Sandbox):
    for arguments in EARLIER_ARGUMENTS:
        path, now = BalanceTrigger(**arguments).serialize()
        assert path == "airflow_provider_youcom.triggers.balance.BalanceTrigger"
        assert arguments.items() <= now.items()
        assert fire(BalanceTrigger(**arguments)).payload["action"] == "open"


def test_a_connection_that_never_existed_is_refused(airflow_database: None):
    assert (
        fire(trigger(youcom_conn_id="nowhere")).payload["error"]["types"][0]
        == "YouComConnectionNotFoundError"
    )


def test_a_connection_that_a_worker_found_is_waited_for(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, airflow_database: None
):
    there = os.environ["AIRFLOW_CONN_YOUCOM_DEFAULT"]
    monkeypatch.delenv("AIRFLOW_CONN_YOUCOM_DEFAULT")
    monkeypatch.setattr(_poll, "_gone_for_now", lambda _: bring_it_back())

    def bring_it_back() -> YouComUnavailableError:
        monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", there)
        return YouComUnavailableError("Gone.")

    assert fire(in_a_triggerer(looked_at=time.time() - 60)).payload["action"] == "open"


def in_a_triggerer(**options: Any) -> BalanceTrigger:
    waiting = trigger(**options)
    waiting.trigger_id = 1
    return waiting


def test_without_a_triggerer_a_connection_that_was_removed_is_refused_at_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, airflow_database: None
):
    monkeypatch.delenv("AIRFLOW_CONN_YOUCOM_DEFAULT")
    payload = fire(trigger(looked_at=time.time() - 60)).payload
    assert payload["action"] == "fail"
    assert "There is no connection 'youcom_default' that Airflow can read: add one" in payload["reason"]


def test_a_connection_that_stays_missing_for_too_long_is_refused(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, airflow_database: None
):
    monkeypatch.delenv("AIRFLOW_CONN_YOUCOM_DEFAULT")
    monkeypatch.setattr(_polling_trigger, "LONGEST_MISSING", 0.0)
    payload = fire(in_a_triggerer(looked_at=time.time() - 60)).payload
    assert payload["error"]["types"][0] == "YouComConnectionNotFoundError"


RENDERS = hasattr(BaseTrigger, "render_template_fields")


@pytest.mark.skipif(not RENDERS, reason="below Airflow 3.3 the triggerer renders nothing")
def test_a_template_of_params_is_rendered_in_the_triggerer(sandbox: Sandbox):
    waiting = trigger(min_usd="{{ params.min_usd }}", youcom_conn_id="youcom_{{ 'default' }}")
    waiting.template_fields = ("min_usd", "youcom_conn_id")
    waiting.render_template_fields({"params": {"min_usd": "7.50"}})
    assert (waiting.min_usd, waiting.youcom_conn_id) == ("7.50", "youcom_default")
    assert fire(waiting).payload["action"] == "open"


@pytest.mark.skipif(not RENDERS, reason="below Airflow 3.3 the triggerer renders nothing")
@pytest.mark.parametrize(
    "template",
    [
        "{{ params.typo or 0 }}",
        "{{ params.thousands }}000",
        "{{ its_own_macro() }}",
        "{{ 5 | its_filter }}",
    ],
)
def test_a_template_that_only_a_worker_can_render_goes_to_the_worker(sandbox: Sandbox, template: str):
    waiting = trigger(min_usd=template, youcom_conn_id="{{ params.conn_id }}")
    waiting.template_fields = ("youcom_conn_id", "min_usd")
    waiting.render_template_fields({"params": {"conn_id": "youcom_default"}})
    assert (waiting.min_usd, waiting.youcom_conn_id) == (template, "{{ params.conn_id }}")
    assert fire(waiting).payload == NOT_RENDERED
    assert sandbox.request_count == 0


def test_each_gate_ends_by_its_own_rule_on_the_same_readings(sandbox: Sandbox):
    sandbox.set_balance(10)

    async def judge_together() -> list[str]:
        async def readings() -> AsyncIterator[Any]:
            async for reading in BalanceTrigger.open_shared_stream(trigger().serialize()[1]):
                yield reading

        gates = [trigger(min_usd="5"), trigger(on_shortfall="fail"), trigger(on_shortfall="skip")]
        return [(await first(gate.filter_shared_stream(readings()))).payload["action"] for gate in gates]

    assert asyncio.run(judge_together()) == ["open", "fail", "skip"]


def test_the_next_check_is_an_interval_after_that_of_the_worker(sandbox: Sandbox):
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(first(trigger(poke_interval=3600, looked_at=time.time()).run()), 0.5))
    assert sandbox.request_count == 0
    assert fire(trigger(poke_interval=60, looked_at=time.time() - 60)).payload["action"] == "open"
