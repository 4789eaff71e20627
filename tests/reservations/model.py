"""
A model of runs that share one account: every interleaving of their steps, over the project's own rule.

Time is counted in ticks: You.com posts a charge within one tick, and a process that Airflow has given up
pays for up to one tick more. A state is a tuple, and holds times relative to now, so that states that can
go on in the same ways are the same state: the walk is finite although time has no end in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from airflow_provider_youcom.reservations import rule
from airflow_provider_youcom.reservations.rule import NOT_ENDED, EndReason, Outcome

SETTLE = 1
GRACE = 1
NEED = 2

# States of a run.
RUNNING, MARKED_FAILED, OVER, VANISHED = range(4)
# Phases of a gate; each look goes through the first three.
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


class Look(NamedTuple):
    """One try of a gate, and how far its look has come."""

    attempt: int
    phase: int = SHUT
    note: Note = Note(0, 0)
    reading: int = 0


class End(NamedTuple):
    """An end on its way to the ledger: it was established, and may arrive late."""

    attempts: tuple[int, ...]
    reason: str


class Run(NamedTuple):
    """A gate, two tasks behind it that each pay 1, and a teardown."""

    state: int = RUNNING
    gate: Look = Look(0)
    tasks: tuple[int, int] = (NONE, NONE)
    rows: tuple[Row, ...] = ()
    newest: int = 0
    # Looks of earlier tries that nobody waits for any more, and that may still decide.
    lost_looks: tuple[Look, ...] = ()
    # For how long each process that was given up may still pay.
    dying: tuple[int, ...] = ()
    teardown: End | tuple[()] = ()
    # Ends of teardowns that were cleared while they ran, and may still arrive.
    late_ends: tuple[End, ...] = ()
    # The rows that stood when somebody began to ask whether this run is over.
    asked_about: tuple[int, ...] = ()
    # Whether a task was tried again without a delay, because Airflow had lost its try.
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
    """How the model's runs use the rule; the changes that must break it override one method each."""

    def counts(self, row: Row, note: Note, own: bool) -> bool:
        return bool(rule.counts(row, note))

    def locks(self) -> bool:
        return True

    def opens_with(self, row: Row, attempt: int) -> bool:
        return row.stands and row.attempt == attempt

    def counts_until(self, reason: EndReason, settle: int) -> int:
        return rule.counts_until(0, settle, GRACE if reason.grace_seconds else 0)

    def reason_of(self, row: Row, run: Run, reason: EndReason) -> EndReason:
        return rule.reason_of_end(reason, order=str(row.attempt), newest_order=str(run.newest))

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
    start = _canonical(start)
    seen = {start}
    waiting = deque([start])
    while waiting:
        for successor in _steps(waiting.popleft(), ledger):
            state = _canonical(successor)
            if state not in seen:
                seen.add(state)
                waiting.append(state)
    return len(seen)


def _steps(world: World, ledger: Ledger) -> Iterator[World]:
    yield _tick(world)
    if world.unposted:
        yield world._replace(posted=world.posted - 1, unposted=world.unposted - 1)
    if world.top_ups:
        yield world._replace(posted=world.posted + NEED, top_ups=world.top_ups - 1)
    for index, run in enumerate(world.runs):
        if index and run == world.runs[index - 1]:
            continue  # What this run can do, the one before it, which is the same, has done.
        for after, changed in _run_steps(world, run, ledger):
            yield after._replace(runs=(*world.runs[:index], changed, *world.runs[index + 1 :]))


def _tick(world: World) -> World:
    """A moment passes: what was spent is posted, and what has been dying long enough is dead."""
    runs = tuple(_older_run(run) for run in world.runs)
    return world._replace(posted=world.posted - world.unposted, unposted=0, runs=runs)


@cache
def _older_run(run: Run) -> Run:
    return run._replace(
        gate=_older(run.gate),
        lost_looks=tuple(_older(look) for look in run.lost_looks),
        rows=tuple(
            row if row.stands else row._replace(counts_until=row.counts_until - 1) for row in run.rows
        ),
        dying=tuple(left - 1 for left in run.dying if left > 0),
    )


def _older(look: Look) -> Look:
    if look.phase not in {NOTED, ASKED}:
        return look
    return look._replace(note=look.note._replace(time=look.note.time - 1))


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
        for after, changed, look in _look_on(world, run, gate, ledger):
            yield after, changed._replace(gate=look)
    for index, lost in enumerate(run.lost_looks):
        others = (*run.lost_looks[:index], *run.lost_looks[index + 1 :])
        for after, changed, look in _look_on(world, run, lost, ledger):
            left = (*others, look) if look.phase in {ASKED, SUMMED} else others
            yield after, changed._replace(lost_looks=tuple(sorted(left)))


def _look_on(world: World, run: Run, look: Look, ledger: Ledger) -> Iterator[tuple[World, Run, Look]]:
    if look.phase == SHUT:
        yield world, run, look._replace(phase=NOTED, note=Note(world.counter, 0))
    elif look.phase == NOTED:
        yield world, run, look._replace(phase=ASKED, reading=world.posted)
    elif look.phase == ASKED:
        available = look.reading - _counting(world, run, look, ledger)
        if ledger.locks():
            yield (world, *_decide(run, look, available, ledger))
        else:
            yield world, run, Look(look.attempt, SUMMED, reading=available)
    elif look.phase == SUMMED:
        yield (world, *_decide(run, look, look.reading, ledger))


def _counting(world: World, run: Run, look: Look, ledger: Ledger) -> int:
    return NEED * sum(
        ledger.counts(row, look.note, own=other is run)
        for other in world.runs
        for row in other.rows
        if not (other is run and ledger.opens_with(row, look.attempt))
    )


def _decide(run: Run, look: Look, available: int, ledger: Ledger) -> tuple[Run, Look]:
    if any(ledger.opens_with(row, look.attempt) for row in run.rows):
        return run, Look(look.attempt, OPEN)
    outcome = rule.decide(
        needed=NEED,
        available=available,
        counter=0,
        oldest_counter=0,
        order=str(look.attempt),
        newest_order=str(run.newest),
    )
    if outcome is Outcome.STALE:
        return run, Look(look.attempt, DEAD)
    run = run._replace(newest=max(run.newest, look.attempt))
    if outcome is Outcome.SHORT:
        return run, Look(look.attempt)
    return run._replace(rows=(*run.rows, Row(look.attempt))), Look(look.attempt, OPEN)


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
    is_looking = run.gate.phase in {NOTED, ASKED}
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
        and (is_looking or (run.gate.phase == OPEN and run.tasks == (NONE, NONE)))
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
    return _lose_look(run)._replace(
        state=RUNNING,
        gate=Look(run.gate.attempt + 1),
        teardown=(),
        late_ends=tuple(sorted((*run.late_ends, *late))),
    )


def _stopped(run: Run, state: int) -> Run:
    processes = sum(task in _UNFINISHED for task in run.tasks)
    # A gate that was open stays a success, and its teardown runs; one that was not, has failed.
    gate = run.gate if run.gate.phase == OPEN else Look(run.gate.attempt, DEAD)
    tasks = tuple(task if task == SUCCESS else FAILED for task in run.tasks)
    return _given_up(_lose_look(run), processes)._replace(state=state, gate=gate, tasks=tasks)


def _lose_look(run: Run) -> Run:
    if run.gate.phase not in {NOTED, ASKED, SUMMED}:
        return run
    # A look that has not asked yet asks before it decides: no later look can do more harm.
    return run._replace(lost_looks=tuple(sorted((*run.lost_looks, run.gate))))


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


def _canonical(world: World) -> World:
    """Write states that can go on in the same ways as one and the same."""
    notes = [note for run in world.runs for note in _held_notes(run)]
    counters = tuple(sorted({note.counter for note in notes}))
    times = tuple(sorted({note.time for note in notes if note.time < 0}, reverse=True))
    runs = tuple(sorted([_canonical_run(run, counters, times) for run in world.runs]))
    return world._replace(runs=runs, counter=len(counters))


@cache
def _held_notes(run: Run) -> tuple[Note, ...]:
    return tuple(look.note for look in (run.gate, *run.lost_looks) if look.phase in {NOTED, ASKED})


@cache
def _canonical_run(run: Run, counters: tuple[int, ...], times: tuple[int, ...]) -> Run:
    def canonical(look: Look) -> Look:
        if look.phase not in {NOTED, ASKED}:
            return look
        time = -1 - times.index(look.note.time) if look.note.time < 0 else 0
        return look._replace(note=Note(counters.index(look.note.counter), time))

    rows = []
    for row in run.rows:
        if row.stands:
            rows.append(row)
            continue
        # All that matters is which notes it ended after, and which were made before it was settled.
        number = sum(counter < row.end_number for counter in counters)
        until = row.counts_until if row.counts_until > 0 else -sum(time >= row.counts_until for time in times)
        if number > 0 or until > -len(times):
            rows.append(Row(row.attempt, number, until))
    return run._replace(
        gate=canonical(run.gate),
        lost_looks=tuple(sorted([canonical(look) for look in run.lost_looks])),
        tasks=tuple(sorted(run.tasks)),
        rows=tuple(sorted(rows)),
        dying=tuple(sorted(run.dying)),
    )
