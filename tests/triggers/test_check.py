"""One check for all who share a poll: it notes, asks You.com, and tells the others what is left."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from airflow_provider_youcom.balance import AccountBalance, AvailableCredits
from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError, YouComUnavailableError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.accounts import Accounts
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.line import Line
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.sandbox import Account, Fault, Sandbox
from airflow_provider_youcom.triggers import _check
from airflow_provider_youcom.triggers._check import Check, Noted, check
from tests.connections import connect
from tests.ledger.spending import pass_time_in_file
from tests.ledger.waiting import ACCOUNT, held, hold, in_line


def claim_of(run: str, usd: str = "60") -> Claim:
    return Claim(Attempt(Holder("production", "pipeline", run, "gate"), run, run), Decimal(usd))


async def decide(found: Check, claim: Claim) -> AvailableCredits:
    assert isinstance(found.noted, Noted)
    assert isinstance(found.reading, AccountBalance)
    return await found.noted.decide(claim, found.reading)


def test_you_com_is_asked_after_the_note(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    first = ledger.reserve(claim_of("monday"), YouComHook().get_balance, settle_seconds=0)
    assert first.reservation is not None
    reservation_id = first.reservation.id
    really_ask = BillingClient.get_balance

    def ask_while_another_run_ends(client: BillingClient) -> AccountBalance:
        balance = really_ask(client)
        ledger.end([reservation_id], EndReason.RELEASED, by="teardown")
        return balance

    monkeypatch.setattr(BillingClient, "get_balance", ask_while_another_run_ends)

    async def check_and_decide() -> AvailableCredits:
        return await decide(await check("youcom_default"), claim_of("tuesday"))

    assert asyncio.run(check_and_decide()).reservation_id is None


def test_a_gate_whose_own_reservation_stands_is_not_told_what_is_left_for_the_others(ledger: Ledger):
    standing = ledger.reserve(claim_of("monday"), YouComHook().get_balance).reservation
    assert standing is not None

    async def check_and_decide() -> list[AvailableCredits]:
        found = await check("youcom_default")
        return [await decide(found, claim_of(run)) for run in ("tuesday", "monday", "wednesday", "monday")]

    tuesday, monday, wednesday, again = asyncio.run(check_and_decide())
    assert (tuesday.reservation_id, wednesday.reservation_id) == (None, None)
    assert monday.reservation_id == again.reservation_id == standing.id


def test_a_gate_that_opens_and_releases_between_two_checks_is_not_put_back_in_line(ledger: Ledger):
    async def two_checks() -> None:
        first = await check("youcom_default")
        first.waiting.extend([claim_of("monday"), claim_of("tuesday", "1000")])
        opened = ledger.reserve(claim_of("monday"), YouComHook().get_balance, settle_seconds=0).reservation
        assert opened is not None
        ledger.end([opened.id], EndReason.RELEASED, by="teardown")
        await check("youcom_default", last=first)

    asyncio.run(two_checks())
    assert [place.holder.run_id for place in ledger.line.places()] == ["tuesday"]


def test_a_gate_that_stays_shut_learns_its_place_whether_or_not_the_ledger_was_asked(
    ledger: Ledger, sandbox: Sandbox
):
    small = [claim_of(f"run {number:02}") for number in range(20)]
    large = claim_of("large", "1000")

    async def look_and_wait() -> list[AvailableCredits]:
        first = await check("youcom_default")
        first.waiting.extend([large, *small])
        found = await check("youcom_default", last=first)
        return await asyncio.gather(*(decide(found, claim) for claim in (large, *small)))

    waits = [each for each in asyncio.run(look_and_wait()) if each.reservation_id is None]
    assert len(waits) == 20
    assert waits[0].place == 1
    assert all(each.place is not None for each in waits)


def test_a_check_ends_the_holds_that_were_in_vain(
    ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    connect(monkeypatch, sandbox, ledger_conn_id="ledger", settle_seconds=0, hold_seconds=600)
    sandbox.accounts[sandbox.api_key] = Account(ACCOUNT, Decimal(0))
    hold(ledger)
    asyncio.run(check("youcom_default"))
    assert held(ledger) == ["large"]
    pass_time_in_file(tmp_path / "ledger.db", 700)
    asyncio.run(check("youcom_default"))
    assert held(ledger) == []


def test_a_check_after_which_nobody_went_on_waiting_leaves_the_line_alone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*arguments: object) -> None:
        raise AssertionError("the line was written")

    async def two_checks() -> Check:
        return await check("youcom_default", last=await check("youcom_default"))

    monkeypatch.setattr(Line, "keep", fail)
    monkeypatch.setattr(Line, "stay", fail)
    assert isinstance(asyncio.run(two_checks()).noted, Noted)
    assert "the line was written" not in caplog.text


def test_a_gate_in_line_keeps_its_place_although_you_com_does_not_answer_to_a_new_triggerer(
    ledger: Ledger, sandbox: Sandbox, tmp_path: Path
):
    waiting = claim_of("monday", "1000")
    ledger.line.join(waiting, ACCOUNT, 60)
    sandbox.inject(Fault(status=503), times=None)

    async def two_checks() -> None:
        first = await check("youcom_default", 3600)
        first.waiting.append(waiting)
        await check("youcom_default", 3600, last=first)

    asyncio.run(two_checks())
    pass_time_in_file(tmp_path / "ledger.db", 1800)
    assert in_line(ledger) == ["monday"]


@pytest.mark.parametrize("failing_checks", [1, 2])
def test_gates_keep_their_places_while_you_com_does_not_answer(
    ledger: Ledger, sandbox: Sandbox, failing_checks: int
):
    async def checks() -> list[Check]:
        found = [await check("youcom_default")]
        sandbox.inject(Fault(status=503), times=None)
        for _ in range(failing_checks):
            found[-1].waiting.append(claim_of("monday", "1000"))
            found.append(await check("youcom_default", last=found[-1]))
        return found

    first, *failed = asyncio.run(checks())
    assert isinstance(first.reading, AccountBalance)
    for each in failed:
        assert isinstance(each.reading, YouComUnavailableError)
        assert each.account_id == first.reading.account_id
        assert each.waiting is first.waiting
    (place,) = ledger.line.places(first.reading.account_id)
    assert place.holder.run_id == "monday"


def test_one_of_those_who_share_a_check_ends_what_is_lost(ledger: Ledger):
    found = asyncio.run(check("youcom_default"))
    assert isinstance(found.noted, Noted)
    assert [found.noted.start_ending_lost() for _ in range(3)] == [True, False, False]


def test_a_balance_is_not_stored_if_no_thread_can_be_started(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def check_and_store() -> None:
        found = await check("youcom_default")
        assert isinstance(found.noted, Noted)
        assert isinstance(found.reading, AccountBalance)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            await found.noted.store(found.reading)

    asyncio.run(check_and_store())


def test_a_reservation_has_the_settle_time_of_the_connection(
    ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    connect(monkeypatch, sandbox, ledger_conn_id="ledger", settle_seconds=7)

    async def check_and_decide() -> AvailableCredits:
        return await decide(await check("youcom_default"), claim_of("monday"))

    asyncio.run(check_and_decide())
    assert [each.settle_seconds for each in ledger.standing()] == [7]


def test_an_expired_reservation_is_ended_by_one_of_those_who_wait(ledger: Ledger, sandbox: Sandbox):
    dead = Claim(claim_of("monday").attempt, Decimal(60), reserve_for_seconds=1e-6)
    ledger.reserve(dead, YouComHook().get_balance, settle_seconds=0)

    async def check_and_decide() -> list[AvailableCredits]:
        found = await check("youcom_default")
        return [await decide(found, claim_of(f"run {number}")) for number in range(20)]

    assert all(each.reservation_id is None for each in asyncio.run(check_and_decide()))
    assert [each.end_reason for each in ledger.history()] == [EndReason.EXPIRED]


def test_a_check_stores_what_it_reads(ledger: Ledger, sandbox: Sandbox):
    found = asyncio.run(check("youcom_default"))
    assert isinstance(found.reading, AccountBalance)
    (account_id,) = ledger.accounts.ids()
    assert account_id == found.reading.account_id
    assert [each.balance_usd for each in ledger.accounts.overview(account_id).readings] == [100]


def test_a_check_does_not_wait_for_a_ledger_that_hangs_while_it_stores(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    hanging = threading.Event()
    monkeypatch.setattr(Accounts, "store", lambda *arguments: hanging.wait(60))
    monkeypatch.setattr(_check, "_STORE_SECONDS", 0.05)

    async def check_twice() -> list[Check]:
        return [await asyncio.wait_for(check("youcom_default"), 30) for _ in range(2)]

    found = asyncio.run(check_twice())
    hanging.set()
    assert all(isinstance(each.reading, AccountBalance) for each in found)
    assert all(isinstance(each.noted, Noted) for each in found)


def test_a_ledger_that_hangs_holds_up_no_other_connection(
    ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    hanging = threading.Event()
    monkeypatch.setattr(Ledger, "decide", lambda *arguments: hanging.wait(60))
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", sandbox.connection())

    async def gates_and_another_check() -> tuple[int, Check]:
        found = await check("youcom_default")
        waiting = [asyncio.create_task(decide(found, claim_of(f"run {number}"))) for number in range(60)]
        other = await asyncio.wait_for(check("other"), 30)
        done = sum(each.done() for each in waiting)
        hanging.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        return done, other

    done, other = asyncio.run(gates_and_another_check())
    assert done == 0
    assert isinstance(other.reading, AccountBalance)


def test_the_wait_for_a_turn_counts_as_waiting_for_the_ledger(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    hanging = threading.Event()
    monkeypatch.setattr(Ledger, "decide", lambda *arguments: hanging.wait(60))

    async def many_gates() -> list[object]:
        found = await check("youcom_default")
        monkeypatch.setattr(_check, "LEDGER_SECONDS", 0.05)
        waiting = [decide(found, claim_of(f"run {number}")) for number in range(20)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    answers = asyncio.run(many_gates())
    hanging.set()
    assert [type(answer) for answer in answers] == [YouComLedgerUnavailableError] * 20


@pytest.mark.parametrize(
    "trouble", [OSError("the API server is away"), ZeroDivisionError("nobody foresaw it")]
)
def test_housekeeping_that_fails_does_not_replace_a_reading(
    ledger: Ledger, trouble: Exception, caplog: pytest.LogCaptureFixture
):
    async def fail() -> None:
        def work() -> None:
            raise trouble

        await _check.keep_house(work)

    asyncio.run(fail())
    assert "could not be ended; trying again later" in caplog.text


def test_housekeeping_that_takes_long_does_not_replace_a_reading(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(_check, "LEDGER_SECONDS", 0.01)
    hanging = threading.Event()
    asyncio.run(_check.keep_house(lambda: bool(hanging.wait(60)) and None))
    hanging.set()
    assert "slow to say which reservations can be ended" in caplog.text
