"""Gates that reserve in the triggerer: they share a poll, and only those that could open ask the ledger."""

from __future__ import annotations

import asyncio
import dataclasses
import decimal
import threading
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_youcom import _airflow
from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError, YouComRefusedError
from airflow_provider_youcom.hooks import _lookup
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger import _line_transactions
from airflow_provider_youcom.ledger.abandoned import MAY_SPEND
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.line import Line
from airflow_provider_youcom.ledger.questions import Ask, Runs, Tasks
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.sandbox import Fault, Sandbox
from airflow_provider_youcom.triggers import _check, _poll
from airflow_provider_youcom.triggers.balance import BalanceTrigger
from airflow_provider_youcom.triggers.reserving import ReservingBalanceTrigger
from tests.connections import connect
from tests.ledger.spending import account_with, claim_of

CLASS_PATH = "airflow_provider_youcom.triggers.reserving.ReservingBalanceTrigger"
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
        "looked_at": None,
        "ends_at": None,
        "claim": {
            "holder": {
                "deployment": "production",
                "dag_id": "pipeline",
                "run_id": "monday",
                "task_id": "gate",
                "map_index": -1,
            },
            "attempt_id": "0199f7c8-0000-7000-8000-000000000001",
            "attempt_order": "0199f7c8-0000-7000-8000-000000000001",
            "try_number": 1,
            "reserve_for_seconds": 86400.0,
            "task_ids": ["search", "summarize"],
            "ledger_id": "",
        },
    },
]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_poll, "SHORTEST_PAUSE", 0.01)


def trigger(run: str, usd: str = "25", **options: Any) -> ReservingBalanceTrigger:
    claim = Claim(Attempt(Holder("production", "pipeline", run, "gate"), run, run), Decimal(usd))
    return ReservingBalanceTrigger(min_usd=usd, poke_interval=0.01, claim=claim.to_json(), **options)


def fire(fired: BalanceTrigger) -> dict[str, Any]:
    async def first() -> Any:
        return await anext(fired.run())

    payload: dict[str, Any] = asyncio.run(asyncio.wait_for(first(), 60)).payload
    return payload


def test_it_fires_with_the_reservation_that_it_has_made(ledger: Ledger):
    payload = fire(trigger("monday"))
    (standing,) = ledger.standing()
    assert (payload["action"], payload["reservation_id"]) == ("open", standing.id)
    assert payload["balance"]["available_usd"] == 100


def test_a_ledger_other_than_the_workers_is_refused(ledger: Ledger):
    elsewhere = trigger("monday")
    elsewhere.claim["ledger_id"] = "another"
    payload = fire(elsewhere)
    assert (payload["action"], ledger.history()) == ("fail", [])
    assert "The ledger 'ledger' is not the one with which this gate started" in payload["reason"]


def test_a_gate_that_ends_here_tells_its_teardown_in_which_ledger_it_has_reserved(ledger: Ledger):
    ending = trigger("monday", end_from_trigger=True)
    ending.claim["ledger_id"] = ledger.id
    assert asyncio.run(asyncio.wait_for(anext(ending.run()), 60)).xcoms["youcom_ledger_id"] == ledger.id


def test_another_triggerer_that_takes_over_opens_with_the_same_reservation(ledger: Ledger):
    assert fire(trigger("monday"))["reservation_id"] == fire(trigger("monday"))["reservation_id"]


def test_gates_that_wait_together_reserve_no_more_than_there_is(ledger: Ledger, sandbox: Sandbox):
    gates = [trigger(f"run {number:02}", "30", on_shortfall="fail") for number in range(20)]

    async def one_check() -> list[str]:
        check = await _check.check("youcom_default")

        async def stream() -> Any:
            yield check

        events = await asyncio.gather(*(anext(gate.filter_shared_stream(stream())) for gate in gates))
        return [event.payload["action"] for event in events]

    actions = asyncio.run(one_check())
    assert (actions.count("open"), actions.count("fail")) == (3, 17)
    assert sum(each.amount_usd for each in ledger.standing()) == 90
    assert sandbox.request_count == 1


def test_a_thousand_gates_that_cannot_open_do_not_ask_the_ledger(
    ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    sandbox.set_balance(10)
    decisions: list[Claim] = []
    notes: list[int] = []
    decide, note = Ledger.decide, Ledger.note

    def counted_decide(self: Ledger, claim: Claim, *rest: Any) -> Any:
        decisions.append(claim)
        return decide(self, claim, *rest)

    def counted_note(self: Ledger) -> Any:
        notes.append(1)
        return note(self)

    monkeypatch.setattr(Ledger, "decide", counted_decide)
    monkeypatch.setattr(Ledger, "note", counted_note)
    gates = [trigger(f"run {number}") for number in range(1000)]

    async def one_check() -> int:
        check = await _check.check("youcom_default")
        readings = await asyncio.gather(*(gate._read(check) for gate in gates))
        return sum(reading.reservation_id is None for reading in readings)  # type: ignore[union-attr]

    assert asyncio.run(one_check()) == 1000
    assert (len(notes), len(decisions), sandbox.request_count) == (1, 0, 1)


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[Claim]:
    """The claims that the ledger was asked to decide about."""
    decisions: list[Claim] = []
    decide = Ledger.decide

    def counted(self: Ledger, claim: Claim, *rest: Any) -> Any:
        decisions.append(claim)
        return decide(self, claim, *rest)

    monkeypatch.setattr(Ledger, "decide", counted)
    return decisions


def test_gates_that_ask_at_once_ask_the_ledger_only_until_enough_of_them_have_reserved(
    ledger: Ledger, decisions: list[Claim]
):
    async def all_at_once() -> list[Any]:
        check = await _check.check("youcom_default")
        return await asyncio.gather(*(trigger(f"run {number}", "40")._read(check) for number in range(50)))

    readings = asyncio.run(all_at_once())
    assert sum(reading.reservation_id is not None for reading in readings) == 2
    # Four ask at the same time, and one more before the second of them has reserved.
    assert len(decisions) <= _check._THREADS_FOR_A_LEDGER + 1


def test_once_some_have_reserved_the_others_of_the_same_check_wait_without_the_ledger(
    ledger: Ledger, decisions: list[Claim]
):
    async def one_after_the_other() -> list[Any]:
        check = await _check.check("youcom_default")
        return [await trigger(f"run {number}", "40")._read(check) for number in range(50)]

    readings = asyncio.run(one_after_the_other())
    assert sum(reading.reservation_id is not None for reading in readings) == 2
    assert len(decisions) == 2
    assert str(readings[-1]).endswith("of which 2 runs have reserved $80.00")


def test_what_one_gate_has_left_for_the_others_is_exact_in_any_decimal_context(ledger: Ledger):
    async def one_after_the_other() -> list[Any]:
        check = await _check.check("youcom_default")
        return [await trigger(f"run {number}", "33.33")._read(check) for number in range(4)]

    with decimal.localcontext(prec=1):
        readings = asyncio.run(one_after_the_other())
    assert str(readings[-1]).endswith("of which 3 runs have reserved $99.99")
    assert readings[-1].available_usd == Decimal("0.01")


def test_a_ledger_that_does_not_answer_concerns_only_gates_that_reserve(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    def away(self: Ledger) -> Any:
        raise YouComLedgerUnavailableError("What is reserved is unknown, since the ledger is away.")

    monkeypatch.setattr(Ledger, "note", away)
    assert fire(BalanceTrigger(min_usd="25", poke_interval=0.01))["action"] == "open"
    reserving = fire(trigger("monday", on_unavailable="fail"))
    assert (reserving["action"], reserving["error"]["types"][0]) == ("retry", "YouComLedgerUnavailableError")


def test_an_unexpected_error_of_the_ledger_concerns_only_gates_that_reserve(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(self: Ledger) -> Any:
        raise OSError("Too many open files")

    monkeypatch.setattr(Ledger, "note", fail)
    assert fire(BalanceTrigger(min_usd="25", poke_interval=0.01))["action"] == "open"
    reserving = fire(trigger("monday"))
    assert (reserving["action"], reserving["error"]["type"]) == ("retry", "YouComResponseError")
    assert "the ledger was not read (unexpected OSError)" in reserving["reason"]
    assert "OSError: Too many open files" in caplog.text


def test_a_ledger_that_was_found_before_is_waited_for(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", "")
    monkeypatch.delenv("AIRFLOW_CONN_LEDGER")
    payload = fire(trigger("monday", on_unavailable="fail"))
    assert payload["action"] == "retry"
    assert "There is no connection 'ledger'" in payload["reason"]


def test_a_connection_that_no_longer_names_a_ledger_is_refused(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    connect(monkeypatch, sandbox)
    payload = fire(trigger("monday"))
    assert (payload["action"], payload["error"]["type"]) == ("fail", YouComRefusedError.__name__)
    assert "does not name a ledger any more" in payload["reason"]


def test_a_reservation_that_has_expired_is_ended_by_a_gate_that_waits(ledger: Ledger):
    dead = claim_of("monday", 90, reserve_for_seconds=1e-6)
    ledger.reserve(dead, YouComHook().get_balance, settle_seconds=0)
    assert fire(trigger("tuesday", on_shortfall="skip"))["action"] == "skip"
    assert [each.end_reason for each in ledger.history()] == [EndReason.EXPIRED]


def test_a_gate_that_waits_ends_what_has_expired_on_another_account_too(ledger: Ledger):
    dead = claim_of("monday", 90, reserve_for_seconds=1e-6)
    ledger.decide(dead, account_with(90, "another"), ledger.note())
    assert fire(trigger("tuesday", usd="200", on_shortfall="skip"))["action"] == "skip"
    assert [each.end_reason for each in ledger.history()] == [EndReason.EXPIRED]


@pytest.mark.parametrize(("unfinished", "end"), [(0, EndReason.SUPERSEDED), (1, None)])
def test_a_gate_that_waits_ends_its_earlier_attempt_once_airflow_says_that_no_task_spends_from_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, unfinished: int, end: EndReason | None
):
    asked = []

    def ask_through(loop: asyncio.AbstractEventLoop) -> Ask:
        def ask(question: Tasks | Runs) -> int:
            asked.append(question)
            return unfinished

        return ask

    monkeypatch.setattr(_airflow, "ask_through", ask_through)
    holder = Holder("production", "pipeline", "monday", "gate")
    earlier = Claim(Attempt(holder, "1", "1"), Decimal(90), task_ids=("search",))
    ledger.reserve(earlier, YouComHook().get_balance)
    assert fire(trigger("monday", on_shortfall="skip"))["action"] == "skip"
    assert asked == [Tasks("pipeline", "monday", ("search",), MAY_SPEND)]
    assert [each.end_reason for each in ledger.history()] == [end]


def test_a_gate_that_can_open_ends_nothing(ledger: Ledger):
    dead = claim_of("monday", 90, reserve_for_seconds=1e-6)
    ledger.decide(dead, account_with(90, "another"), ledger.note())
    assert fire(trigger("tuesday"))["action"] == "open"
    assert [each.end_reason for each in ledger.history()] == [None, None]


def test_a_gate_learns_why_you_com_has_not_answered(ledger: Ledger, sandbox: Sandbox):
    sandbox.inject(Fault(status=503), times=None)
    payload = fire(trigger("monday", on_unavailable="fail"))
    assert (payload["action"], payload["error"]["types"][0]) == ("retry", "YouComUnavailableError")


def test_two_gates_alike_are_two_and_airflow_logs_each_as_it_logs_all_triggers():
    assert len({trigger("monday"), trigger("monday")}) == 2
    assert repr(trigger("monday")).startswith(f"<{CLASS_PATH} ")


def test_it_shares_the_poll_of_gates_that_do_not_reserve():
    assert trigger("monday").shared_stream_key() == BalanceTrigger(poke_interval=0.01).shared_stream_key()


@pytest.mark.parametrize("arguments", EARLIER_ARGUMENTS)
def test_a_trigger_of_an_earlier_version_is_made_again_from_its_arguments(
    ledger: Ledger, arguments: dict[str, Any]
):
    made = ReservingBalanceTrigger(**arguments)
    assert made.serialize()[1] == arguments
    assert fire(made)["reservation_id"] == ledger.standing()[0].id


def test_an_airflow_that_does_not_return_the_connection_is_unavailable(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    async def never(conn_id: str, hook: object) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(_lookup, "get_async_connection", never)
    monkeypatch.setattr(_lookup, "CONNECTION_SECONDS", 0.01)
    payload = fire(BalanceTrigger(min_usd="25", on_unavailable="fail", poke_interval=0.01))
    assert payload["action"] == "retry"
    assert "Airflow did not return connection 'youcom_default' within 0.01 s" in payload["reason"]


def test_a_ledger_that_hangs_is_unavailable(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    hanging = threading.Event()
    monkeypatch.setattr(Ledger, "note", lambda self: hanging.wait(60))
    monkeypatch.setattr(_check, "LEDGER_SECONDS", 0.01)
    payload = fire(trigger("monday", on_unavailable="fail"))
    hanging.set()
    assert (payload["action"], payload["error"]["types"][0]) == ("retry", "YouComLedgerUnavailableError")


def test_gates_that_go_on_waiting_keep_their_places_at_the_next_check(ledger: Ledger, sandbox: Sandbox):
    sandbox.set_balance(10)
    gates = [trigger(f"run {number}", "30") for number in range(3)]
    leaving = trigger("leaving", "30", on_shortfall="fail")

    async def two_checks() -> None:
        checks = BalanceTrigger.open_shared_stream(gates[0].serialize()[1])
        first = await anext(checks)
        for gate in (*gates, leaving):
            await show(gate, first)
        assert ledger.line.places() == []
        await anext(checks)

    asyncio.run(two_checks())
    assert [place.holder.run_id for place in ledger.line.places()] == ["run 0", "run 1", "run 2"]


def test_a_gate_keeps_its_place_as_soon_as_the_first_check_of_a_triggerer_has_found_too_little(
    ledger: Ledger, sandbox: Sandbox
):
    sandbox.set_balance(10)
    hourly = dataclasses.replace(trigger("hourly", "30"), poke_interval=3600.0)

    async def wait_until_it_is_in_line() -> None:
        waiting = asyncio.create_task(anext(hourly.run()))
        while not await asyncio.to_thread(ledger.line.places):
            assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])

    asyncio.run(asyncio.wait_for(wait_until_it_is_in_line(), 60))


def test_a_gate_that_is_always_one_check_late_keeps_its_place(ledger: Ledger, sandbox: Sandbox):
    sandbox.set_balance(10)
    late = trigger("late", "30")

    async def three_checks() -> None:
        checks = BalanceTrigger.open_shared_stream(late.serialize()[1])
        first, second = await anext(checks), await anext(checks)
        await show(late, first)
        await anext(checks)
        assert second.waiting == []

    asyncio.run(three_checks())
    assert [place.holder.run_id for place in ledger.line.places()] == ["late"]


async def show(gate: ReservingBalanceTrigger, check: _check.Check) -> None:
    """Let a gate see one check and no more."""

    async def stream() -> Any:
        yield check

    async for _ in gate.filter_shared_stream(stream()):
        pass


@pytest.mark.parametrize("where", ["in the database", "on the way to it"])
@pytest.mark.parametrize(
    "error", [YouComLedgerUnavailableError("The ledger did not answer."), RuntimeError("no thread")]
)
def test_a_line_that_cannot_be_written_does_not_fail_the_check(
    ledger: Ledger,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
    error: Exception,
):
    def fail(*arguments: Any) -> None:
        raise error

    if where == "in the database":
        monkeypatch.setattr(_line_transactions, "keep", fail)
    else:
        monkeypatch.setattr(Line, "keep", fail)
        monkeypatch.setattr(Line, "follow", fail)

    async def checks() -> _check.Check:
        first = await _check.check("youcom_default", 60)
        first.waiting.append(Claim(Attempt(Holder("", "", "run", ""), "run", "run"), Decimal(30)))
        return await _check.check("youcom_default", 60, first)

    assert isinstance(asyncio.run(checks()).noted, _check.Noted)
    assert "The places of gates in line were not written" in caplog.text
    assert str(error) in caplog.text
