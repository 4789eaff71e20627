"""
Simulate what reserving costs, and what the line of waiting gates costs and gives.

    python -m benchmarks.simulation

The gates follow the provider's own rule. Runs of $1 to $400 arrive at random, wait at their gate, pay
several times and release; charges are posted late. Each variant sees the same runs. In the first part, gates
wait in line by three rules. In the second, they reserve without a line, on an account that is topped up in
steps.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.conditions import machine
from benchmarks.simulation.line.report import line_text, write_line
from benchmarks.simulation.line.settings import simulate_settings, targets
from benchmarks.simulation.report import heading, plot_note, results_to_plot, table, write
from benchmarks.simulation.scenario import Scenario
from benchmarks.simulation.variants import simulate_all

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Print what was simulated, and return 1 if a payment was refused or the line misses a target."""
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
    parser.add_argument(
        "--line-runs", type=int, default=6_000, help="runs in each setting of the line (default: %(default)s)"
    )
    parser.add_argument("--only-line", action="store_true", help="simulate the line alone")
    parser.add_argument("--out", type=Path, default=RESULTS / "simulation", help="the file, without a suffix")
    options = parser.parse_args()
    line_is_good = simulate_the_line(options)
    return 0 if (options.only_line or simulate_the_variants(options)) and line_is_good else 1


def simulate_the_line(options: argparse.Namespace) -> bool:
    """
    Print and write what the line costs and gives, and return whether it meets its targets.

    :param options: of the command line.
    """
    conditions = {
        "runs": f"{options.line_runs:,}",
        "seed": f"{options.seed}",
        "date": datetime.now(UTC).date().isoformat(),
        "python": sys.version.split()[0],
    }
    outcomes = simulate_settings(options.line_runs, options.seed)
    out = options.out.with_name(f"{options.out.name}-line")
    print(line_text(outcomes, conditions))
    write_line(outcomes, conditions, out)
    from benchmarks.simulation.line.plot import plot_line

    note = f"{conditions['runs']} runs of $1 to $400, one a minute; hold_seconds is 3600"
    plot_line(outcomes, note, out.with_suffix(".svg"))
    return all(met for _, met in targets(outcomes))


def simulate_the_variants(options: argparse.Namespace) -> bool:
    """
    Print and write what reserving costs, and return whether no payment was refused that should not be.

    :param options: of the command line.
    """
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
    print(f"{heading(conditions)}\n\n{table(variants)}")
    write(variants, conditions, options.out)
    # When it is imported, matplotlib reads which backend is set below.
    from benchmarks.simulation.plot import plot

    plot(results_to_plot(variants), plot_note(variants, conditions), options.out.with_suffix(".svg"))
    print(f"Written to {options.out.with_suffix('.json')}, .md and .svg")
    return all(each.is_good for each in variants)


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.exit(main())
