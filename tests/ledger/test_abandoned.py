"""What is ended because nobody spends from it any more, and what is not."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.ledger import abandoned
from airflow_provider_youcom.ledger.abandoned import MAY_SPEND, end_earlier_attempts, end_lost
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.questions import Ask, Runs, Tasks
from airflow_provider_youcom.ledger.rule import EndReason
from tests.ledger.spending import account_with, attempt_of, claim_of, pass_time, reserve

pytestmark = pytest.mark.on_the_ends


def airflow_in_which(over: Iterable[str], asked: list[Runs] | None = None) -> Ask:
    """An Airflow in which these runs are over, and all others are running."""
    ended = set(over)

    def ask(question: Tasks | Runs) -> int:
        assert isinstance(question, Runs)
        if asked is not None:
            asked.append(question)
        return len(ended & set(question.run_ids)) if "success" in question.states else 0

    return ask


def ends(ledger: Ledger) -> dict[str, EndReason | None]:
    return {each.holder.run_id: each.end_reason for each in ledger.history(limit=1000)}


def a_minute_later(ledger: Ledger, engine: sa.engine.Engine, ask: Ask) -> None:
    pass_time(engine, 60)
    end_lost(ledger, attempt_of("keeper").holder, ask)


def test_the_reservations_of_runs_that_are_over_are_ended(ledger: Ledger, engine: sa.engine.Engine) -> None:
    for run in ("monday", "tuesday"):
        reserve(ledger, claim_of(run), 100)
    a_minute_later(ledger, engine, airflow_in_which(["monday"]))
    assert ends(ledger) == {"monday": EndReason.RUN_OVER, "tuesday": None}


def test_a_reservation_that_has_expired_is_ended_on_any_account(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    ledger.decide(claim_of("monday", reserve_for_seconds=50), account_with(40, "another"), ledger.note())
    reserve(ledger, claim_of("tuesday"), 40)
    a_minute_later(ledger, engine, airflow_in_which([]))
    assert ends(ledger) == {"monday": EndReason.EXPIRED, "tuesday": None}


def test_a_run_that_airflow_does_not_know_is_left_to_expire(ledger: Ledger, engine: sa.engine.Engine) -> None:
    reserve(ledger, claim_of("monday"), 100)
    a_minute_later(ledger, engine, lambda question: 0)
    assert ends(ledger) == {"monday": None}


def test_the_runs_of_another_deployment_are_not_asked_about(ledger: Ledger, engine: sa.engine.Engine) -> None:
    reserve(ledger, claim_of("monday", deployment="staging"), 100)
    a_minute_later(ledger, engine, airflow_in_which(["monday"]))
    assert ends(ledger) == {"monday": None}


def test_the_last_of_many_runs_is_found_with_few_questions(ledger: Ledger, engine: sa.engine.Engine) -> None:
    for number in range(99):
        reserve(ledger, claim_of(f"run {number:02}", 1), 1000)
    asked: list[Runs] = []
    a_minute_later(ledger, engine, airflow_in_which(["run 98"], asked))
    assert ends(ledger)["run 98"] is EndReason.RUN_OVER
    assert len(asked) <= 15


def test_runs_are_found_little_by_little_if_airflow_is_slow(
    ledger: Ledger, engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        reserve(ledger, claim_of(f"run {number:02}", 1), 1000)
    over = [f"run {number:02}" for number in range(1, 20, 2)]
    clock = [0.0]
    monkeypatch.setattr(abandoned.time, "monotonic", lambda: clock[0])
    really_ask = airflow_in_which(over)

    def ask_slowly(question: Tasks | Runs) -> int:
        clock[0] += 1.0
        return really_ask(question)

    for _ in range(5):
        a_minute_later(ledger, engine, ask_slowly)
    ended = [run for run, reason in ends(ledger).items() if reason]
    assert sorted(ended) == over


def test_an_earlier_try_is_ended_once_no_task_behind_the_gate_may_spend(ledger: Ledger) -> None:
    reserve(ledger, claim_of("monday", task_ids=("search",)), 100)
    asked: list[Tasks | Runs] = []

    def ask(question: Tasks | Runs) -> int:
        asked.append(question)
        return 0

    end_earlier_attempts(ledger, attempt_of("monday", 2), ask)
    assert ends(ledger) == {"monday": EndReason.SUPERSEDED}
    assert asked == [Tasks("research", "monday", ("search",), MAY_SPEND)]


@pytest.mark.parametrize("state", ["running", "restarting", "queued", "scheduled", "deferred"])
def test_a_task_in_one_of_these_states_may_still_spend(state: str) -> None:
    assert state in MAY_SPEND


@pytest.mark.parametrize("state", ["up_for_retry", "up_for_reschedule", "success", "failed"])
def test_a_task_in_one_of_these_states_asks_its_gate_again_or_has_ended(state: str) -> None:
    assert state not in MAY_SPEND


def test_what_a_try_reserves_while_airflow_is_asked_is_not_ended(ledger: Ledger) -> None:
    reserve(ledger, claim_of("monday", attempt=1), 100)

    def ask_while_a_new_try_reserves(question: Tasks | Runs) -> int:
        reserve(ledger, claim_of("monday", attempt=2), 100)
        return 0

    end_earlier_attempts(ledger, attempt_of("monday", 3), ask_while_a_new_try_reserves)
    reasons = {each.attempt.order[-1]: each.end_reason for each in ledger.history()}
    assert reasons == {"1": EndReason.SUPERSEDED, "2": None}


def test_an_airflow_that_does_not_answer_ends_nothing(
    ledger: Ledger, engine: sa.engine.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def no_answer(question: Tasks | Runs) -> int:
        raise OSError("the API server is away")

    reserve(ledger, claim_of("monday"), 100)
    end_earlier_attempts(ledger, attempt_of("monday", 2), no_answer)
    a_minute_later(ledger, engine, no_answer)
    assert ends(ledger) == {"monday": None}
    assert "Airflow did not say which tasks and runs are over (OSError: the API server is" in caplog.text


@pytest.mark.parametrize(("unfinished", "told"), [(2, "2"), (None, "some")])
def test_an_earlier_try_keeps_what_tasks_may_still_spend_and_the_log_says_so(
    ledger: Ledger, caplog: pytest.LogCaptureFixture, unfinished: int | None, told: str
) -> None:
    caplog.set_level("INFO", logger=abandoned.log.name)

    def ask(question: Tasks | Runs) -> int:
        if unfinished is None:
            raise OSError("the API server is away")
        return unfinished

    reserve(ledger, claim_of("monday", 25), 100)
    reserve(ledger, claim_of("monday", 5.001, attempt=2), 100)
    end_earlier_attempts(ledger, attempt_of("monday", 3), ask)
    assert len(ledger.standing()) == 2
    assert caplog.messages[-1] == (
        f"An earlier attempt of this gate keeps its $25.00 and $5.01, since {told} of the tasks behind it "
        "may still spend it."
    )


def test_the_log_and_the_history_say_what_was_ended_and_by_whom(
    ledger: Ledger, engine: sa.engine.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger=abandoned.log.name)
    reserve(ledger, claim_of("monday", 5.001), 100)
    a_minute_later(ledger, engine, airflow_in_which(["monday"]))
    assert caplog.messages == [
        "The reservation of $5.01 for task gate of run monday in DAG research has ended: run over."
    ]
    reserve(ledger, claim_of("tuesday"), 100)
    end_earlier_attempts(ledger, attempt_of("tuesday", 2), lambda question: 0)
    assert caplog.messages[1:] == [
        "The reservation of $25.00 for task gate of run tuesday in DAG research has ended: superseded."
    ]
    assert {each.holder.run_id: each.ended_by for each in ledger.history()} == {
        "monday": attempt_of("keeper").holder.name,
        "tuesday": attempt_of("tuesday").holder.name,
    }


def test_airflow_is_not_asked_when_nothing_stands(ledger: Ledger, engine: sa.engine.Engine) -> None:
    asked: list[Tasks | Runs] = []

    def ask(question: Tasks | Runs) -> int:
        asked.append(question)
        return 0

    end_earlier_attempts(ledger, attempt_of("monday", 2), ask)
    a_minute_later(ledger, engine, ask)
    assert asked == []


def test_a_ledger_that_cannot_be_read_is_logged_and_raises_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    no_database = Ledger(sa.create_engine(f"sqlite:///{tmp_path}/no/such/folder/ledger.db"))
    end_earlier_attempts(no_database, attempt_of("monday", 2), lambda question: 0)
    end_lost(no_database, attempt_of("keeper").holder, lambda question: 0)
    assert len(caplog.messages) == 2
    for message in caplog.messages:
        assert message.startswith("Reservations that nobody spends from any more were not ended: ")
        assert "youcom_ledger" in message


def test_only_earlier_attempts_of_the_same_gate_are_found(ledger: Ledger) -> None:
    gate = Holder("production", "research", "monday", "gate", 3)
    others = [
        Holder("staging", "research", "monday", "gate", 3),
        Holder("production", "archive", "monday", "gate", 3),
        Holder("production", "research", "tuesday", "gate", 3),
        Holder("production", "research", "monday", "pay", 3),
        Holder("production", "research", "monday", "gate", 4),
    ]
    for number, holder in enumerate([gate, *others]):
        reserve(ledger, Claim(Attempt(holder, id=f"{number}", order="b", try_number=1), Decimal(1)), 100)
    same = Attempt(gate, id="same", order="b", try_number=1)
    assert abandoned.standing_of_earlier_attempts(ledger, same) == []
    older = Attempt(gate, id="older", order="a", try_number=0)
    assert abandoned.standing_of_earlier_attempts(ledger, older) == []
    newer = Attempt(gate, id="newer", order="c", try_number=2)
    assert [each.attempt.id for each in abandoned.standing_of_earlier_attempts(ledger, newer)] == ["0"]


def test_a_run_is_asked_about_once_under_its_own_dag(ledger: Ledger, engine: sa.engine.Engine) -> None:
    for dag_id in ("research", "archive"):
        for task_id in ("gate", "second_gate"):
            holder = Holder("production", dag_id, "monday", task_id)
            attempt = Attempt(holder, id=f"{dag_id}/{task_id}", order="a", try_number=1)
            reserve(ledger, Claim(attempt, Decimal(1)), 100)
    asked: list[Runs] = []
    a_minute_later(ledger, engine, airflow_in_which([], asked))
    assert sorted(asked, key=lambda question: question.dag_id) == [
        Runs("archive", ("monday",), ("success", "failed")),
        Runs("research", ("monday",), ("success", "failed")),
    ]


def test_one_question_is_enough_if_all_runs_are_over(ledger: Ledger, engine: sa.engine.Engine) -> None:
    runs = [f"run {number}" for number in range(8)]
    for run in runs:
        reserve(ledger, claim_of(run, 1), 1000)
    asked: list[Runs] = []
    a_minute_later(ledger, engine, airflow_in_which(runs, asked))
    assert len(asked) == 1
    assert set(ends(ledger).values()) == {EndReason.RUN_OVER}


def test_a_slow_airflow_is_asked_for_ten_seconds_and_no_longer(
    ledger: Ledger, engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [f"run {number:02}" for number in range(40)]
    for run in runs:
        reserve(ledger, claim_of(run, 1), 1000)
    clock = [100.0]
    monkeypatch.setattr(abandoned.time, "monotonic", lambda: clock[0])
    asked: list[Runs] = []
    really_ask = airflow_in_which(runs[::2], asked)

    def ask_slowly(question: Tasks | Runs) -> int:
        clock[0] += 1.0
        return really_ask(question)

    a_minute_later(ledger, engine, ask_slowly)
    # The first at once, and the last after ten seconds.
    assert len(asked) == 11
