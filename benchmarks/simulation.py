"""
Simulate what reserving costs: a fleet of runs on one account that is topped up in steps.

    python -m benchmarks.simulation

The gates follow the provider's own rule. Runs of $1 to $400 arrive at random, wait at their gate, pay
several times and release; charges are posted late. Each variant sees the same runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.process_accounting import machine
from benchmarks.simulated_fleet import GROUPS_USD, Result, Scenario, simulate
from benchmarks.simulated_gates import CheckingGates, IdealGates

RESULTS = Path(__file__).parent / "results"
LOADS = (0.9, 1.0, 1.1)
IDEAL = "ideal: every cost is known"
CHECKING = "check only, reserve nothing"
CRASHES = {"crashing": 0.01}
VARIANTS: dict[str, dict[str, Any]] = {
    IDEAL: {"gates": IdealGates},
    "settle_seconds 0, charges posted at once": {"settle_seconds": 0, "posted_within_seconds": 0},
    "settle_seconds 10": {"settle_seconds": 10},
    "settle_seconds 60, the default": {"settle_seconds": 60},
    "settle_seconds 300": {"settle_seconds": 300},
    "min_usd 1.5 times the cost": {"generosity": 1.5},
    "min_usd 2 times the cost": {"generosity": 2},
    "1 % crash, reserve_for 1 hour": {**CRASHES, "reserve_for_seconds": 60 * 60},
    "1 % crash, reserve_for 1 day": {**CRASHES, "reserve_for_seconds": 24 * 60 * 60},
    CHECKING: {"gates": CheckingGates},
}
COLUMNS = (
    "load",
    "gates",
    "money in use",
    "idle on the account",
    *(f"wait of {name}: median, p99, worst" for name in GROUPS_USD if name != "all"),
    "time, times the ideal",
    "payments refused",
)


@dataclass(frozen=True)
class Variant:
    """
    The outcome of a fleet in one variant.

    :param name: of the variant.
    :param scenario: what was varied.
    :param result: the outcome.
    """

    name: str
    scenario: Scenario
    result: Result

    @property
    def is_good(self) -> bool:
        """Whether no payment was refused; behind gates that only check, whether some were."""
        return bool(self.result.refused) == (self.name == CHECKING)


def simulate_all(runs: int, seed: int, fleet: Scenario, loads: tuple[float, ...] = LOADS) -> list[Variant]:
    """
    Simulate all variants at all loads, and print each as soon as it is done.

    :param runs: how many runs in each.
    :param seed: of the random numbers.
    :param fleet: what all variants have in common.
    :param loads: how much money the runs need, as multiples of what can be topped up.
    """
    variants: list[Variant] = []
    for load in loads:
        for name, varied in VARIANTS.items():
            started = time.perf_counter()
            scenario = replace(fleet, load=load, **varied)
            variants.append(Variant(name, scenario, simulate(scenario, runs, seed)))
            seconds = time.perf_counter() - started
            print(f"load {load:g}, {name}: {runs:,} runs in {seconds:.1f} s", flush=True)
    return variants


def table(variants: list[Variant]) -> str:
    """
    Return results as a table in Markdown.

    :param variants: the results.
    """
    ideal_days = {each.scenario.load: each.result.days for each in variants if each.name == IDEAL}
    rows = [_row(each, ideal_days[each.scenario.load]) for each in variants]
    return "\n".join("| " + " | ".join(row) + " |" for row in [COLUMNS, ("---",) * len(COLUMNS), *rows])


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
    Write the JSON, the table and the plot.

    :param variants: the results.
    :param conditions: how it was simulated.
    :param out: the file to write, without a suffix.
    """
    from benchmarks.simulation_plot import plot

    document = {"conditions": conditions, "variants": [_to_json(each) for each in variants]}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
    out.with_suffix(".md").write_text(f"{_heading(conditions)}\n\n{table(variants)}\n")
    load = min(each.scenario.load for each in variants)
    note = f"{conditions['runs']} runs, load {load:g}; settle_seconds is 60 where it is not named"
    plot(results_to_plot(variants), note, out.with_suffix(".svg"))
    print(f"Written to {out.with_suffix('.json')}, .md and .svg")


def results_to_plot(variants: list[Variant]) -> dict[str, Result]:
    """
    Return the results at the lowest load, where nobody waits forever; the ideal comes first.

    :param variants: all results.
    """
    lowest = min(each.scenario.load for each in variants)
    return {
        each.name: each.result for each in variants if each.scenario.load == lowest and each.name != CHECKING
    }


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


def _heading(conditions: dict[str, str]) -> str:
    simulated = ", ".join(f"{name} {value}" for name, value in conditions.items())
    return f"{simulated}; settle_seconds is 60 where it is not named"


def main() -> int:
    """Print what was simulated, and return 1 if reserving gates let a payment be refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--runs", type=int, default=100_000, help="runs in each variant (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: %(default)s)")
    parser.add_argument(
        "--arrival-seconds", type=float, default=60, help="mean time between runs (default: %(default)g)"
    )
    parser.add_argument(
        "--shortest-seconds", type=float, default=120, help="a run takes at least (default: %(default)g)"
    )
    parser.add_argument(
        "--longest-seconds", type=float, default=1200, help="a run takes at most (default: %(default)g)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "simulation", help="the file, without a suffix")
    options = parser.parse_args()
    conditions = {
        "runs": f"{options.runs:,}",
        "seed": f"{options.seed}",
        "one arrives every": f"{options.arrival_seconds:g} s",
        "each takes": f"{options.shortest_seconds:g} to {options.longest_seconds:g} s",
        "date": datetime.now(UTC).date().isoformat(),
        "python": sys.version.split()[0],
        "machine": machine(),
    }
    fleet = Scenario(
        arrival_seconds=options.arrival_seconds,
        shortest_seconds=options.shortest_seconds,
        longest_seconds=options.longest_seconds,
    )
    variants = simulate_all(options.runs, options.seed, fleet)
    print(f"{_heading(conditions)}\n\n{table(variants)}")
    write(variants, conditions, options.out)
    return 0 if all(each.is_good for each in variants) else 1


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.exit(main())
