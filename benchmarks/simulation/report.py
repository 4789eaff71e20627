"""The table and the JSON of the simulation, and what is plotted of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.markdown_table import markdown_table
from benchmarks.simulation.result import GROUPS_USD, Result
from benchmarks.simulation.variants import CHECKING, IDEAL, Variant

COLUMNS = (
    "load",
    "gates",
    "money in use",
    "idle on the account",
    *(f"wait of {name}: median, p99, worst" for name in GROUPS_USD if name != "all"),
    "time, times the ideal",
    "payments refused",
)


def table(variants: list[Variant]) -> str:
    """
    Return results as a table in Markdown.

    :param variants: the results.
    """
    ideal_days = {each.scenario.load: each.result.days for each in variants if each.name == IDEAL}
    return markdown_table(COLUMNS, [_row(each, ideal_days[each.scenario.load]) for each in variants])


def two_digits(figure: float) -> str:
    """
    Return a figure to one decimal place, or as a whole number from 10 on.

    :param figure: above 0.
    """
    return f"{figure:.1f}" if figure < 9.95 else f"{figure:.0f}"


def duration(seconds: float) -> str:
    """
    Return a duration in the unit that a person would choose.

    :param seconds: how long it is.
    """
    for unit, length in (("days", 24 * 60 * 60), ("h", 60 * 60), ("min", 60)):
        if seconds >= 2 * length:
            return f"{two_digits(seconds / length)} {unit}"
    return f"{two_digits(seconds)} s"


def write(variants: list[Variant], conditions: dict[str, str], out: Path) -> None:
    """
    Write the JSON and the table.

    :param variants: the results.
    :param conditions: how it was simulated.
    :param out: the file to write, without a suffix.
    """
    document = {"conditions": conditions, "variants": [_to_json(each) for each in variants]}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
    out.with_suffix(".md").write_text(f"{heading(conditions)}\n\n{table(variants)}\n")


def results_to_plot(variants: list[Variant]) -> dict[str, Result]:
    """
    Return the results at the lowest load, where nobody waits forever; the ideal comes first.

    :param variants: all results.
    """
    lowest = min(each.scenario.load for each in variants)
    return {
        each.name: each.result for each in variants if each.scenario.load == lowest and each.name != CHECKING
    }


def plot_note(variants: list[Variant], conditions: dict[str, str]) -> str:
    """
    Return in words what is plotted.

    :param variants: all results.
    :param conditions: how it was simulated.
    """
    load = min(each.scenario.load for each in variants)
    return f"{conditions['runs']} runs, load {load:g}; settle_seconds is 60 where it is not named"


def _row(variant: Variant, ideal_days: float) -> tuple[str, ...]:
    result = variant.result
    waits = (result.waits[name] for name in GROUPS_USD if name != "all")
    refused = f"{result.refused:,}, ${result.lost_usd:,.0f} lost" if result.refused else "0"
    return (
        f"{variant.scenario.load:g}",
        variant.name,
        f"{result.in_use:.0%}",
        f"${result.idle_usd:.0f}",
        *(f"{duration(wait.median)}, {duration(wait.p99)}, {duration(wait.worst)}" for wait in waits),
        f"{result.days / ideal_days:.2f}",
        refused,
    )


def _to_json(variant: Variant) -> dict[str, Any]:
    scenario = {**asdict(variant.scenario), "gates": variant.scenario.gates.__name__}
    result = {**asdict(variant.result), "idle_usd": variant.result.idle_usd}
    return {"name": variant.name, "scenario": scenario, "result": result}


def heading(conditions: dict[str, str]) -> str:
    """
    Return in words how it was simulated.

    :param conditions: the same, by name.
    """
    simulated = ", ".join(f"{name} {value}" for name, value in conditions.items())
    return f"{simulated}; settle_seconds is 60 where it is not named"
