"""Hypothesis searches for a way to overspend, on real databases and with real threads."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Barrier, BrokenBarrierError
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger import _decision
from airflow_provider_youcom.ledger import rule as project_rule
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger._schema import accounts, holders, line, reservations
from airflow_provider_youcom.ledger.claim import Claim
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import AccountNote, Decision, Note
from airflow_provider_youcom.ledger.rule import NOT_ENDED, EndReason, Outcome
from tests.ledger.spending import NOON, attempt_of, call_decide, pass_time

pytestmark = pytest.mark.ledger

ACCOUNT = "4f1c"
SECOND = 1_000_000
RUNS = st.sampled_from(["monday", "tuesday", "wednesday"])
DOLLARS = st.integers(1, 4)


@dataclass
class Run:
    """A gate's current try, what it knows, and what its tasks may still spend."""

    attempt: int = 1
    note: Note | None = None
    reading_usd: int | None = None
    decision: tuple[Claim, AccountBalance, Note, str] | None = None
    reservation_id: str | None = None
    left_usd: int = 0
    expires_in: float = 0
    # What killed work may still spend: dollars, and for how many seconds.
    dying: list[tuple[int, float]] = field(default_factory=list)


class Spending(RuleBasedStateMachine):
    """Runs that share one account. Subclasses name the database of their ledger, which is emptied first."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.engine = sa.create_engine(self.url)
        self.ledger = Ledger(self.engine, answer_within=60)
        self.ledger.note()
        with self.engine.connect() as connection, connection.begin():
            for table in (accounts, holders, line, reservations):
                connection.execute(sa.delete(table))
        self.posted_usd = 4
        # Charges that are not posted yet: dollars, and the seconds within which they are posted.
        self.unposted: list[tuple[int, float]] = []
        self.runs = {name: Run() for name in ("monday", "tuesday", "wednesday")}
        self.threads = ThreadPoolExecutor(2)

    def teardown(self) -> None:
        self.threads.shutdown()
        self.engine.dispose()

    @invariant()
    def no_more_is_spent_than_the_account_holds(self) -> None:
        assert self.posted_usd >= sum(usd for usd, _ in self.unposted)

    @rule(usd=DOLLARS)
    def top_up(self, usd: int) -> None:
        self.posted_usd += usd

    @rule()
    def post_a_charge(self) -> None:
        if self.unposted:
            self.posted_usd -= self.unposted.pop(0)[0]

    @rule(run=RUNS)
    def note(self, run: str) -> None:
        self.runs[run].note = self.noted()
        self.runs[run].reading_usd = None

    @rule(run=RUNS)
    def ask(self, run: str) -> None:
        if self.runs[run].note is not None:
            self.runs[run].reading_usd = self.posted_usd

    @rule(run=RUNS, usd=DOLLARS)
    def decide(self, run: str, usd: int) -> None:
        if self.can_decide(run):
            self.learn(run, self.call_decide(run, usd))

    @rule(run=RUNS)
    def note_and_ask(self, run: str) -> None:
        self.runs[run].note = self.noted()
        self.runs[run].reading_usd = self.posted_usd

    @rule(run=RUNS, usd=DOLLARS)
    def note_ask_and_decide(self, run: str, usd: int) -> None:
        self.note_and_ask(run)
        if self.can_decide(run):
            self.learn(run, self.call_decide(run, usd))

    @rule(one=RUNS, other=RUNS, usd=DOLLARS)
    def two_decide_at_once(self, one: str, other: str, usd: int) -> None:
        if one == other or not (self.can_decide(one) and self.can_decide(other)):
            return
        answers = list(self.threads.map(lambda run: self.call_decide(run, usd), [one, other]))
        self.learn(one, answers[0])
        self.learn(other, answers[1])

    @rule(run=RUNS)
    def ask_again_for_a_lost_answer(self, run: str) -> None:
        if self.runs[run].decision is not None:
            _, decision = call_decide(self.ledger, *self.runs[run].decision)
            assert decision.reservation is None or decision.reservation.stands

    @rule(run=RUNS, usd=DOLLARS)
    def spend(self, run: str, usd: int) -> None:
        state = self.runs[run]
        spent = min(usd, state.left_usd)
        state.left_usd -= spent
        self.charge(spent)

    @rule(run=RUNS)
    def spend_while_dying(self, run: str) -> None:
        if self.runs[run].dying:
            self.charge(self.runs[run].dying.pop()[0])

    @rule(run=RUNS)
    def spend_all_and_release(self, run: str) -> None:
        state = self.runs[run]
        self.charge(state.left_usd)
        self.end_in_order(state)

    @rule(run=RUNS)
    def release(self, run: str) -> None:
        self.end_in_order(self.runs[run])

    def end_in_order(self, state: Run) -> None:
        if state.reservation_id is not None:
            self.ledger.end([state.reservation_id], EndReason.RELEASED, by="teardown")
            state.reservation_id, state.left_usd = None, 0

    @rule(run=RUNS, reason=st.sampled_from([EndReason.CUT_SHORT, EndReason.RUN_OVER, EndReason.BY_HAND]))
    def kill(self, run: str, reason: EndReason) -> None:
        if self.runs[run].reservation_id is not None:
            self.give_up(run)
            self.ledger.end([self.runs[run].reservation_id], reason, by="somebody")
            self.runs[run].reservation_id = None

    @rule(run=RUNS)
    def clear(self, run: str) -> None:
        """The gate's new attempt supersedes the earlier reservations, once no task behind it runs."""
        self.give_up(run)
        self.ledger.end(
            [reservation.id for reservation in self.ledger.standing(run_id=run)],
            EndReason.SUPERSEDED,
            by="a new attempt",
        )
        dying = self.runs[run].dying
        self.runs[run] = Run(attempt=self.runs[run].attempt + 1, dying=dying)

    @rule(run=RUNS)
    def crash(self, run: str) -> None:
        """This run is lost without a trace: its reservation stands until it expires."""
        self.give_up(run)
        self.runs[run].reservation_id = None

    @rule(seconds=st.sampled_from([1, 59, 61, 119, 121, 3601]))
    def pass_time(self, seconds: float) -> None:
        pass_time(self.engine, seconds)
        self.move_notes(-seconds)
        self.unposted = [(usd, left - seconds) for usd, left in self.unposted]
        self.posted_usd -= sum(usd for usd, left in self.unposted if left <= 0)
        self.unposted = [(usd, left) for usd, left in self.unposted if left > 0]
        for run in self.runs.values():
            run.dying = [(usd, left - seconds) for usd, left in run.dying if left > seconds]
            run.expires_in -= seconds
            if run.expires_in <= 0:
                # A reservation that expires under live work is not covered.
                run.reservation_id, run.left_usd = None, 0

    @rule(seconds=st.sampled_from([61, 3601]))
    def clock_goes_back(self, seconds: float) -> None:
        """The database fails over to a server whose clock is behind: what it holds is in the future."""
        pass_time(self.engine, -seconds)
        self.move_notes(seconds)

    def noted(self) -> Note:
        return self.ledger.note()

    def can_decide(self, run: str) -> bool:
        return self.runs[run].reading_usd is not None and self.runs[run].reservation_id is None

    def call_decide(self, run: str, usd: int) -> Decision:
        state = self.runs[run]
        claim = Claim(attempt_of(run, state.attempt), Decimal(usd), reserve_for_seconds=3600)
        balance = AccountBalance(ACCOUNT, Decimal(state.reading_usd) * 100, NOON)
        state.decision = (claim, balance, state.note, uuid.uuid4().hex)
        return call_decide(self.ledger, *state.decision)[1]

    def learn(self, run: str, decision: Decision) -> None:
        state = self.runs[run]
        state.note = state.reading_usd = None
        if decision.reservation is None or decision.reservation.id != state.decision[3]:
            return  # Shut, or open with a reservation from before the crash, which may be spent.
        state.reservation_id = decision.reservation.id
        state.left_usd = int(decision.reservation.amount_usd)
        state.expires_in = 3600

    def charge(self, usd: int) -> None:
        if usd:
            self.unposted.append((usd, project_rule.DEFAULT_SETTLE_SECONDS))

    def give_up(self, run: str) -> None:
        state = self.runs[run]
        if state.left_usd:
            state.dying.append((state.left_usd, project_rule.GRACE_SECONDS))
            state.left_usd = 0

    def move_notes(self, seconds: float) -> None:
        for run in self.runs.values():
            if run.note is not None:
                run.note = Note(run.note.time + round(seconds * SECOND), run.note.accounts)


class SpendingWithoutTheCounter(Spending):
    """Leaves out the rules that have no part in the failure, so that few examples are enough to find it."""

    top_up = post_a_charge = note = ask = two_decide_at_once = ask_again_for_a_lost_answer = None
    spend_while_dying = release = kill = clear = crash = pass_time = None

    def noted(self) -> Note:
        note = super().noted()
        return Note(note.time, {ACCOUNT: AccountNote(counter=NOT_ENDED - 1)})


class SpendingWithoutTheLock(Spending):
    """Leaves out the rules that have no part in the failure, as above."""

    top_up = post_a_charge = note = ask = decide = note_ask_and_decide = ask_again_for_a_lost_answer = None
    spend_while_dying = release = kill = clear = crash = pass_time = clock_goes_back = None

    def __init__(self) -> None:
        super().__init__()
        # Two decisions that both add the account would wait for each other.
        with self.engine.connect() as connection, connection.begin():
            connection.execute(_decision.statements.ADD_ACCOUNT, {"this_account": ACCOUNT})


def play(machine: type[Spending], url: str, examples: int, steps: int = 40) -> None:
    class OnThisDatabase(machine):
        pass

    OnThisDatabase.url = url
    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            # Shrinking an example takes longer than finding it.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each statement in a transaction of its own, and let two gates sum up before either reserves."""
    both_have_summed = Barrier(2)
    really_decide = project_rule.decide

    def add_account_only(connection: Any, account_id: str) -> None:
        connection.execute(_decision.statements.ADD_ACCOUNT, {"this_account": account_id})

    def meet(**facts: Any) -> Outcome:
        with suppress(BrokenBarrierError):
            both_have_summed.wait(0.5)
        both_have_summed.reset()
        return really_decide(**facts)

    def begin_nothing_on_sqlite(database: Database, connection: Any, begin: str) -> None:
        if database.dialect == "sqlite":
            connection.connection.dbapi_connection.isolation_level = None

    monkeypatch.setattr(_decision, "lock", add_account_only)
    monkeypatch.setattr(_decision.rule, "decide", meet)
    monkeypatch.setattr(Database, "_begin", begin_nothing_on_sqlite)


def test_no_more_is_spent_than_the_account_holds(url: str) -> None:
    play(Spending, url, examples=60)


# The counter is the same on every database.
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_overspending_is_found_without_the_counter(url: str) -> None:
    with pytest.raises(AssertionError):
        play(SpendingWithoutTheCounter, url, examples=300, steps=80)


@pytest.mark.usefixtures("no_lock")
def test_overspending_is_found_without_the_lock(url: str) -> None:
    with pytest.raises(AssertionError):
        play(SpendingWithoutTheLock, url, examples=200, steps=80)
