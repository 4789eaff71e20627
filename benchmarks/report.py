"""The benchmark's tables, ratios, targets and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gates import DEFERRED_MODES, Cost

WAYS = {
    "a": "HttpSensor, reschedule",
    "b": "BalanceSensor, reschedule",
    "c": "BalanceSensor, deferred",
    "d": "BalanceSensor, started and ended in the triggerer",
    "e": "BalanceSensor, deferred, reserving",
}
LEAST_SAVING = 15
MOST_FOR_RESERVING = 1.5
# With fewer gates, most of the CPU time goes to the scheduler's work on the first twenty runs, which does not
# depend on what they wait for.
MANY_GATES = 200
MOST_KB_PER_GATE = 100
# Seconds from the check that opens the gates to the end of the last gate, by number of gates.
LONGEST_TO_LAST = {200: 5.0, 1000: 20.0}
_COLUMNS = (
    "mode", "gates", "API calls/min", "CPU s/gate, a minute", "CPU s/gate, life", "worker starts",
    "triggerer kB/gate", "first done s", "last done s", "after sample s", "lost", "twice",
)  # fmt: skip
_SUMMARY_COLUMNS = (
    "way of waiting",
    "gates",
    "API calls a minute",
    "CPU seconds per gate",
    "worker starts",
    "last gate done after",
)


@dataclass
class Report:
    """
    Collects what was measured, and compares it with the targets.

    :param out: the file to write, without a suffix.
    :param interval: seconds between two checks of a deferred gate.
    :param conditions: date, versions and machine.
    """

    out: Path
    interval: float
    conditions: dict[str, str]
    costs: list[Cost] = field(default_factory=list)
    crash: dict[str, float] | None = None
    idle_cpu_per_second: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Report:
        """
        Return a report that was written before.

        :param path: its JSON file.
        """
        document = json.loads(path.read_text())
        return cls(
            out=path.with_suffix(""),
            interval=document["interval"],
            conditions=document["conditions"],
            costs=[Cost(**cost) for cost in document["costs"]],
            crash=document["crash"],
            idle_cpu_per_second=document["idle_cpu_per_second"],
        )

    def add(self, cost: Cost) -> None:
        """
        Add a result, print it, and write everything so far.

        :param cost: the result.
        """
        self.costs.append(cost)
        # In the order of the modes, then by number of gates, in whatever order they were measured.
        self.costs.sort(key=lambda each: (each.mode, each.gates))
        print(self.table([cost]), flush=True)
        self.write_json()

    def text(self) -> str:
        """Return everything as text."""
        conditions = ", ".join(f"{name} {value}" for name, value in self.conditions.items())
        idle = f"An idle Airflow uses {self.idle_cpu_per_second:.2f} CPU s a second, which is subtracted."
        targets = "\n".join(
            f"{'passed    ' if met else 'NOT PASSED'}  {what}" for what, met in self.targets()
        )
        return "\n\n".join(
            [conditions, self.table(self.costs), self.summary(), idle, *self.ratios(), targets]
        )

    def table(self, costs: list[Cost]) -> str:
        """
        Return results as a table in Markdown.

        :param costs: the results.
        """
        return markdown(_COLUMNS, [self._row(cost) for cost in costs])

    def summary(self) -> str:
        """Return the figures that matter most to a user of Airflow, as a table in Markdown."""
        return markdown(
            _SUMMARY_COLUMNS,
            [
                (
                    WAYS[cost.mode],
                    str(cost.gates),
                    _figure(cost.api_calls_per_minute, 0),
                    f"{cost.cpu_per_gate_life:.2f}",
                    str(cost.worker_starts),
                    f"{cost.last_done_after_top_up:.0f} s",
                )
                for cost in self.costs
                if cost.gates > 1
            ],
        )

    def ratios(self) -> Iterator[str]:
        """Yield each result compared with mode a for the same number of gates, in words."""
        today = {cost.gates: cost for cost in self.costs if cost.mode == "a" and cost.gates > 1}
        for cost in self.costs:
            if cost.mode != "a" and cost.gates in today:
                yield _comparison(cost, today[cost.gates])

    def targets(self) -> list[tuple[str, bool]]:
        """Return each target for which there are figures, and whether it was met."""
        return [
            *self._targets_for_calls(),
            *self._targets_for_cpu(),
            *self._targets_for_the_last_gate(),
            *self._targets_for_memory(),
            *self._targets_for_endings(),
        ]

    def every_gate_ended_once(self) -> bool:
        """Return whether each gate ended in success, and none ended twice."""
        return all(met for _, met in self._targets_for_endings())

    def write(self) -> None:
        """Write the JSON and the plot."""
        from benchmarks.plot import plot

        self.write_json()
        plot(self.costs, self.conditions, self.out.with_suffix(".svg"))
        print(f"Written to {self.out.with_suffix('.json')} and .svg")

    def write_json(self) -> None:
        """Write everything so far as JSON."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {
            "conditions": self.conditions,
            "interval": self.interval,
            "idle_cpu_per_second": self.idle_cpu_per_second,
            "costs": [asdict(cost) for cost in self.costs],
            "crash": self.crash,
            "ratios": list(self.ratios()),
            "targets": [{"target": what, "passed": met} for what, met in self.targets()],
        }
        self.out.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")

    def kb_per_gate(self, cost: Cost) -> float | None:
        """
        Return the triggerer's memory for one more gate, compared with the fewest gates in the same mode.

        :param cost: the result.
        """
        fewest = min((each for each in self.costs if each.mode == cost.mode), key=lambda each: each.gates)
        if cost.mode not in DEFERRED_MODES or fewest.gates == cost.gates:
            return None
        return (cost.triggerer_waiting_kb - fewest.triggerer_waiting_kb) / (cost.gates - fewest.gates)

    def _row(self, cost: Cost) -> tuple[str, ...]:
        kb_per_gate = self.kb_per_gate(cost)
        return (
            cost.mode,
            str(cost.gates),
            _figure(cost.api_calls_per_minute, 1),
            f"{cost.cpu_per_gate_minute:.3f}",
            f"{cost.cpu_per_gate_life:.3f}",
            str(cost.worker_starts),
            "" if kb_per_gate is None else f"{kb_per_gate:.0f}",
            f"{cost.first_done_after_top_up:.1f}",
            f"{cost.last_done_after_top_up:.1f}",
            f"{cost.last_done_after_sample:.1f}",
            str(cost.lost),
            str(cost.twice),
        )

    def _targets_for_calls(self) -> Iterator[tuple[str, bool]]:
        wanted = 60 / self.interval
        for cost in self.costs:
            calls = cost.api_calls_per_minute
            if cost.mode in DEFERRED_MODES and calls is not None:
                yield (
                    f"{_name(cost)}: {calls:.2f} API calls a minute, {wanted:g} within 10 %",
                    abs(calls - wanted) <= wanted / 10,
                )

    def _targets_for_cpu(self) -> Iterator[tuple[str, bool]]:
        ended_there = [cost for cost in self.costs if cost.mode == "d" and cost.gates > 1]
        for cost in ended_there:
            yield f"{_name(cost)}: {cost.worker_starts} worker starts, none wanted", cost.worker_starts == 0
        for cost in (each for each in ended_there if each.gates >= MANY_GATES):
            for other in self.costs:
                if other.mode in "ac" and other.gates == cost.gates:
                    yield _saving(cost, other)
        checking = {cost.gates: cost for cost in self.costs if cost.mode == "c" and cost.gates > 1}
        for cost in self.costs:
            if cost.mode == "e" and cost.gates in checking:
                yield _price_of_reserving(cost, checking[cost.gates])

    def _targets_for_the_last_gate(self) -> Iterator[tuple[str, bool]]:
        for cost in self.costs:
            limit = LONGEST_TO_LAST.get(cost.gates)
            if cost.mode == "d" and limit:
                seconds = cost.last_done_after_sample
                yield (
                    f"{_name(cost)}: last gate done {seconds:.1f} s after its check, at most {limit:g} s",
                    seconds <= limit,
                )

    def _targets_for_memory(self) -> Iterator[tuple[str, bool]]:
        for cost in self.costs:
            kb_per_gate = self.kb_per_gate(cost)
            if kb_per_gate is not None and cost.gates >= MANY_GATES:
                yield (
                    f"{_name(cost)}: {kb_per_gate:.0f} kB of triggerer a gate, at most {MOST_KB_PER_GATE}",
                    kb_per_gate <= MOST_KB_PER_GATE,
                )

    def _targets_for_endings(self) -> Iterator[tuple[str, bool]]:
        for cost in self.costs:
            yield f"{_name(cost)}: {cost.lost} lost, {cost.twice} twice", cost.lost == cost.twice == 0
        if self.crash:
            gates, lost, twice = (self.crash[name] for name in ("gates", "lost", "twice"))
            yield (
                f"kill -9 of the triggerer with {gates} gates waiting: {lost} lost, {twice} twice",
                lost == twice == 0,
            )


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """
    Return a table in Markdown.

    :param columns: the names of its columns.
    :param rows: their values.
    """
    columns = tuple(columns)
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _name(cost: Cost) -> str:
    return f"{cost.mode} × {cost.gates}"


def _saving(cost: Cost, other: Cost) -> tuple[str, bool]:
    mine, others = cost.cpu_per_gate_life, other.cpu_per_gate_life
    what = (
        f"{_name(cost)}: {mine:.3f} CPU s a gate with a minute of waiting, "
        f"at most 1/{LEAST_SAVING} of the {others:.2f} of {_name(other)}"
    )
    return what, mine * LEAST_SAVING <= others


def _price_of_reserving(cost: Cost, checking: Cost) -> tuple[str, bool]:
    mine, others = cost.cpu_per_gate_life, checking.cpu_per_gate_life
    what = (
        f"{_name(cost)}: {mine:.3f} CPU s a gate with a minute of waiting, {mine / others:.2f} times the "
        f"{others:.3f} of {_name(checking)}, at most {MOST_FOR_RESERVING} times"
    )
    return what, mine <= MOST_FOR_RESERVING * others


def _comparison(cost: Cost, today: Cost) -> str:
    compared = (
        ("less", "CPU a gate", today.cpu_per_gate_life, cost.cpu_per_gate_life),
        ("less", "CPU a gate in a minute", today.cpu_per_gate_minute, cost.cpu_per_gate_minute),
        ("fewer", "API calls", today.api_calls_per_minute, cost.api_calls_per_minute),
    )
    # A figure that was not measured, or that is lost in the noise, has no ratio.
    ratios = [
        f"{before / now:.1f} times {fewer} {what}"
        if now <= before
        else f"{now / before:.1f} times more {what}"
        for fewer, what, before, now in compared
        if before is not None and now is not None and before > 0 and now > 0
    ]
    seconds, seconds_today = cost.last_done_after_top_up, today.last_done_after_top_up
    last = f"last gate done after {seconds:.0f} s instead of {seconds_today:.0f} s"
    return f"{_name(cost)} against {_name(today)}: {', '.join([*ratios, last])}."


def _figure(value: float | None, digits: int) -> str:
    return "not counted" if value is None else f"{value:.{digits}f}"
