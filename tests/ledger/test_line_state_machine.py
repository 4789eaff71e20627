"""Hypothesis searches for a gate that passes whom it must not, or that does not get its turn."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger import _decision
from airflow_provider_youcom.ledger._amounts import UNITS_PER_DOLLAR
from airflow_provider_youcom.ledger._schema import accounts, holders, line, reservations
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Note
from airflow_provider_youcom.ledger.rule import EndReason, Outcome
from tests.ledger.spending import account_with, pass_time
from tests.ledger.waiting import ACCOUNT

pytestmark = pytest.mark.ledger

# Time passes in steps after which no limit is near: a gate counts as waiting for 3,000 s or an hour after its
# check, is gone an hour later, and a hold ends after 2,000 s. So it does not matter how long a call takes.
STEP = 1250
PAUSE, LIFE, HOLD, HOUR = 1000, 3000, 2000, 3600
NEVER = float("-inf")
NO_BOUND = float("inf")

RESERVE_FOR = 10**8
GATES = (
    ("monday", "gate"),
    ("tuesday", "gate"),
    ("wednesday", "gate"),
    ("wednesday", "second"),
    ("friday", "gate"),
)
GATE = st.sampled_from(range(len(GATES)))
DOLLARS = st.integers(1, 6)


@dataclass
class Gate:
    """A gate's current try."""

    holder: Holder
    attempt: int = 1
    usd: int = 1
    has_opened: bool = False

    @property
    def claim(self) -> Claim:
        order = f"{self.attempt:010d}"
        attempt = Attempt(self.holder, f"{self.holder.name} {order}", order, self.attempt)
        return Claim(attempt, Decimal(self.usd), reserve_for_seconds=RESERVE_FOR)


@dataclass
class Waiter:
    """What the rule says about one gate that waits."""

    number: int
    usd: int
    opened_before: int
    seen_at: float
    alive_until: float
    patience: int = 4


@dataclass
class Reserved:
    """One row of the ledger."""

    id: str
    holder: Holder
    attempt_id: str
    usd: int
    newest_place: int
    end_number: float = NO_BOUND


class Waiting(RuleBasedStateMachine):
    """Gates that share one account, and beside the ledger, what the rule says in plain sums."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.engine = sa.create_engine(self.url)
        self.ledger = Ledger(self.engine, answer_within=60)
        self.ledger.note()
        with self.engine.connect() as connection, connection.begin():
            for table in (accounts, holders, line, reservations):
                connection.execute(sa.delete(table))
        self.usd = 3
        self.gates = [
            Gate(Holder("production", "research", run, task), usd=usd)
            for usd, (run, task) in enumerate(GATES, 1)
        ]
        self.now = 0.0
        self.line: dict[str, Waiter] = {}
        self.newest_place = self.total = self.best = self.ended = 0
        self.moved_at = self.opened_at = NEVER
        self.reserved: list[Reserved] = []
        self.newest_attempts: dict[str, int] = {}
        # The last check of the triggerer: who goes on waiting, and by which note.
        self.waiting: tuple[list[Gate], Note | None] = ([], None)
        self.numbers = itertools.count()

    def teardown(self) -> None:
        self.engine.dispose()

    # What happens.

    @rule(usd=DOLLARS)
    def top_up(self, usd: int) -> None:
        self.usd += usd

    @rule(gate=GATE)
    def look_on_a_worker(self, gate: int) -> None:
        looking = self.gates[gate]
        if looking.has_opened:
            self.clear(gate, looking.usd)
        note = self.note_and_follow()
        if self.decide(looking, note) is None:
            self.ledger.line.join(looking.claim, ACCOUNT, PAUSE)
            self.join(looking)

    @rule(gates=st.sets(GATE, min_size=1))
    def look_together_in_the_triggerer(self, gates: set[int]) -> None:
        self.keep_places_of_the_last_check()
        note = self.note_and_follow()
        waiting = []
        for looking in (self.gates[gate] for gate in sorted(gates)):
            if looking.has_opened:
                continue
            if note.needs_decision(looking.claim, account_with(self.usd)):
                decided = self.decide(looking, note)
                note = decided or note
                if decided is None:
                    waiting.append(replace(looking))
            else:
                assert not self.would_open(looking, note)
                waiting.append(replace(looking))
        self.waiting = (waiting, note)

    @rule()
    def keep_places_of_the_last_check(self) -> None:
        waiting, note = self.waiting
        self.ledger.line.keep([gate.claim for gate in waiting], ACCOUNT, PAUSE, note)
        self.keep(waiting, note)

    @rule(gate=GATE)
    def a_busy_pool_delays_the_check_of_one_gate(self, gate: int) -> None:
        self.pass_time(3)
        self.look_together_in_the_triggerer(set(range(len(GATES))) - {gate})
        self.look_on_a_worker(gate)

    @rule(gate=GATE)
    def enough_comes_in_for_a_gate(self, gate: int) -> None:
        looking = self.gates[gate]
        missing = looking.usd + self.left_alone(looking.holder) - self.available(self.ledger.note())
        self.usd += max(0, missing)
        self.look_on_a_worker(gate)
        assert looking.has_opened

    @rule(gate=GATE, usd=DOLLARS)
    def clear(self, gate: int, usd: int) -> None:
        cleared = self.gates[gate]
        cleared.attempt, cleared.usd, cleared.has_opened = cleared.attempt + 1, usd, False

    @rule(spent=DOLLARS)
    def release_the_oldest(self, spent: int) -> None:
        standing = [each for each in self.reserved if each.end_number == NO_BOUND]
        if standing:
            self.ledger.end([standing[0].id], EndReason.RELEASED, by="teardown")
            self.ended += 1
            standing[0].end_number = self.ended
            self.usd -= standing[0].usd if spent > 2 else spent

    @rule(run=st.sampled_from(["wednesday", "sunday"]), usd=DOLLARS)
    def look_without_a_place(self, run: str, usd: int) -> None:
        holder = Holder("production", "research", run, f"fails at once {next(self.numbers)}")
        self.decide(Gate(holder, usd=usd), self.note_and_follow())

    @rule(usd=st.integers(4, 24))
    def another_run_reserves(self, usd: int) -> None:
        """There is enough for it, besides what is held."""
        another = Gate(Holder("production", "research", f"run {next(self.numbers)}", "gate"), usd=usd)
        note = self.ledger.note()
        self.usd += max(0, usd + self.left_alone(another.holder) - self.available(note))
        assert self.decide(another, note)

    @rule(usd=DOLLARS)
    def reserve_in_a_script(self, usd: int) -> None:
        script = Gate(Holder("", "", "host:1", "report"), attempt=next(self.numbers) + 1, usd=usd)
        self.decide(script, self.note_and_follow())

    @rule(steps=st.sampled_from([1, 1, 2, 2, 2, 3, 5, 6]))
    def pass_time(self, steps: int) -> None:
        pass_time(self.engine, steps * STEP)
        self.now += steps * STEP

    @rule(steps=st.integers(1, 2))
    def clock_goes_back(self, steps: int) -> None:
        pass_time(self.engine, -steps * STEP)
        self.now -= steps * STEP

    # The same for the ledger and for the sums.

    def note_and_follow(self) -> Note:
        note = self.ledger.note()
        self.ledger.line.follow(note, account_with(self.usd), HOLD)
        available = self.available(note)
        comes_in = bool(self.alive()) and available > self.best
        stands_still = not comes_in and abs(self.now - self.moved_at) > HOLD
        ended = False
        if stands_still or abs(self.now - self.opened_at) > 2 * HOLD:
            ended = self.end_holds(available)
            assert sum(waiter.usd for waiter in self.held()) <= max(0, available)
        elif not comes_in:
            return note
        if comes_in and not ended:
            self.best, self.moved_at = available, self.now
        return self.ledger.note()

    def end_holds(self, left: int) -> bool:
        in_vain = []
        for waiter in self.held():
            if waiter.usd <= left:
                left -= waiter.usd
            else:
                in_vain.append(waiter)
        least = min((waiter.usd for waiter in in_vain), default=NO_BOUND)
        put_off = [each for each in self.line.values() if each.usd >= least and not self.is_held(each)]
        for waiter in (*in_vain, *put_off):
            waiter.patience = min(2 * waiter.patience, 512)
            waiter.opened_before = self.total
        return bool(in_vain)

    def would_open(self, gate: Gate, note: Note) -> bool:
        return self.available(note) - self.left_alone(gate.holder) >= gate.usd

    def decide(self, gate: Gate, note: Note) -> Note | None:
        """Decide, and return the note after it if the gate has opened."""
        claim, balance, decision_id = gate.claim, account_with(self.usd), uuid.uuid4().hex
        opens, left_alone = self.would_open(gate, note), self.left_alone(gate.holder)
        assert note.needs_decision(claim, balance) == opens
        assert note.of(ACCOUNT).held_before(claim.attempt.holder).usd == left_alone
        outcome, decision = self.call_decide(claim, balance, note, decision_id)
        assert (outcome is Outcome.OPEN) == opens
        assert opens or decision.available.held_usd == left_alone
        self.newest_attempts[gate.holder.key] = gate.attempt
        if opens:
            self.open(gate, decision_id, self.available(note))
        after, fresh = note.after(decision).of(ACCOUNT), self.ledger.note().of(ACCOUNT)
        assert after.line.places == fresh.line.places
        assert (after.line.opened_units, after.reserved_units) == (
            fresh.line.opened_units,
            fresh.reserved_units,
        )
        return note.after(decision) if opens else None

    def call_decide(self, claim: Claim, balance: AccountBalance, note: Note, decision_id: str) -> Any:
        return self.ledger._ready().write(
            lambda connection: _decision.decide(connection, claim, balance, note, 0, decision_id)
        )

    def open(self, gate: Gate, decision_id: str, available: int) -> None:
        self.reserved.append(
            Reserved(decision_id, gate.holder, gate.claim.attempt.id, gate.usd, self.newest_place)
        )
        self.total += gate.usd
        passes_freely = bool(gate.holder.dag_id) and any(
            row.end_number == NO_BOUND and row.holder.run_key == gate.holder.run_key
            for row in self.reserved[:-1]
        )
        self.best, self.moved_at = available - gate.usd, self.now
        if not passes_freely:
            self.opened_at = self.now
        self.line.pop(gate.holder.key, None)
        for waiter in self.line.values():
            if waiter.usd <= gate.usd:
                waiter.patience = 4
        gate.has_opened = True

    # What the rule says.

    def available(self, note: Note) -> int:
        return self.usd - int(note.of(ACCOUNT).reserved_usd)

    def alive(self) -> list[Waiter]:
        return [waiter for waiter in self.line.values() if waiter.alive_until > self.now]

    def is_held(self, waiter: Waiter) -> bool:
        return self.total - waiter.opened_before > waiter.patience * waiter.usd

    def held(self) -> list[Waiter]:
        return [waiter for waiter in self.alive() if self.is_held(waiter)]

    def left_alone(self, holder: Holder) -> int:
        bound = NO_BOUND
        if (own := self.line.get(holder.key)) and own.alive_until > self.now - HOUR:
            bound = own.number
        if holder.dag_id:
            for row in self.reserved:
                if row.end_number == NO_BOUND and row.holder.run_key == holder.run_key:
                    bound = min(bound, row.newest_place + 1)
        return sum(waiter.usd for waiter in self.held() if waiter.number < bound)

    def forget_who_is_gone(self) -> None:
        self.line = {key: each for key, each in self.line.items() if each.alive_until > self.now - HOUR}

    def see(self, waiter: Waiter) -> None:
        life = min(max(LIFE, 4 * (self.now - waiter.seen_at)), HOUR)
        waiter.seen_at, waiter.alive_until = self.now, self.now + life

    def join(self, gate: Gate) -> None:
        self.forget_who_is_gone()
        if waiter := self.line.get(gate.holder.key):
            self.see(waiter)
            waiter.usd = gate.usd
        else:
            patience = max((each.patience for each in self.line.values() if each.usd <= gate.usd), default=4)
            self.newest_place += 1
            self.line[gate.holder.key] = Waiter(
                self.newest_place, gate.usd, self.total, self.now, self.now + LIFE, patience
            )

    def keep(self, waiting: list[Gate], note: Note | None) -> None:
        self.forget_who_is_gone()
        counter = note.of(ACCOUNT).counter if note else 0
        for gate in waiting:
            key, attempt_id = gate.holder.key, gate.claim.attempt.id
            opened_since = any(
                row.attempt_id == attempt_id and row.end_number > counter for row in self.reserved
            )
            if key in self.line:
                self.see(self.line[key])
            elif not opened_since and gate.attempt >= self.newest_attempts.get(key, 0):
                self.join(gate)

    # What always holds.

    @invariant()
    def the_line_is_as_the_rule_says(self) -> None:
        found = self.ledger.note().of(ACCOUNT).line
        assert [
            (place.number, place.holder.key, int(place.amount_usd), place.patience, place.is_held)
            for place in found.places
        ] == [
            (waiter.number, key, waiter.usd, waiter.patience, self.is_held(waiter))
            for key, waiter in self.line.items()
            if waiter.alive_until > self.now
        ]
        numbers = [place.number for place in found.places]
        assert numbers == sorted(set(numbers))
        assert found.opened_units == self.total * UNITS_PER_DOLLAR

    @invariant()
    def the_total_is_the_sum_of_all_rows_and_who_has_opened_is_not_in_line(self) -> None:
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(sa.func.sum(reservations.c.amount_units))).scalar()
            keys = set(connection.execute(sa.select(line.c.holder_key)).scalars())
        assert int(rows or 0) == self.total * UNITS_PER_DOLLAR
        assert keys.isdisjoint(gate.holder.key for gate in self.gates if gate.has_opened)


def play(url: str, examples: int, steps: int) -> None:
    class OnThisDatabase(Waiting):
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


def test_each_gate_gets_its_turn_and_nobody_passes_whom_something_is_held_for(url: str) -> None:
    play(url, examples=60, steps=50)
