"""Each call of the ledger, on each database."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError, YouComRefusedError
from airflow_provider_youcom.ledger import _decision
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger.abandoned import standing_of_earlier_attempts
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason, Outcome
from tests.ledger.spending import (
    NOON,
    account_with,
    attempt_of,
    call_decide,
    claim_of,
    pass_time,
    reserve,
    statements_sent_from_now,
)

pytestmark = pytest.mark.on_the_ends


def test_a_gate_reserves_its_credits_in_the_step_in_which_it_opens(ledger: Ledger) -> None:
    first = reserve(ledger, claim_of("monday"), 40)
    second = reserve(ledger, claim_of("tuesday"), 40)
    assert first.reservation is not None
    assert first.reservation.amount_usd == 25
    assert second.reservation is None
    assert (second.available.available_usd, second.available.reserved_usd) == (15, 25)
    assert second.available.reserved_runs == 1


def test_accounts_do_not_share_their_credits(ledger: Ledger) -> None:
    reserve(ledger, claim_of("monday"), 40)
    other = ledger.decide(claim_of("tuesday"), account_with(40, "another"), ledger.note())
    assert other.reservation is not None


def test_two_deployments_with_the_same_runs_reserve_twice(ledger: Ledger) -> None:
    assert reserve(ledger, claim_of("monday", deployment="staging"), 40).reservation is not None
    assert reserve(ledger, claim_of("monday", deployment="production"), 40).reservation is None


def test_an_attempt_opens_again_with_what_it_has_reserved(ledger: Ledger) -> None:
    first = reserve(ledger, claim_of("monday"), 40)
    again = reserve(ledger, claim_of("monday"), 30)
    assert again.reservation is not None
    assert again.reservation == first.reservation
    assert (again.available.available_usd, again.available.reserved_usd) == (30, 0)
    assert len(ledger.history()) == 1


def test_a_new_try_does_not_open_with_what_an_earlier_one_has_reserved(ledger: Ledger) -> None:
    reserve(ledger, claim_of("monday"), 40)
    new_try = reserve(ledger, claim_of("monday", attempt=2), 40)
    assert new_try.reservation is None
    assert new_try.available.own_run_usd == 25


@pytest.mark.parametrize("newer_opens", [True, False])
def test_a_stale_attempt_reserves_nothing(ledger: Ledger, newer_opens: bool) -> None:
    reserve(ledger, claim_of("monday", attempt=2), 40 if newer_opens else 0)
    with pytest.raises(YouComRefusedError, match="A newer attempt of task 'gate' has asked for credits"):
        reserve(ledger, claim_of("monday", attempt=1), 400)
    assert len(ledger.standing()) == newer_opens


def test_a_lost_answer_can_be_asked_for_again(ledger: Ledger) -> None:
    asked = (claim_of("monday"), account_with(40), ledger.note(), "one id")
    _, lost = call_decide(ledger, *asked)
    _, again = call_decide(ledger, *asked)
    assert again.reservation == lost.reservation
    assert len(ledger.history()) == 1


def test_a_lost_answer_is_outdated_once_its_reservation_has_ended(ledger: Ledger) -> None:
    asked = (claim_of("monday"), account_with(400), ledger.note(), "one id")
    call_decide(ledger, *asked)
    ledger.end(["one id"], EndReason.BY_HAND, by="somebody")
    outcome, again = call_decide(ledger, *asked)
    assert (outcome, again.reservation) == (Outcome.OUTDATED, None)
    assert ledger.standing() == []


def test_a_decision_asks_again_by_itself_when_the_answer_is_lost(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write, answers = Database.write, []

    def write_and_lose_the_first_answer(self: Database, work: Any) -> Any:
        answers.append(really_write(self, work))
        if len(answers) == 1:
            raise YouComLedgerUnavailableError("the answer was lost")
        return answers[-1]

    note = ledger.note()
    monkeypatch.setattr(Database, "write", write_and_lose_the_first_answer)
    decision = reserve(ledger, claim_of("monday"), 40, note)
    monkeypatch.undo()
    assert [each.id for each in ledger.history()] == [decision.reservation.id]


def test_a_commit_whose_answer_is_lost_reserves_once(
    ledger: Ledger, engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.note()
    really_commit = engine.dialect.do_commit
    lost = []

    def commit_and_lose_the_answer(connection: object) -> None:
        really_commit(connection)
        if not lost:
            lost.append(True)
            error = sa.exc.DBAPIError("COMMIT", {}, Exception("server closed the connection"))
            error.connection_invalidated = True
            raise error

    note = ledger.note()
    monkeypatch.setattr(engine.dialect, "do_commit", commit_and_lose_the_answer)
    decision = reserve(ledger, claim_of("monday"), 40, note)
    assert lost
    assert decision.reservation is not None
    assert len(ledger.history()) == 1


def test_a_reservation_that_ended_after_the_note_counts(ledger: Ledger, engine: sa.engine.Engine) -> None:
    first = reserve(ledger, claim_of("monday"), 40, settle_seconds=0)
    note = ledger.note()
    ledger.end([first.reservation.id], EndReason.RELEASED, by="teardown")
    pass_time(engine, 3600)
    assert reserve(ledger, claim_of("tuesday"), 40, note).reservation is None
    assert reserve(ledger, claim_of("tuesday"), 40).reservation is not None


def test_a_reservation_that_ended_after_the_note_counts_although_the_clock_went_back(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    first = reserve(ledger, claim_of("monday"), 40)
    note = ledger.note()
    later = type(note)(note.time + 3600_000_000, note.accounts)
    ledger.end([first.reservation.id], EndReason.RELEASED, by="teardown")
    assert reserve(ledger, claim_of("tuesday"), 40, later).reservation is None


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [
        (EndReason.RELEASED, 60),
        (EndReason.CUT_SHORT, 180),
        (EndReason.SUPERSEDED, 180),
        (EndReason.RUN_OVER, 180),
        (EndReason.EXPIRED, 180),
        (EndReason.BY_HAND, 180),
    ],
)
def test_an_ended_reservation_counts_for_its_settle_time_and_grace(
    ledger: Ledger, engine: sa.engine.Engine, reason: EndReason, seconds: int
) -> None:
    first = reserve(ledger, claim_of("monday"), 40)
    (ended,) = ledger.end([first.reservation.id], reason, by="teardown")
    assert (ended.counts_until - ended.ended_at).total_seconds() == seconds
    # The calls themselves take far less than these 30 s.
    pass_time(engine, seconds - 30)
    assert reserve(ledger, claim_of("tuesday"), 40).reservation is None
    pass_time(engine, 30)
    assert reserve(ledger, claim_of("tuesday"), 40).reservation is not None


def test_a_reservation_counts_unless_it_had_settled_at_the_note(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    first = reserve(ledger, claim_of("monday"), 40)
    ledger.end([first.reservation.id], EndReason.RELEASED, by="teardown")
    note = ledger.note()
    pass_time(engine, 30)
    assert reserve(ledger, claim_of("tuesday"), 40, note).reservation is None


def test_a_reservation_ends_once(ledger: Ledger) -> None:
    first = reserve(ledger, claim_of("monday"), 40)
    (released,) = ledger.end([first.reservation.id], EndReason.RELEASED, by="teardown")
    (again,) = ledger.end([first.reservation.id, "nothing"], EndReason.RUN_OVER, by="triggerer")
    assert again == released
    assert (again.end_reason, again.ended_by) == (EndReason.RELEASED, "teardown")
    assert not again.stands
    assert ledger.end([], EndReason.RUN_OVER, by="triggerer") == []


def test_a_teardown_gives_an_earlier_try_its_grace(ledger: Ledger) -> None:
    earlier = reserve(ledger, claim_of("monday", attempt=1), 60)
    current = reserve(ledger, claim_of("monday", attempt=2), 60)
    ids = [earlier.reservation.id, current.reservation.id]
    ended = {row.id: row.end_reason for row in ledger.end(ids, EndReason.RELEASED, by="teardown")}
    assert ended == {ids[0]: EndReason.SUPERSEDED, ids[1]: EndReason.RELEASED}


@pytest.mark.parametrize("usd", [10, 400], ids=["who cannot open", "who opens"])
def test_an_expired_reservation_is_ended_by_the_next_one_who_wants_to_reserve(
    ledger: Ledger, engine: sa.engine.Engine, usd: int
) -> None:
    reserve(ledger, claim_of("monday", reserve_for_seconds=3600), 60)
    reserve(ledger, claim_of("tuesday"), 60)
    pass_time(engine, 3600)
    ledger.reserve(claim_of("wednesday"), lambda: account_with(usd))
    (monday,) = ledger.history(run_id="monday")
    assert (monday.end_reason, monday.ended_by) == (
        EndReason.EXPIRED,
        f"attempt {attempt_of('wednesday').id}",
    )
    assert {row.holder.run_id for row in ledger.standing()} - {"wednesday"} == {"tuesday"}


def test_an_expired_reservation_counts_until_its_charges_are_posted(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    reserve(ledger, claim_of("monday", reserve_for_seconds=3600), 40)
    pass_time(engine, 3600)
    assert reserve(ledger, claim_of("tuesday"), 40).reservation is None
    assert reserve(ledger, claim_of("tuesday"), 40).reservation is None
    pass_time(engine, 180)
    assert reserve(ledger, claim_of("tuesday"), 40).reservation is not None


def test_a_retry_is_not_stale_although_an_earlier_try_was_made_by_a_clock_that_ran_ahead(
    ledger: Ledger,
) -> None:
    ahead, retry = claim_of("monday", attempt=1), claim_of("monday", attempt=2)
    ahead = replace(ahead, attempt=replace(ahead.attempt, order="tomorrow"))
    retry = replace(retry, attempt=replace(retry.attempt, order="today"))
    reserve(ledger, ahead, 100)
    assert reserve(ledger, retry, 100).reservation is not None
    assert standing_of_earlier_attempts(ledger, retry.attempt)[0].attempt == ahead.attempt


def test_a_run_that_is_made_again_under_its_id_is_not_stale(ledger: Ledger) -> None:
    old, new = claim_of("monday", attempt=3), claim_of("monday", attempt=1)
    new = replace(new, attempt=replace(new.attempt, id="made again", order="later than the old run"))
    reserve(ledger, old, 100)
    assert reserve(ledger, new, 100).reservation is not None
    assert standing_of_earlier_attempts(ledger, new.attempt)[0].attempt == old.attempt


def test_a_decision_writes_the_accounts_row_before_it_reads_anything(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    reserve(ledger, claim_of("monday"), 100)
    note = ledger.note()
    sent = statements_sent_from_now(engine)

    reserve(ledger, claim_of("tuesday"), 100, note)
    # What begins the transaction sets its limits.
    statements = [each for each in sent if not each.startswith(("BEGIN", "PRAGMA", "SELECT set_config"))]
    assert statements[0].startswith("UPDATE youcom_accounts")
    assert any("youcom_reservations" in each for each in statements[1:])


def test_a_decision_on_a_new_account_writes_its_row_before_it_reads_anything(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    note = ledger.note()
    sent = statements_sent_from_now(engine)

    reserve(ledger, claim_of("monday"), 100, note)
    statements = [each for each in sent if not each.startswith(("BEGIN", "PRAGMA", "SELECT set_config"))]
    # The one that did not add the row waits for it: the account may be new to two decisions at once.
    first_words = [" ".join(each.split()[:3]).removesuffix(" SET") for each in statements[:3]]
    assert first_words == ["UPDATE youcom_accounts", "INSERT INTO youcom_accounts", "UPDATE youcom_accounts"]


def test_a_decision_asks_once_whether_somebody_waits_and_no_more_if_nobody_does(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    note = ledger.note()
    sent = statements_sent_from_now(engine)

    for usd in (0, 100):
        sent.clear()
        reserve(ledger, claim_of("monday"), usd, note)
        assert sum("youcom_line" in each for each in sent) == 1


def test_a_gate_that_lacks_the_smallest_unit_does_not_open(ledger: Ledger) -> None:
    assert reserve(ledger, claim_of("monday", "100.0000001"), 100).reservation is None
    # Once somebody waits, the decision looks at the line, too.
    ledger.line.join(claim_of("another", 1000), account_with(0).account_id, 60)
    assert reserve(ledger, claim_of("monday", "100.0000001"), 100).reservation is None
    assert reserve(ledger, claim_of("monday", "100"), 100).reservation is not None


def test_a_note_reads_the_line_only_if_somebody_waits(ledger: Ledger, engine: sa.engine.Engine) -> None:
    reserve(ledger, claim_of("monday"), 100)
    sent = statements_sent_from_now(engine)

    def selects() -> int:
        sent.clear()
        ledger.note()
        return sum("FROM youcom_line" in each and "youcom_line.holder_key" in each for each in sent)

    assert selects() == 0
    ledger.line.join(claim_of("tuesday"), account_with(0).account_id, 60)
    assert selects() == 1


def test_you_com_is_asked_after_the_note(ledger: Ledger) -> None:
    first = reserve(ledger, claim_of("monday"), 40, settle_seconds=0)

    def ask_while_another_run_ends() -> AccountBalance:
        balance = account_with(40)
        ledger.end([first.reservation.id], EndReason.RELEASED, by="teardown")
        return balance

    assert ledger.reserve(claim_of("tuesday"), ask_while_another_run_ends).reservation is None


def test_a_gate_does_not_open_with_a_reservation_that_has_expired(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    reserve(ledger, claim_of("monday", reserve_for_seconds=3600), 40)
    pass_time(engine, 3600)
    again = reserve(ledger, claim_of("monday"), 40)
    assert (again.reservation, again.available.reserved_usd) == (None, 25)
    assert [row.end_reason for row in ledger.history()] == [EndReason.EXPIRED]


def test_a_note_shows_what_is_reserved_and_which_gates_could_open(ledger: Ledger) -> None:
    assert ledger.note().of("4f1c").reserved_usd == 0
    reserve(ledger, claim_of("monday"), 60)
    released = reserve(ledger, claim_of("tuesday"), 60)
    ledger.end([released.reservation.id], EndReason.RELEASED, by="teardown")
    note = ledger.note()
    assert note.of("4f1c").reserved_usd == 50
    assert note.of("4f1c").reserved_for_run_usd(attempt_of("monday").holder) == 25
    assert note.needs_decision(claim_of("wednesday"), account_with(75))
    assert not note.needs_decision(claim_of("wednesday"), account_with("74.99"))
    assert note.needs_decision(claim_of("monday"), account_with(25)), "its own reservation opens it"
    assert note.needs_decision(claim_of("monday"), account_with(25, "another"))


def test_a_note_reads_the_databases_clock_in_utc(ledger: Ledger) -> None:
    before = time.time()
    noted = ledger.note().time / 1_000_000
    after = time.time()
    # SQLite's clock counts milliseconds, and may round.
    assert before - 0.001 <= noted <= after + 0.001


def test_figures_are_exact_and_rounded_to_the_safe_side(ledger: Ledger) -> None:
    decision = reserve(ledger, claim_of("monday", "0.00000011"), "0.00000029")
    assert decision.available.available_usd == Decimal("0.0000002"), "the balance is rounded down"
    assert decision.reservation.amount_usd == Decimal("0.0000002"), "the need is rounded up"
    huge = AccountBalance("4f1c", Decimal("9" * 300), NOON)
    decision = ledger.decide(claim_of("tuesday"), huge, ledger.note())
    assert decision.available.available_usd == Decimal("9" * 298 + ".9899998")


@pytest.mark.parametrize("usd", [0, -1, "NaN", "Infinity", 10**12])
def test_an_amount_that_cannot_be_reserved_is_refused(usd: object) -> None:
    with pytest.raises(ValueError, match="amount_usd=.* cannot be reserved: pass an amount above 0"):
        claim_of("monday", usd)


@pytest.mark.parametrize("seconds", [-1, "soon", float("nan"), float("inf"), True, None])
def test_an_invalid_duration_is_refused(ledger: Ledger, seconds: object) -> None:
    with pytest.raises(ValueError, match=r"is not a duration: use a timedelta or a number of seconds"):
        claim_of("monday", reserve_for_seconds=seconds)
    with pytest.raises(ValueError, match=r"is not a duration: use a timedelta or a number of seconds"):
        reserve(ledger, claim_of("monday"), 100, settle_seconds=seconds)


def test_airflow_is_asked_about_each_run_once_a_minute(ledger: Ledger, engine: sa.engine.Engine) -> None:
    reserve(ledger, claim_of("monday", task_ids=("search", "summarize")), 100)
    reserve(ledger, claim_of("monday", deployment="staging"), 100)
    assert ledger.mark_asked("production") == []
    pass_time(engine, 60)
    (asked,) = ledger.mark_asked("production")
    assert asked.holder == attempt_of("monday").holder
    assert asked.task_ids == ("search", "summarize")
    assert ledger.mark_asked("production") == []
    pass_time(engine, 60)
    assert len(ledger.mark_asked("production")) == 1


def test_standing_and_ended_reservations_can_be_listed(ledger: Ledger, engine: sa.engine.Engine) -> None:
    reserve(ledger, claim_of("monday"), 100)
    pass_time(engine, 1)
    second = reserve(ledger, claim_of("tuesday", task_id="another_gate"), 100)
    pass_time(engine, 1)
    reserve(ledger, claim_of("wednesday"), 100)
    ledger.end([second.reservation.id], EndReason.BY_HAND, by="somebody")
    assert [row.holder.run_id for row in ledger.standing()] == ["monday", "wednesday"]
    assert [row.holder.run_id for row in ledger.standing(run_id="wednesday", map_index=-1)] == ["wednesday"]
    assert [row.holder.run_id for row in ledger.history()] == ["wednesday", "tuesday", "monday"]
    assert [row.ended_by for row in ledger.history(task_id="another_gate")] == ["somebody"]
    assert len(ledger.history(limit=2)) == 2
    assert ledger.get([second.reservation.id])[0].end_reason is EndReason.BY_HAND


def test_what_counts_is_listed_with_what_ended_lately(ledger: Ledger, engine: sa.engine.Engine) -> None:
    first = reserve(ledger, claim_of("monday"), 100)
    reserve(ledger, claim_of("tuesday"), 100)
    ledger.end([first.reservation.id], EndReason.RELEASED, by="teardown")
    assert {row.holder.run_id: row.stands for row in ledger.counting()} == {"monday": False, "tuesday": True}
    assert sum(row.amount_usd for row in ledger.counting()) == ledger.note().of("4f1c").reserved_usd
    pass_time(engine, 60)
    assert [row.holder.run_id for row in ledger.counting()] == ["tuesday"]


def test_a_purge_deletes_old_ends_and_outdates_the_notes_that_might_miss_them(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    first = reserve(ledger, claim_of("monday", reserve_for_seconds=10**7), 100)
    reserve(ledger, claim_of("tuesday", reserve_for_seconds=10**7), 100)
    old_note = ledger.note()
    ledger.end([first.reservation.id], EndReason.RELEASED, by="teardown")
    assert ledger.purge() == 0
    pass_time(engine, 32 * 24 * 3600)
    assert ledger.purge() == 1
    assert ledger.purge() == 0
    assert [row.holder.run_id for row in ledger.history()] == ["tuesday"]
    with pytest.raises(YouComLedgerUnavailableError, match="old entries of the ledger were deleted"):
        reserve(ledger, claim_of("wednesday"), 100, old_note)
    assert reserve(ledger, claim_of("wednesday"), 100).reservation is not None


def test_only_one_of_two_gates_that_decide_at_once_gets_the_last_credits(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = ledger.note()
    both_have_summed = threading.Barrier(2)
    reserved = []

    def wait_for_the_other(**facts: object) -> Outcome:
        # The other one waits for the lock and cannot get here.
        with suppress(threading.BrokenBarrierError):
            both_have_summed.wait(timeout=0.3)
        return really_decide(**facts)

    really_decide = _decision.rule.decide
    monkeypatch.setattr(_decision.rule, "decide", wait_for_the_other)
    threads = [
        threading.Thread(
            target=lambda run=run: reserved.append(reserve(ledger, claim_of(run), 40, note).reservation)
        )
        for run in ("monday", "tuesday")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each is None for each in reserved) == [False, True]


def test_what_was_reserved_reads_the_same_in_the_decision_and_in_the_ledger(ledger: Ledger) -> None:
    claim = claim_of("monday", "25.00001", task_ids=("search", "answer"), reserve_for_seconds=3600)
    decision = reserve(ledger, claim, 40, settle_seconds=7.5)
    assert decision.reservation is not None
    assert ledger.get([decision.reservation.id]) == [decision.reservation]
    assert decision.reservation.task_ids == ("search", "answer")
    assert decision.reservation.settle_seconds == 7.5
    assert (decision.reservation.expires_at - decision.reservation.reserved_at).total_seconds() == 3600
    assert decision.available.reservation_id == decision.reservation.id
    again = reserve(ledger, claim, 40)
    assert again.reservation == decision.reservation
    assert again.available.reservation_id == decision.reservation.id


def test_what_expired_in_one_account_stands_in_another_until_somebody_decides_there(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for account_id in ("4f1c", "another"):
        claim = claim_of(f"monday in {account_id}", reserve_for_seconds=3600)
        ledger.decide(claim, account_with(40, account_id), ledger.note())
    pass_time(engine, 3600)
    reserve(ledger, claim_of("tuesday"), 40)
    assert {row.account_id for row in ledger.standing()} == {"another"}


def test_reservations_in_several_accounts_end_in_one_call(ledger: Ledger) -> None:
    decisions = [
        ledger.decide(claim_of(account_id), account_with(40, account_id), ledger.note())
        for account_id in ("b", "a", "c")
    ]
    ids = [decision.reservation.id for decision in decisions[:2] if decision.reservation]
    ledger.end(ids, EndReason.BY_HAND, by="somebody")
    assert [row.account_id for row in ledger.standing()] == ["c"]


def test_a_short_attempt_is_remembered_as_the_newest_of_its_holder_alone(ledger: Ledger) -> None:
    reserve(ledger, claim_of("monday", attempt=1), 0)
    reserve(ledger, claim_of("monday", attempt=3), 0)
    with pytest.raises(YouComRefusedError, match="A newer attempt"):
        reserve(ledger, claim_of("monday", attempt=2), 400)
    assert reserve(ledger, claim_of("monday", task_id="second_gate"), 400).reservation is not None
    assert reserve(ledger, claim_of("monday", attempt=3), 400).reservation is not None


def test_airflow_is_asked_about_no_more_reservations_than_the_limit(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for run in ("monday", "tuesday", "wednesday"):
        reserve(ledger, claim_of(run), 100)
    pass_time(engine, 60)
    first = ledger.mark_asked("production", limit=2)
    second = ledger.mark_asked("production", limit=2)
    assert (len(first), len(second)) == (2, 1)
    assert {row.id for row in first}.isdisjoint(row.id for row in second)
    assert ledger.mark_asked("production", limit=2) == []


def test_whoever_ends_what_has_expired_is_told_what_it_has_ended(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for account_id in ("4f1c", "another"):
        claim = claim_of(f"monday in {account_id}", reserve_for_seconds=3600)
        ledger.decide(claim, account_with(40, account_id), ledger.note())
    reserve(ledger, claim_of("tuesday"), 100)
    pass_time(engine, 3600)
    ended = ledger.end_expired(by="housekeeping")
    assert {row.holder.run_id for row in ended} == {"monday in 4f1c", "monday in another"}
    assert {(row.end_reason, row.ended_by) for row in ended} == {(EndReason.EXPIRED, "housekeeping")}
    assert ledger.end_expired(by="housekeeping") == []


def test_an_engine_that_keeps_no_connections_open_is_enough(url: str, engine: sa.engine.Engine) -> None:
    ledger = Ledger(sa.create_engine(url, poolclass=sa.pool.NullPool), answer_within=60)
    first = reserve(ledger, claim_of("monday"), 100).reservation
    second = reserve(ledger, claim_of("tuesday", reserve_for_seconds=3600), 100).reservation
    assert first is not None
    assert second is not None
    assert ledger.note().of("4f1c").reserved_usd == 50
    pass_time(engine, 60)
    assert {row.id for row in ledger.mark_asked("production")} == {first.id, second.id}
    assert [row.id for row in ledger.end([first.id], EndReason.BY_HAND, by="somebody")] == [first.id]
    pass_time(engine, 3600)
    assert [row.id for row in ledger.end_expired(by="somebody")] == [second.id]


def test_a_gate_that_cannot_open_asks_for_no_decision(ledger: Ledger, engine: sa.engine.Engine) -> None:
    reserve(ledger, claim_of("monday"), 100)
    sent = statements_sent_from_now(engine)
    decision = ledger.reserve(claim_of("tuesday"), lambda: account_with(49.99))
    assert (decision.reservation, decision.available.available_usd) == (None, Decimal("24.99"))
    assert not any("youcom_holders" in statement for statement in sent)


def test_nothing_is_asked_to_end_nothing(ledger: Ledger, engine: sa.engine.Engine) -> None:
    sent = statements_sent_from_now(engine)
    assert ledger.end([], EndReason.RELEASED, by="teardown") == []
    assert sent == []


def test_a_ledger_that_is_closed_leaves_no_connection_open(url: str) -> None:
    # SQLAlchemy 1.4 keeps no connection to a file open by default.
    engine = sa.create_engine(url, poolclass=sa.pool.QueuePool)
    closed: list[object] = []
    sa.event.listen(engine, "close", lambda connection, record: closed.append(connection))
    ledger = Ledger(engine, answer_within=60)
    ledger.note()
    assert closed == []
    ledger.close()
    assert len(closed) == 1
    assert ledger.note().accounts == {}
    ledger.close()


def test_a_duration_may_be_zero_and_no_less(ledger: Ledger) -> None:
    assert reserve(ledger, claim_of("monday"), 100, settle_seconds=0).reservation
    assert ledger.purge(keep_seconds=0) == 0
    with pytest.raises(ValueError, match="keep_seconds=-1 "):
        ledger.purge(keep_seconds=-1)
    with pytest.raises(ValueError, match="settle_seconds=-1 "):
        reserve(ledger, claim_of("tuesday"), 100, settle_seconds=-1)


def test_a_ledger_in_a_file_is_for_one_machine(ledger: Ledger, engine: sa.engine.Engine) -> None:
    assert ledger.is_for_one_machine is (engine.dialect.name == "sqlite")
    assert ledger.exists is False
    ledger.note()
    assert ledger.exists is True
