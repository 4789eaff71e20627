"""The targets of waiting, and whether they were met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.waiting.cost import DEFERRED_MODES, Cost

# What is wanted, and whether it was met.
Target = tuple[str, bool]

LEAST_SAVING = 15
MOST_FOR_RESERVING = 1.5
# With fewer gates, most of the CPU time goes to the scheduler's work on the first twenty runs, which does not
# depend on what they wait for.
MANY_GATES = 200
MOST_KB_PER_GATE = 100
# Seconds from the check that opens the gates to the end of the last gate, by number of gates.
LONGEST_TO_LAST = {200: 5.0, 1000: 20.0}


def targets(costs: Sequence[Cost], interval: float, crash: Mapping[str, float] | None) -> list[Target]:
    """
    Return each target for which there are figures, and whether it was met.

    :param costs: the results.
    :param interval: seconds between two checks of a deferred gate.
    :param crash: what became of the gates whose triggerer was killed; None if none was.
    """
    return [
        *_targets_for_calls(costs, interval),
        *_targets_for_cpu(costs),
        *_targets_for_the_last_gate(costs),
        *_targets_for_memory(costs),
        *targets_for_endings(costs, crash),
    ]


def _targets_for_calls(costs: Sequence[Cost], interval: float) -> Iterator[Target]:
    wanted = 60 / interval
    for cost in costs:
        calls = cost.api_calls_per_minute
        if cost.mode in DEFERRED_MODES and calls is not None:
            yield (
                f"{cost.name}: {calls:.2f} API calls a minute, {wanted:g} within 10 %",
                abs(calls - wanted) <= wanted / 10,
            )


def _targets_for_cpu(costs: Sequence[Cost]) -> Iterator[Target]:
    ended_there = [cost for cost in costs if cost.mode == "d" and cost.gates > 1]
    for cost in ended_there:
        yield f"{cost.name}: {cost.worker_starts} worker starts, none wanted", cost.worker_starts == 0
    for cost in (each for each in ended_there if each.gates >= MANY_GATES):
        for other in costs:
            if other.mode in "ac" and other.gates == cost.gates:
                yield _saving(cost, other)
    checking = {cost.gates: cost for cost in costs if cost.mode == "c" and cost.gates > 1}
    for cost in costs:
        if cost.mode == "e" and cost.gates in checking:
            yield _price_of_reserving(cost, checking[cost.gates])


def _targets_for_the_last_gate(costs: Sequence[Cost]) -> Iterator[Target]:
    for cost in costs:
        limit = LONGEST_TO_LAST.get(cost.gates)
        if cost.mode == "d" and limit:
            seconds = cost.last_done_after_sample
            yield (
                f"{cost.name}: last gate done {seconds:.1f} s after its check, at most {limit:g} s",
                seconds <= limit,
            )


def _targets_for_memory(costs: Sequence[Cost]) -> Iterator[Target]:
    for cost in costs:
        kb_per_gate = cost.kb_per_gate(costs)
        if kb_per_gate is not None and cost.gates >= MANY_GATES:
            yield (
                f"{cost.name}: {kb_per_gate:.0f} kB of triggerer a gate, at most {MOST_KB_PER_GATE}",
                kb_per_gate <= MOST_KB_PER_GATE,
            )


def targets_for_endings(costs: Sequence[Cost], crash: Mapping[str, float] | None) -> Iterator[Target]:
    """
    Yield whether each gate ended in success, and none ended twice.

    :param costs: the results.
    :param crash: as for :func:`targets`.
    """
    for cost in costs:
        yield f"{cost.name}: {cost.lost} lost, {cost.twice} twice", cost.lost == cost.twice == 0
    if crash:
        gates, lost, twice = (crash[name] for name in ("gates", "lost", "twice"))
        yield (
            f"kill -9 of the triggerer with {gates} gates waiting: {lost} lost, {twice} twice",
            lost == twice == 0,
        )


def _saving(cost: Cost, other: Cost) -> Target:
    mine, others = cost.cpu_per_gate_life, other.cpu_per_gate_life
    what = (
        f"{cost.name}: {mine:.3f} CPU s a gate with a minute of waiting, "
        f"at most 1/{LEAST_SAVING} of the {others:.2f} of {other.name}"
    )
    return what, mine * LEAST_SAVING <= others


def _price_of_reserving(cost: Cost, checking: Cost) -> Target:
    mine, others = cost.cpu_per_gate_life, checking.cpu_per_gate_life
    what = (
        f"{cost.name}: {mine:.3f} CPU s a gate with a minute of waiting, {mine / others:.2f} times the "
        f"{others:.3f} of {checking.name}, at most {MOST_FOR_RESERVING} times"
    )
    return what, mine <= MOST_FOR_RESERVING * others
