"""The table and the JSON of the simulated line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.markdown_table import markdown_table
from benchmarks.simulation.line.result import LineResult
from benchmarks.simulation.line.settings import LARGE, SMALL, Outcome, targets
from benchmarks.simulation.report import duration

COLUMNS = (
    "setting",
    "rule",
    *(f"wait of {name}: median, p99, worst" for name in (SMALL, "$20 to $50", LARGE)),
    "nobody opened",
    "because of holds in vain",
    "gave up",
)


def line_table(outcomes: list[Outcome]) -> str:
    """
    Return outcomes as a table in Markdown.

    :param outcomes: of the simulation.
    """
    return markdown_table(COLUMNS, [_row(each) for each in outcomes])


def line_text(outcomes: list[Outcome], conditions: dict[str, str]) -> str:
    """
    Return everything as text.

    :param outcomes: of the simulation.
    :param conditions: how it was simulated.
    """
    simulated = ", ".join(f"{name} {value}" for name, value in conditions.items())
    met = "\n".join(f"{'passed    ' if good else 'NOT PASSED'}  {what}" for what, good in targets(outcomes))
    return f"{simulated}\n\n{line_table(outcomes)}\n\n{met}\n"


def write_line(outcomes: list[Outcome], conditions: dict[str, str], out: Path) -> None:
    """
    Write the JSON and the text.

    :param outcomes: of the simulation.
    :param conditions: how it was simulated.
    :param out: the file to write, without a suffix.
    """
    document = {"conditions": conditions, "outcomes": [asdict(each) for each in outcomes]}
    out.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
    out.with_suffix(".md").write_text(line_text(outcomes, conditions))


def _row(outcome: Outcome) -> tuple[str, ...]:
    result = outcome.result
    return (
        outcome.setting,
        outcome.rule,
        *(_waits(result, name) for name in (SMALL, "$20 to $50", LARGE)),
        f"{result.still_share:.1%}",
        f"{result.still_in_vain_share:.1%}",
        ", ".join(f"{count:,} of {group}" for group, count in result.gave_up.items()),
    )


def _waits(result: LineResult, group: str) -> str:
    # A run in parts has started when its last part has.
    waits = result.waits.get(group) or result.waits["in parts"]
    return ", ".join("0 s" if not each else duration(each) for each in (waits.median, waits.p99, waits.worst))
