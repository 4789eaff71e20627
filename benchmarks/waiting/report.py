"""The benchmark's tables, ratios, targets and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.markdown_table import markdown_table
from benchmarks.waiting.cost import Cost
from benchmarks.waiting.targets import Target, targets, targets_for_endings

WAYS = {
    "a": "HttpSensor, reschedule",
    "b": "BalanceSensor, reschedule",
    "c": "BalanceSensor, deferred",
    "d": "BalanceSensor, started and ended in the triggerer",
    "e": "BalanceSensor, deferred, reserving",
}
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
        return markdown_table(_COLUMNS, [self._row(cost) for cost in costs])

    def summary(self) -> str:
        """Return the figures that matter most to a user of Airflow, as a table in Markdown."""
        return markdown_table(
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

    def targets(self) -> list[Target]:
        """Return each target for which there are figures, and whether it was met."""
        return targets(self.costs, self.interval, self.crash)

    def every_gate_ended_once(self) -> bool:
        """Return whether each gate ended in success, and none ended twice."""
        return all(met for _, met in targets_for_endings(self.costs, self.crash))

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

    def _row(self, cost: Cost) -> tuple[str, ...]:
        kb_per_gate = cost.kb_per_gate(self.costs)
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
    return f"{cost.name} against {today.name}: {', '.join([*ratios, last])}."


def _figure(value: float | None, digits: int) -> str:
    return "not counted" if value is None else f"{value:.{digits}f}"
