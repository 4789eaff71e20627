"""The table, the targets and the JSON of the line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.markdown_table import markdown_table

if TYPE_CHECKING:
    from benchmarks.line.arm import Outcome
    from benchmarks.line.plan import Plan

WITH, WITHOUT = "with_the_line", "without_the_line"
LEAST_WAITING = 10
# While a run pays, its credits count twice. What several runs release can be enough for the large one.
MOST_WAITING_WITHOUT = 2
SLOWEST = 1.15
_COLUMNS = (
    "arm", "the large gate opened after", "small gates that still waited", "all had ended after",
    "runs that succeeded", "payments refused",
)  # fmt: skip


@dataclass
class LineReport:
    """
    Collects what was measured, and compares it with the targets.

    :param out: the file to write, without a suffix.
    :param plan: what the runs need, and how the account is topped up.
    :param conditions: date, versions and machine.
    """

    out: Path
    plan: Plan
    conditions: dict[str, str]
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """
        Add a result, and write everything so far.

        :param outcome: the result.
        """
        self.outcomes[outcome.arm] = outcome
        self.write()

    def text(self) -> str:
        """Return everything as text."""
        conditions = ", ".join(f"{name} {value}" for name, value in self.conditions.items())
        targets = "\n".join(
            f"{'passed    ' if met else 'NOT PASSED'}  {what}" for what, met in self.targets()
        )
        return "\n\n".join([conditions, self.load(), self.table(), targets])

    def load(self) -> str:
        """Return what the runs need and when they get it, in words."""
        plan = self.plan
        return (
            f"A run of ${plan.large_usd} joins the line first, and {plan.smalls} of ${plan.small_usd} after "
            f"it. The account is topped up by ${plan.top_up_usd} every {plan.top_up_seconds:g} s, "
            f"{plan.top_ups} times, which is what all runs need. The settle time is 0, and gates check "
            "every second."
        )

    def table(self) -> str:
        """Return the results as a table in Markdown."""
        rows = [
            (
                each.arm.replace("_", " "),
                f"{each.opened_after_seconds:.0f} s",
                str(each.smalls_waiting),
                f"{each.seconds:.0f} s",
                f"{each.succeeded} of {1 + self.plan.smalls}",
                str(each.refused),
            )
            for each in self.outcomes.values()
        ]
        return markdown_table(_COLUMNS, rows)

    def targets(self) -> Iterator[tuple[str, bool]]:
        """Yield each target for which there are figures, and whether it was met."""
        for each in self.outcomes.values():
            name = each.arm.replace("_", " ")
            yield f"{name}: {each.succeeded} runs succeeded", each.succeeded == 1 + self.plan.smalls
            yield f"{name}: {each.refused} payments refused", each.refused == 0
        if not {WITH, WITHOUT} <= set(self.outcomes):
            return
        with_line, without = self.outcomes[WITH], self.outcomes[WITHOUT]
        what = f"{with_line.smalls_waiting} small gates waited when the large one opened"
        yield f"with the line: {what}, at least {LEAST_WAITING}", with_line.smalls_waiting >= LEAST_WAITING
        # If more waited, the load would be too low to show anything.
        what = f"{without.smalls_waiting} small gates waited when the large one opened"
        yield (
            f"without the line: {what}, at most {MOST_WAITING_WITHOUT}",
            without.smalls_waiting <= MOST_WAITING_WITHOUT,
        )
        ratio = with_line.seconds / without.seconds
        what = f"all had ended after {ratio:.2f} times as long as without it, at most {SLOWEST} times"
        yield f"with the line: {what}", ratio <= SLOWEST

    def all_met(self) -> bool:
        """Return whether every target was met."""
        return all(met for _, met in self.targets())

    def write(self) -> None:
        """Write the JSON and the text."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "conditions": self.conditions,
            "plan": asdict(self.plan),
            "outcomes": [asdict(outcome) for outcome in self.outcomes.values()],
            "targets": [{"target": what, "passed": met} for what, met in self.targets()],
        }
        self.out.with_suffix(".json").write_text(json.dumps(document, default=str) + "\n")
        self.out.with_suffix(".md").write_text(self.text() + "\n")
