"""The teardown: what it releases, and the reason it records."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task_group

from airflow_provider_youcom import _airflow
from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.questions import Runs
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.operators import release
from airflow_provider_youcom.operators.balance import GetBalanceOperator
from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
from airflow_provider_youcom.sensors.balance import BalanceSensor

Log = pytest.LogCaptureFixture


class Airflow:
    """The answers of Airflow: the state of each task instance and of the run."""

    def __init__(self, tasks: dict[str, str | None], run: str = "running") -> None:
        self.tasks = tasks
        self.run = run

    def ask(self, question: Any) -> int:
        if isinstance(question, Runs):
            return int(self.run in question.states)
        states = [self.tasks[task_id] for task_id in question.task_ids]
        return sum(question.states is None or state in question.states for state in states)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow({"search": "success", "summarize": "success"})
    monkeypatch.setattr(release, "ask", airflow.ask)
    monkeypatch.setattr(_airflow, "_deployment_id", lambda: "production")
    return airflow


def reserve_for(map_index: int = -1, run: str = "monday", seconds: float = 3600.0) -> None:
    attempt = f"{run} {map_index}"
    holder = Holder("production", "pipeline", run, "gate", map_index)
    claim = Claim(Attempt(holder, attempt, attempt), Decimal(20), seconds)
    YouComHook().ledger.reserve(claim, YouComHook().get_balance, settle_seconds=0)


def teardown(retry_delay: timedelta = timedelta(minutes=5), left_out: str = "") -> ReleaseCreditsOperator:
    with DAG("pipeline", start_date=pendulum.datetime(2026, 1, 1), schedule=None):
        gate = BalanceSensor(task_id="gate", min_usd=20, reserve=True)
        work = {
            task_id: GetBalanceOperator(task_id=task_id, retries=2, retry_delay=retry_delay)
            for task_id in ("search", "summarize")
        }
        release = gate.reservation()
        for task_id, task in work.items():
            gate >> task
            if task_id != left_out:
                task >> release
    return release


def run(
    operator: ReleaseCreditsOperator, map_index: int = -1, try_number: int = 1, ledger_id: Any = None
) -> None:
    task = SimpleNamespace(
        dag_id="pipeline",
        run_id="monday",
        task_id=operator.task_id,
        map_index=map_index,
        id="x",
        try_number=try_number,
        max_tries=operator.retries,
        xcom_pull=lambda task_ids, key: ledger_id,
    )
    operator.execute({"ti": task})  # type: ignore[typeddict-item]


def test_it_releases_in_order_when_all_work_is_done(ledger: Ledger, answers: Airflow, task_log: Log):
    reserve_for()
    run(teardown())
    (ended,) = ledger.history()
    assert (ended.end_reason, ended.ended_by) == (EndReason.RELEASED, "release_gate")
    assert "Released $20.00 after 0:00:0" in task_log.text


@pytest.mark.parametrize("state", ["failed", "upstream_failed", "running", "up_for_retry", None])
def test_work_that_did_not_succeed_may_still_be_dying(ledger: Ledger, answers: Airflow, state: str | None):
    reserve_for()
    answers.tasks["search"] = state
    run(teardown())
    assert ledger.history()[0].end_reason is EndReason.CUT_SHORT


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_run_that_somebody_marked_may_have_work_that_is_still_dying(
    ledger: Ledger, answers: Airflow, state: str
):
    reserve_for()
    answers.run = state
    run(teardown())
    assert ledger.history()[0].end_reason is EndReason.CUT_SHORT


def test_a_lost_try_may_still_spend_if_the_next_one_did_not_wait(ledger: Ledger, answers: Airflow):
    reserve_for()
    run(teardown(retry_delay=timedelta(seconds=30)))
    assert ledger.history()[0].end_reason is EndReason.CUT_SHORT


def test_it_releases_nothing_of_another_run(ledger: Ledger, answers: Airflow, task_log: Log):
    reserve_for(run="tuesday")
    run(teardown())
    assert len(ledger.standing()) == 1
    assert "Gate gate has nothing reserved in this run." in task_log.text


def test_it_asks_airflow_nothing_if_nothing_stands(
    ledger: Ledger, answers: Airflow, monkeypatch: pytest.MonkeyPatch
):
    asked: list[Any] = []
    monkeypatch.setattr(release, "ask", asked.append)
    run(teardown())
    assert asked == []


def test_it_does_not_end_what_a_cleared_gate_reserves_while_it_runs(
    ledger: Ledger, answers: Airflow, monkeypatch: pytest.MonkeyPatch
):
    reserve_for()
    holder = Holder("production", "pipeline", "monday", "gate")
    anew = Claim(Attempt(holder, "anew", "monday anew", try_number=2), Decimal(20))

    def ask_while_the_gate_reserves_anew(question: Any) -> int:
        ledger.reserve(anew, YouComHook().get_balance)
        return answers.ask(question)

    monkeypatch.setattr(release, "ask", ask_while_the_gate_reserves_anew)
    run(teardown())
    assert [row.attempt.id for row in ledger.standing()] == ["anew"]


def test_it_releases_all_indexes_of_a_mapped_gate_and_only_its_own_in_a_mapped_group(
    ledger: Ledger, answers: Airflow
):
    for map_index in range(3):
        reserve_for(map_index)
    run(teardown(), map_index=1)
    assert sorted(each.holder.map_index for each in ledger.standing()) == [0, 2]
    run(teardown())
    assert ledger.standing() == []


def test_work_that_was_left_out_of_the_block_keeps_the_reservation(
    ledger: Ledger, answers: Airflow, task_log: Log
):
    reserve_for()
    answers.tasks["summarize"] = "running"
    run(teardown(left_out="summarize"))
    assert len(ledger.standing()) == 1
    assert "Nothing was released, since summarize is behind gate gate, not in front of this" in task_log.text
    answers.tasks["summarize"] = "success"
    run(teardown(left_out="summarize"))
    assert ledger.standing() == []


def test_work_of_the_next_block_does_not_keep_the_reservation(ledger: Ledger, answers: Airflow):
    reserve_for()
    answers.tasks["report"] = None
    release = teardown()
    with release.dag, BalanceSensor(task_id="next_gate", min_usd=1, reserve=True).reservation():
        GetBalanceOperator(task_id="report") << release.dag.get_task("search")
    run(release)
    assert ledger.history()[0].end_reason is EndReason.RELEASED


@pytest.mark.parametrize("place", ["in front of the next block", "behind the next block"])
def test_work_outside_the_next_block_keeps_the_reservation(ledger: Ledger, answers: Airflow, place: str):
    reserve_for()
    release = teardown(left_out="summarize")
    left_out = release.dag.get_task("summarize")
    with release.dag:
        # It names no gate of this DAG, and is no reason to fail.
        ReleaseCreditsOperator(task_id="of_no_gate", gate_task_id="missing")
        next_gate = BalanceSensor(task_id="next_gate", min_usd=1, reserve=True)
        with next_gate.reservation():
            report = GetBalanceOperator(task_id="report")
    if place == "in front of the next block":
        left_out >> report
    else:
        next_gate >> left_out
    answers.tasks |= {"summarize": "running", "report": None}
    run(release)
    assert len(ledger.standing()) == 1


def test_work_that_two_gates_pay_for_keeps_both_reservations(ledger: Ledger, answers: Airflow):
    reserve_for()
    release = teardown(left_out="summarize")
    with release.dag, BalanceSensor(task_id="next_gate", min_usd=1, reserve=True).reservation() as block:
        block.add_task(release.dag.get_task("search"))
    answers.tasks["search"] = "running"
    run(release)
    assert ledger.history()[0].end_reason is EndReason.CUT_SHORT


def test_a_task_that_runs_after_the_teardown_does_not_keep_the_reservation(ledger: Ledger, answers: Airflow):
    reserve_for()
    answers.tasks["report"] = None
    release = teardown()
    with release.dag:
        release >> GetBalanceOperator(task_id="report")
    run(release)
    assert ledger.history()[0].end_reason is EndReason.RELEASED


@pytest.mark.parametrize("found_by_a_gate", [True, False])
def test_an_expired_reservation_is_logged_as_expired(
    ledger: Ledger, answers: Airflow, task_log: Log, found_by_a_gate: bool
):
    reserve_for(seconds=1e-6)
    if found_by_a_gate:
        reserve_for(run="tuesday")
    run(teardown())
    assert "The reservation of $20.00 expired at" in task_log.text
    assert "set reserve_for of gate gate to a longer time" in task_log.text


def test_a_teardown_tries_again_while_the_ledger_does_not_answer_and_then_gives_up(
    ledger: Ledger, answers: Airflow, monkeypatch: pytest.MonkeyPatch, task_log: Log
):
    def away(self: Ledger, **names: Any) -> Any:
        raise YouComLedgerUnavailableError("What is reserved is unknown, since the ledger is away.")

    reserve_for()
    monkeypatch.setattr(Ledger, "standing", away)
    operator = teardown()
    assert operator.retries * operator.retry_delay >= timedelta(minutes=5)
    for try_number in range(1, operator.retries + 1):
        with pytest.raises(YouComLedgerUnavailableError):
            run(operator, try_number=try_number)
    run(operator, try_number=operator.retries + 1)
    assert "Nothing was released; what this gate reserved ends with the run: What is" in task_log.text


def test_a_ledger_that_cannot_be_used_fails_the_teardown(
    ledger: Ledger, answers: Airflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("AIRFLOW_CONN_LEDGER")
    with pytest.raises(AirflowFailException, match="Nothing was released: There is no connection 'ledger'"):
        run(teardown())


@pytest.mark.parametrize("pulled", ["another", '"another"', ["another", "another"], [None, "another"]])
def test_a_ledger_other_than_the_gates_is_refused(ledger: Ledger, answers: Airflow, pulled: Any):
    reserve_for()
    with pytest.raises(AirflowFailException, match="'ledger' is not the one with which"):
        run(teardown(), ledger_id=pulled)
    assert len(ledger.standing()) == 1


@pytest.mark.parametrize("pulled", [None, [], [None]])
def test_a_gate_that_did_not_name_its_ledger_is_released(ledger: Ledger, answers: Airflow, pulled: Any):
    reserve_for()
    run(teardown(), ledger_id=pulled)
    assert ledger.standing() == []


def test_the_ledger_of_the_gate_is_accepted(ledger: Ledger, answers: Airflow):
    reserve_for()
    run(teardown(), ledger_id=f'"{ledger.id}"')
    assert ledger.standing() == []


def test_an_index_of_a_mapped_group_is_judged_by_its_own_tasks(
    ledger: Ledger, answers: Airflow, monkeypatch: pytest.MonkeyPatch
):
    with DAG("pipeline", start_date=pendulum.datetime(2026, 1, 1), schedule=None):

        @task_group
        def each(number: int) -> None:
            gate = BalanceSensor(task_id="gate", min_usd=20, reserve=True)
            with gate.reservation():
                GetBalanceOperator(task_id="search")

        group = each.expand(number=[1, 2])
    states = {("each.search", 0): "success", ("each.search", 1): "failed"}

    def ask(question: Any) -> int:
        if isinstance(question, Runs):
            return 1
        found = [
            state
            for (task_id, index), state in states.items()
            if task_id in question.task_ids and question.map_index in (None, index)
        ]
        return sum(question.states is None or state in question.states for state in found)

    monkeypatch.setattr(release, "ask", ask)
    for index in (0, 1):
        holder = Holder("production", "pipeline", "monday", "each.gate", index)
        claim = Claim(Attempt(holder, str(index), "1"), Decimal(20))
        ledger.reserve(claim, YouComHook().get_balance, settle_seconds=0)
        run(group.dag.get_task("each.release_gate"), map_index=index)
    ends = {row.holder.map_index: row.end_reason for row in ledger.history()}
    assert ends == {0: EndReason.RELEASED, 1: EndReason.CUT_SHORT}


def test_one_index_does_not_release_for_all(ledger: Ledger, answers: Airflow):
    reserve_for()
    with DAG("pipeline", start_date=pendulum.datetime(2026, 1, 1), schedule=None):

        @task_group
        def each(number: int) -> None:
            # Created before its gate, and no teardown, so that nothing is known when the DAG is parsed.
            ReleaseCreditsOperator(task_id="release", gate_task_id="gate")

        group = each.expand(number=[1, 2])
        BalanceSensor(task_id="gate", min_usd=20, reserve=True) >> group
    with pytest.raises(AirflowFailException, match="Task 'each.release' is in mapped task group 'each' and"):
        run(group.dag.get_task("each.release"), map_index=0)
    assert len(ledger.standing()) == 1


def test_a_missing_gate_is_named(ledger: Ledger, answers: Airflow):
    operator = teardown()
    operator.gate_task_id = "group.gate"
    with pytest.raises(AirflowFailException, match="DAG 'pipeline' has no task 'group.gate': set gate"):
        run(operator)
