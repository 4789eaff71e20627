"""
A model of runs that share one account: every interleaving of their steps, over the project's own rule.

At each decision, the line may hold nothing or all that a gate needs, so the model covers every line.

Time is counted in ticks: You.com posts a charge within one tick, and a process that Airflow has given up
pays for up to one tick more. A state is a tuple, and holds times relative to now, so that states that can
continue in the same ways are the same state: their number is finite although time has no end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger.rule import NOT_ENDED, EndReason, Outcome

SETTLE = 1
GRACE = 1
NEED = 2

# States of a run.
RUNNING, MARKED_FAILED, OVER, VANISHED = range(4)
# Phases of a gate; each check goes through the first three.
SHUT, NOTED, ASKED, SUMMED, OPEN, DEAD = range(6)
# States of a task behind the gate, which pays once for each try.
NONE, PAYING, RESTARTING, SUCCESS, FAILED = range(5)

_AIRFLOW_STATES = {
    NONE: None,
    PAYING: "running",
    RESTARTING: "restarting",
    SUCCESS: "success",
    FAILED: "failed",
}
_UNFINISHED = {PAYING, RESTARTING}


class RefusedPaymentError(Exception):
    """You.com refused a payment, although nobody has spent more than was reserved."""


class Row(NamedTuple):
    """A reservation of a run's gate."""

    attempt: int
    end_number: int = NOT_ENDED
    counts_until: int = 0

    @property
    def stands(self) -> bool:
        return self.end_number == NOT_ENDED


class Note(NamedTuple):
    counter: int
    time: int


class Check(NamedTuple):
    """One try of a gate, and how far its check has come."""

    attempt: int
    phase: int = SHUT
    note: Note = Note(0, 0)
    reading: int = 0


class End(NamedTuple):
    """An end that is decided and on its way to the ledger, where it may arrive late."""

    attempts: tuple[int, ...]
    reason: str


class Run(NamedTuple):
    """A gate, two tasks behind it that each pay 1, and a teardown."""

    state: int = RUNNING
    gate: Check = Check(0)
    tasks: tuple[int, int] = (NONE, NONE)
    rows: tuple[Row, ...] = ()
    newest: int = 0
    # Checks of earlier attempts that nobody waits for any more, and that may still decide.
    lost_checks: tuple[Check, ...] = ()
    # How long each process that was given up may still pay.
    dying: tuple[int, ...] = ()
    teardown: End | tuple[()] = ()
    # Ends of teardowns that were cleared while they ran, and may still arrive.
    late_ends: tuple[End, ...] = ()
    # The rows that stood when somebody began to ask whether this run is over.
    asked_about: tuple[int, ...] = ()
    # Whether a task was retried without a delay, because Airflow had lost it.
    is_retried_soon: bool = False


class World(NamedTuple):
    posted: int
    unposted: int
    counter: int
    runs: tuple[Run, ...]
    settle: int = SETTLE
    top_ups: int = 0
    clears: int = 0
    task_clears: int = 0
    failures: int = 0
    marks: int = 0
    crashes: int = 0
    vanishings: int = 0
    run_over_checks: int = 0
    lost_tries: int = 0


@dataclass(frozen=True)
class Ledger:
    """How the model's runs use the rule; each change that must break it overrides one method."""

    def counts(self, row: Row, note: Note, own: bool) -> bool:
        return bool(rule.counts(row, note))

    def locks(self) -> bool:
        return True

    def held(self) -> tuple[int, ...]:
        """Return what may be held for gates in front: whatever the line says, it is nothing or enough."""
        return 0, NEED

    def opens_with(self, row: Row, attempt: int) -> bool:
        return row.stands and row.attempt == attempt

    def counts_until(self, reason: EndReason, settle: int) -> int:
        return rule.counts_until(0, settle, GRACE if reason.grace_seconds else 0)

    def reason_of(self, row: Row, run: Run, reason: EndReason) -> EndReason:
        return rule.reason_of_end(reason, age=_age(row.attempt), newest_age=_age(run.newest))

    def may_supersede(self, unfinished: int) -> bool:
        return rule.may_supersede(unfinished)

    def teardown_reason(self, run: Run) -> EndReason:
        return rule.teardown_reason(
            run_is_running=run.state == RUNNING,
            all_done=all(_AIRFLOW_STATES[task] in {"success", "skipped"} for task in run.tasks),
            any_is_retried_soon=run.is_retried_soon,
        )

    def ends_of_teardown(self, run: Run, end: End) -> tuple[int, ...]:
        return end.attempts


def explore(start: World, ledger: Ledger) -> int:
    """Walk every state that can be reached, and return how many there are."""
    start = _canonical(start, start.runs)
    seen = {start}
    waiting = deque([start])
    while waiting:
        for after, runs in _steps(waiting.popleft(), ledger):
            state = _canonical(after, runs)
            known = len(seen)
            seen.add(state)
            if len(seen) > known:
                waiting.append(state)
    return len(seen)


def _steps(world: World, ledger: Ledger) -> Iterator[tuple[World, tuple[Run, ...]]]:
    """Yield the worlds that may come next, each with its runs, which replace those that stand in it."""
    yield _tick(world)
    if world.unposted:
        yield world._replace(posted=world.posted - 1, unposted=world.unposted - 1), world.runs
    if world.top_ups:
        yield world._replace(posted=world.posted + NEED, top_ups=world.top_ups - 1), world.runs
    for index, run in enumerate(world.runs):
        if index and run == world.runs[index - 1]:
            continue  # The run before it is in the same state, and its steps have been yielded.
        for after, changed in _run_steps(world, run, ledger):
            yield after, (*world.runs[:index], changed, *world.runs[index + 1 :])


def _tick(world: World) -> tuple[World, tuple[Run, ...]]:
    """A moment passes: what was spent is posted, and work that has been dying long enough is dead."""
    runs = tuple([_older_run(run) for run in world.runs])
    return world._replace(posted=world.posted - world.unposted, unposted=0), runs


@cache
def _older_run(run: Run) -> Run:
    return run._replace(
        gate=_older(run.gate),
        lost_checks=tuple(_older(check) for check in run.lost_checks),
        rows=tuple(
            row if row.stands else row._replace(counts_until=row.counts_until - 1) for row in run.rows
        ),
        dying=tuple(left - 1 for left in run.dying if left > 0),
    )


def _older(check: Check) -> Check:
    if check.phase not in {NOTED, ASKED}:
        return check
    return check._replace(note=check.note._replace(time=check.note.time - 1))


def _run_steps(world: World, run: Run, ledger: Ledger) -> Iterator[tuple[World, Run]]:
    yield from _gate_steps(world, run, ledger)
    yield from _task_steps(world, run)
    yield from _teardown_steps(world, run, ledger)
    yield from _run_over_steps(world, run, ledger)
    yield from _people_and_trouble(world, run, ledger)


def _gate_steps(world: World, run: Run, ledger: Ledger) -> Iterator[tuple[World, Run]]:
    gate = run.gate
    if run.state == RUNNING and gate.phase < OPEN:
        if gate.phase == SHUT:
            earlier = tuple(row.attempt for row in run.rows if row.stands and row.attempt < gate.attempt)
            unfinished = sum(task in _UNFINISHED for task in run.tasks)
            if earlier and ledger.may_supersede(unfinished):
                yield _end(world, run, earlier, EndReason.SUPERSEDED, ledger)
        for after, changed, check in _continue_check(world, run, gate, ledger):
            yield after, changed._replace(gate=check)
    for index, lost in enumerate(run.lost_checks):
        others = (*run.lost_checks[:index], *run.lost_checks[index + 1 :])
        for after, changed, check in _continue_check(world, run, lost, ledger):
            left = (*others, check) if check.phase in {ASKED, SUMMED} else others
            yield after, changed._replace(lost_checks=tuple(sorted(left)))


def _continue_check(
    world: World, run: Run, check: Check, ledger: Ledger
) -> Iterator[tuple[World, Run, Check]]:
    if check.phase == SHUT:
        yield world, run, check._replace(phase=NOTED, note=Note(world.counter, 0))
    elif check.phase == NOTED:
        yield world, run, check._replace(phase=ASKED, reading=world.posted)
    elif check.phase == ASKED:
        for held in ledger.held():
            available = check.reading - _counting(world, run, check, ledger) - held
            if ledger.locks():
                yield (world, *_decide(run, check, available, ledger))
            else:
                yield world, run, Check(check.attempt, SUMMED, reading=available)
    elif check.phase == SUMMED:
        yield (world, *_decide(run, check, check.reading, ledger))


def _counting(world: World, run: Run, check: Check, ledger: Ledger) -> int:
    return NEED * sum(
        ledger.counts(row, check.note, own=other is run)
        for other in world.runs
        for row in other.rows
        if not (other is run and ledger.opens_with(row, check.attempt))
    )


def _age(attempt: int) -> rule.Age:
    return str(attempt), attempt


def _decide(run: Run, check: Check, available: int, ledger: Ledger) -> tuple[Run, Check]:
    if any(ledger.opens_with(row, check.attempt) for row in run.rows):
        return run, Check(check.attempt, OPEN)
    outcome = rule.decide(
        needed_units=NEED,
        available_units=available,
        counter=0,
        oldest_counter=0,
        age=_age(check.attempt),
        newest_age=_age(run.newest),
    )
    if outcome is Outcome.STALE:
        return run, Check(check.attempt, DEAD)
    run = run._replace(newest=max(run.newest, check.attempt))
    if outcome is Outcome.SHORT:
        return run, Check(check.attempt)
    return run._replace(rows=(*run.rows, Row(check.attempt))), Check(check.attempt, OPEN)


def _task_steps(world: World, run: Run) -> Iterator[tuple[World, Run]]:
    for index, task in enumerate(run.tasks):
        if index and task == run.tasks[0]:
            continue
        if task == NONE and run.gate.phase == OPEN and run.state == RUNNING:
            yield world, _with_task(run, index, PAYING)
        elif task == PAYING:
            yield _pay(world), _with_task(run, index, SUCCESS)
        elif task == RESTARTING:
            yield _pay(world), _with_task(run, index, NONE)
            yield world, _given_up(_with_task(run, index, NONE))
        if task == PAYING and world.failures:
            yield world._replace(failures=world.failures - 1), _given_up(_with_task(run, index, FAILED))
    for left in set(run.dying):
        dying = list(run.dying)
        dying.remove(left)
        yield _pay(world), run._replace(dying=tuple(dying))


def _pay(world: World) -> World:
    if world.posted - world.unposted < 1:
        raise RefusedPaymentError(world)
    if world.settle == 0:
        return world._replace(posted=world.posted - 1)
    return world._replace(unposted=world.unposted + 1)


def _with_task(run: Run, index: int, state: int) -> Run:
    tasks = (state, run.tasks[1]) if index == 0 else (run.tasks[0], state)
    return run._replace(tasks=tasks)


def _given_up(run: Run, processes: int = 1) -> Run:
    return run._replace(dying=(*run.dying, *[GRACE] * processes))


def _teardown_steps(world: World, run: Run, ledger: Ledger) -> Iterator[tuple[World, Run]]:
    unfinished = any(task not in {SUCCESS, FAILED} for task in run.tasks)
    if run.state in {RUNNING, MARKED_FAILED} and run.gate.phase == OPEN and not unfinished:
        if not run.teardown:
            standing = tuple(row.attempt for row in run.rows if row.stands)
            reason = ledger.teardown_reason(run)
            yield world, run._replace(teardown=End(standing, reason.value))
        else:
            attempts = ledger.ends_of_teardown(run, run.teardown)
            after, changed = _end(world, run, attempts, EndReason(run.teardown.reason), ledger)
            yield after, changed._replace(teardown=(), state=OVER)
    for index, late in enumerate(run.late_ends):
        attempts = ledger.ends_of_teardown(run, late)
        after, changed = _end(world, run, attempts, EndReason(late.reason), ledger)
        yield after, changed._replace(late_ends=(*run.late_ends[:index], *run.late_ends[index + 1 :]))


def _run_over_steps(world: World, run: Run, ledger: Ledger) -> Iterator[tuple[World, Run]]:
    standing = tuple(row.attempt for row in run.rows if row.stands)
    if not run.asked_about:
        if world.run_over_checks and standing:
            yield (
                world._replace(run_over_checks=world.run_over_checks - 1),
                run._replace(asked_about=standing),
            )
        return
    if run.state in {OVER, MARKED_FAILED}:
        end = End(run.asked_about, EndReason.RUN_OVER.value)
        yield world, run._replace(asked_about=(), late_ends=tuple(sorted((*run.late_ends, end))))


def _people_and_trouble(world: World, run: Run, ledger: Ledger) -> Iterator[tuple[World, Run]]:
    is_checking = run.gate.phase in {NOTED, ASKED}
    if world.clears and run.state != VANISHED and (run.gate.phase != SHUT or run.rows):
        cleared = tuple(RESTARTING if task in _UNFINISHED else NONE for task in run.tasks)
        yield world._replace(clears=world.clears - 1), _new_try(run)._replace(tasks=cleared)
    if world.task_clears and run.state in {RUNNING, OVER} and run.gate.phase == OPEN:
        for index, task in enumerate(run.tasks):
            if task in {SUCCESS, FAILED}:
                yield (
                    world._replace(task_clears=world.task_clears - 1),
                    _with_task(_new_try(run), index, NONE),
                )
    if world.marks and run.state == RUNNING:
        yield world._replace(marks=world.marks - 1), _stopped(run, MARKED_FAILED)
    if (
        world.crashes
        and run.state == RUNNING
        and (is_checking or (run.gate.phase == OPEN and run.tasks == (NONE, NONE)))
    ):
        yield world._replace(crashes=world.crashes - 1), _new_try(run)
    if world.lost_tries and run.state == RUNNING and sorted(run.tasks) == [NONE, PAYING]:
        # The lost try may pay as well, so that the other task has nothing left to spend.
        retried = run._replace(tasks=(PAYING, SUCCESS), is_retried_soon=True)
        yield world._replace(lost_tries=world.lost_tries - 1), _given_up(retried)
    if world.vanishings and run.state == RUNNING:
        yield world._replace(vanishings=world.vanishings - 1), _stopped(run, VANISHED)
    if run.state == VANISHED:
        standing = tuple(row.attempt for row in run.rows if row.stands)
        if standing:
            yield _end(world, run, standing, EndReason.EXPIRED, ledger)


def _new_try(run: Run) -> Run:
    """The gate and its teardown are cleared; what is on its way to the ledger may still arrive."""
    late = (run.teardown,) if run.teardown else ()
    return _lose_check(run)._replace(
        state=RUNNING,
        gate=Check(run.gate.attempt + 1),
        teardown=(),
        late_ends=tuple(sorted((*run.late_ends, *late))),
    )


def _stopped(run: Run, state: int) -> Run:
    processes = sum(task in _UNFINISHED for task in run.tasks)
    # An open gate stays a success, and its teardown runs. Any other gate has failed.
    gate = run.gate if run.gate.phase == OPEN else Check(run.gate.attempt, DEAD)
    tasks = tuple(task if task == SUCCESS else FAILED for task in run.tasks)
    return _given_up(_lose_check(run), processes)._replace(state=state, gate=gate, tasks=tasks)


def _lose_check(run: Run) -> Run:
    if run.gate.phase not in {NOTED, ASKED, SUMMED}:
        return run
    # A check that has not asked yet asks before it decides: no later check can do more harm.
    return run._replace(lost_checks=tuple(sorted((*run.lost_checks, run.gate))))


def _end(
    world: World, run: Run, attempts: tuple[int, ...], reason: EndReason, ledger: Ledger
) -> tuple[World, Run]:
    if not any(row.stands and row.attempt in attempts for row in run.rows):
        return world, run
    number = world.counter + 1
    ended = tuple(
        Row(row.attempt, number, ledger.counts_until(ledger.reason_of(row, run, reason), world.settle))
        if row.stands and row.attempt in attempts
        else row
        for row in run.rows
    )
    return world._replace(counter=number), run._replace(rows=ended)


def _canonical(world: World, runs: tuple[Run, ...]) -> World:
    """Return the same world for all states that can continue in the same ways."""
    notes = [note for run in runs for note in _held_notes(run)]
    counters = tuple(sorted({note.counter for note in notes})) if notes else ()
    times = tuple(sorted({note.time for note in notes if note.time < 0}, reverse=True)) if notes else ()
    alike = tuple(sorted([_canonical_run(run, counters, times) for run in runs]))
    return World(world.posted, world.unposted, len(counters), alike, *world[4:])


@cache
def _held_notes(run: Run) -> tuple[Note, ...]:
    return tuple(check.note for check in (run.gate, *run.lost_checks) if check.phase in {NOTED, ASKED})


@cache
def _canonical_run(run: Run, counters: tuple[int, ...], times: tuple[int, ...]) -> Run:
    def canonical(check: Check) -> Check:
        if check.phase not in {NOTED, ASKED}:
            return check
        time = -1 - times.index(check.note.time) if check.note.time < 0 else 0
        return check._replace(note=Note(counters.index(check.note.counter), time))

    rows = []
    for row in run.rows:
        if row.stands:
            rows.append(row)
            continue
        # Only this matters: which notes it ended after, and which were made before it had settled.
        number = sum(counter < row.end_number for counter in counters)
        until = row.counts_until if row.counts_until > 0 else -sum(time >= row.counts_until for time in times)
        if number > 0 or until > -len(times):
            rows.append(Row(row.attempt, number, until))
    return _same_object(
        run._replace(
            gate=canonical(run.gate),
            lost_checks=tuple(sorted([canonical(check) for check in run.lost_checks])),
            tasks=tuple(sorted(run.tasks)),
            rows=tuple(sorted(rows)),
            dying=tuple(sorted(run.dying)),
        )
    )


@cache
def _same_object(run: Run) -> Run:
    """Return one object for all runs that are equal: Python compares them the faster."""
    return run
