"""A gate that reserves and waits on a worker has a place in line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import (
    YouComLedgerUnavailableError,
    YouComShortfallError,
    YouComUnavailableError,
)
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.line import Line
from airflow_provider_youcom.sandbox import Fault, Sandbox
from airflow_provider_youcom.sensors import _reservation
from airflow_provider_youcom.sensors.balance import BalanceSensor
from tests.connections import connect
from tests.ledger.spending import pass_time_in_file
from tests.sensors.gates import gate, try_of


@pytest.fixture
def three_others_have_passed(ledger: Ledger, sandbox: Sandbox) -> None:
    """A gate of $20 waits, and since it joined, others have reserved more than four times that."""
    sandbox.set_balance(10)
    assert wait_once(gate(min_usd=20), "large") == 1
    sandbox.set_balance(100)
    hook = YouComHook()
    for _ in range(3):
        with hook.reserved_credits(30):
            pass
    sandbox.set_balance(10)


def wait_once(waiting: BalanceSensor, run: str) -> int | None:
    """Check once, and return the gate's place in line."""
    assert waiting.poke(try_of(run)) is False
    places = YouComHook().ledger.line.places()
    return next((at for at, place in enumerate(places, 1) if place.holder.run_id == run), None)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_gate_that_waits_has_a_place_in_line_until_it_opens(
    ledger: Ledger, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, mode: str
):
    sandbox.set_balance(10)
    assert wait_once(gate(mode=mode), "monday") == 1
    assert wait_once(gate(mode=mode), "tuesday") == 2
    assert wait_once(gate(mode=mode), "monday") == 1
    for place in (1, 2):
        joined = f"This gate has joined the line of those that wait for credits, at place {place}."
        assert caplog.text.count(joined) == 1
    sandbox.set_balance(30)
    assert gate(mode=mode).poke(try_of("monday"))
    assert [place.holder.run_id for place in ledger.line.places()] == ["tuesday"]


def test_a_gate_that_is_overtaken_while_you_com_answers_says_its_place(
    ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, task_log: pytest.LogCaptureFixture
):
    sandbox.set_balance(10)
    assert wait_once(gate(), "monday") == 1
    sandbox.set_balance(30)
    get_balance = BillingClient.get_balance

    def let_another_reserve(client: BillingClient) -> Any:
        script = Attempt(Holder("", "", "script", ""), "script", "")
        decision = ledger.reserve(Claim(script, Decimal(10)), lambda: get_balance(client))
        assert decision.reservation
        return decision.available.balance

    monkeypatch.setattr(BillingClient, "get_balance", let_another_reserve)
    assert wait_once(gate(), "monday") == 1
    assert "of which 1 run has reserved $10.00 (account" in task_log.text
    assert task_log.text.count("Place 1 in line.") == 1


def test_a_gate_keeps_its_place_while_you_com_does_not_answer(
    ledger: Ledger, sandbox: Sandbox, tmp_path: Path
):
    sandbox.set_balance(10)
    assert wait_once(gate(), "monday") == 1
    pass_time_in_file(tmp_path / "ledger.db", seconds=300)
    assert ledger.line.places() == []
    sandbox.inject(Fault(status=503), times=None)
    assert wait_once(gate(), "monday") == 1
    assert gate().poke(try_of("tuesday")) is False
    assert [place.holder.run_id for place in ledger.line.places()] == ["monday"]


@pytest.mark.parametrize(("exponential_backoff", "seconds"), [(False, 300), (True, 600)])
def test_a_gate_keeps_its_place_for_three_of_its_next_pauses(
    ledger: Ledger, sandbox: Sandbox, tmp_path: Path, exponential_backoff: bool, seconds: float
):
    sandbox.set_balance(10)
    waiting = gate(poke_interval=100, exponential_backoff=exponential_backoff, mode="reschedule")
    assert wait_once(waiting, "monday") == 1
    pass_time_in_file(tmp_path / "ledger.db", seconds=seconds - 60)
    assert len(ledger.line.places()) == 1
    pass_time_in_file(tmp_path / "ledger.db", seconds=60)
    assert ledger.line.places() == []


def test_a_gate_has_joined_the_line_before_it_waits_without_a_worker(ledger: Ledger, sandbox: Sandbox):
    sandbox.set_balance(10)
    with pytest.raises(TaskDeferred):
        gate(deferrable=True).execute(try_of("monday"))
    (place,) = ledger.line.places()
    assert (place.holder.run_id, place.amount_usd) == ("monday", 25)


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_a_gate_that_does_not_wait_has_no_place_in_line(ledger: Ledger, sandbox: Sandbox, policy: str):
    sandbox.set_balance(10)
    with pytest.raises((AirflowFailException, AirflowSkipException)):
        gate(on_shortfall=policy).execute(try_of("monday"))
    assert ledger.line.places() == []


def test_a_gate_does_not_wait_for_a_ledger_that_is_away_once_more_to_join_the_line(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def away(self: Ledger) -> Any:
        raise YouComLedgerUnavailableError("What is reserved is unknown, since the ledger is away.")

    monkeypatch.setattr(Ledger, "note", away)
    for name in ("join", "stay"):
        monkeypatch.setattr(Line, name, lambda *arguments, name=name: asked.append(name))
    assert gate().poke(try_of("monday")) is False
    assert asked == []


def test_a_gate_that_cannot_join_the_line_says_so_and_waits(
    ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, task_log: pytest.LogCaptureFixture
):
    sandbox.set_balance(10)
    claims = iter([_reservation.claim_of(gate(), try_of("monday"))])

    def first_claim(*arguments: Any) -> Any:
        for claim in claims:
            return claim
        raise YouComUnavailableError("Airflow does not answer.")

    monkeypatch.setattr(_reservation, "claim_of", first_claim)
    assert gate().poke(try_of("monday")) is False
    assert "This gate waits without a place in line: Airflow does not answer." in task_log.text
    assert ledger.line.places() == []


def test_a_gate_that_does_not_reserve_needs_no_ledger_to_wait(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, task_log: pytest.LogCaptureFixture
):
    connect(monkeypatch, sandbox)
    sandbox.set_balance(10)
    assert gate(reserve=False).poke(try_of("monday")) is False
    assert "without a place in line" not in task_log.text


def test_a_gate_that_does_not_reserve_ignores_the_line(ledger: Ledger, sandbox: Sandbox):
    sandbox.set_balance(10)
    assert gate(reserve=False).poke(try_of("monday")) is False
    assert ledger.line.places() == []


@pytest.mark.usefixtures("three_others_have_passed")
@pytest.mark.parametrize("policy", ["wait", "fail", "skip"])
def test_a_gate_that_came_later_leaves_alone_what_is_held_and_says_for_whom(
    ledger: Ledger, sandbox: Sandbox, task_log: pytest.LogCaptureFixture, policy: str
):
    sandbox.set_balance(15)
    later = gate(min_usd=10, on_shortfall=policy)
    if policy == "wait":
        assert wait_once(later, "small") == 2
    else:
        with pytest.raises((AirflowFailException, AirflowSkipException)):
            later.execute(try_of("small"))
    assert "there is enough for $10.00, but it is held for others" in task_log.text
    assert "$20.00 is held for run large of DAG pipeline" in task_log.text
    assert ledger.standing() == []


@pytest.mark.usefixtures("three_others_have_passed")
def test_reserved_credits_leave_alone_what_is_held(sandbox: Sandbox):
    sandbox.set_balance(25)
    with pytest.raises(
        YouComShortfallError,
        match=r"enough for \$10\.00, but it is held .* is held for run large of DAG pipeline",
    ):
        YouComHook().reserved_credits(10).__enter__()
    with YouComHook().reserved_credits(5):
        pass


@pytest.mark.usefixtures("three_others_have_passed")
def test_the_gate_for_which_credits_are_held_gets_them(ledger: Ledger, sandbox: Sandbox):
    sandbox.set_balance(20)
    assert wait_once(gate(min_usd=10), "small") == 2
    gate(min_usd=20).execute(try_of("large"))
    assert [each.holder.run_id for each in ledger.standing()] == ["large"]
    assert [place.is_held for place in ledger.line.places()] == [False]


@pytest.mark.usefixtures("three_others_have_passed")
def test_a_hold_ends_after_the_hold_time_of_the_connection(
    ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    connect(monkeypatch, sandbox, ledger_conn_id="ledger", settle_seconds=0, hold_seconds=1)
    sandbox.set_balance(15)
    small = gate(min_usd=10)
    while ledger.standing() == []:
        # The check that ends the hold leaves the credits alone once more.
        small.poke(try_of("small"))
    assert [place.patience for place in ledger.line.places()] == [8]
