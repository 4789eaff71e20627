"""
Measure what the ledger costs, and check that it holds under load.

The first part compares a cycle of note, decision and release with the same statements sent by the bare
driver, in a new ledger and in one with many ended rows. The second part measures a line of waiting gates. In
the third, eight processes hammer one account, whose charges are posted late.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile

LARGEST_RATIO = 2.0
# How much longer a cycle may take because of the ended rows.
LARGEST_RATIO_WITH_ENDED_ROWS = 1.2
# How much longer an opening may take beside a line of gates, and a cycle because of an empty line.
LARGEST_RATIO_BESIDE_LINE = 2.0
LARGEST_RATIO_OF_EMPTY_LINE = 1.2
MOST_STATEMENTS_OF_A_LOOK = 4


def measure_cycles(cycles: int, ended_rows: int) -> bool:
    """
    Print what a cycle costs, and return whether it is cheap enough.

    :param cycles: how many cycles of each kind to measure.
    :param ended_rows: how many ended rows the older ledger has.
    """
    from benchmarks.ledger.comparison import compare
    from benchmarks.ledger.databases import databases

    is_good = True
    with databases("new_ledger", "old_ledger") as kinds:
        for kind, of_kind in kinds.items():
            new, old = compare(of_kind["new_ledger"], of_kind["old_ledger"], cycles, ended_rows)
            slower = old.ledger_ms / new.ledger_ms
            for rows, times in ((0, new), (ended_rows, old)):
                print(
                    f"{kind}, {rows:,} ended rows: note, decide and release take {times.ledger_ms:.2f} ms, "
                    f"and {times.bare_driver_ms:.2f} ms by {times.driver} alone: {times.ratio:.2f} times"
                )
            print(f"{kind}: with {ended_rows:,} ended rows, they take {slower:.2f} times as long", flush=True)
            # The bare driver waits for the disk on SQLite: the faster the disk, the larger the ratio.
            is_good &= kind == "sqlite" or max(new.ratio, old.ratio) <= LARGEST_RATIO
            is_good &= slower <= LARGEST_RATIO_WITH_ENDED_ROWS
    return is_good


def measure_waiting(turns: int, waiting: int) -> bool:
    """
    Print what a line costs, and return whether it is cheap enough.

    :param turns: how often each is measured.
    :param waiting: how many gates wait.
    """
    from benchmarks.ledger.databases import databases
    from benchmarks.ledger.waiting_line import measure_line

    is_good = True
    with databases("nobody_waits", "many_wait") as kinds:
        for kind, of_kind in kinds.items():
            times = measure_line(of_kind["nobody_waits"], of_kind["many_wait"], waiting, turns)
            print(
                f"{kind}, {waiting:,} gates in line: an opening takes "
                f"{times.opening_beside_line_ms:.2f} ms, and "
                f"{times.opening_ms:.2f} ms with nobody in line: {times.opening_ratio:.2f} times\n"
                f"{kind}, nobody in line: a cycle takes {times.cycle_ms:.2f} ms, and "
                f"{times.cycle_without_line_ms:.2f} ms without what keeps the line: "
                f"{times.cycle_ratio:.2f} times\n"
                f"{kind}, {waiting:,} gates in line: they join in {times.join_ms:.0f} ms; a look keeps their "
                f"places in {times.keep_ms:.1f} ms, notes them in {times.note_ms:.1f} ms, and sends at most "
                f"{times.statements} statements",
                flush=True,
            )
            is_good &= times.opening_ratio <= LARGEST_RATIO_BESIDE_LINE
            is_good &= times.cycle_ratio <= LARGEST_RATIO_OF_EMPTY_LINE
            is_good &= times.statements <= MOST_STATEMENTS_OF_A_LOOK
    return is_good


def measure_load(rounds: int) -> bool:
    """
    Print how the ledger holds under load, and return whether it does.

    :param rounds: how often each process reserves.
    """
    from benchmarks.ledger.databases import databases
    from benchmarks.ledger.hammer import PROCESSES, hammer

    is_good = True
    with databases("hammer") as kinds:
        for kind, of_kind in kinds.items():
            found = hammer(of_kind["hammer"].url, rounds, settle_seconds=0.05)
            print(
                f"{kind}: {PROCESSES} processes, {PROCESSES * rounds} reservations in "
                f"{found.seconds:.1f} s: {found.refused} payments refused, {len(found.errors)} errors, "
                f"a decision takes {found.p99_ms:.1f} ms at p99",
                flush=True,
            )
            is_good &= not found.refused and not found.errors
            for error in found.errors:
                print(f"  {error}")
    return is_good


def main() -> int:
    """Print what was measured, and return 1 if it is worse than it should be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ledger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cycles", type=int, default=500, help="cycles of each kind (default: %(default)s)")
    parser.add_argument(
        "--ended-rows", type=int, default=120_000, help="rows in the older ledger (default: %(default)s)"
    )
    parser.add_argument("--waiting", type=int, default=1_000, help="gates in line (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=50, help="how often each process reserves (default: %(default)s)"
    )
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="benchmark-airflow-") as home:
        os.environ.setdefault("AIRFLOW_HOME", home)
        is_cheap = measure_cycles(options.cycles, options.ended_rows)
        is_cheap &= measure_waiting(options.cycles // 5, options.waiting)
        return 0 if measure_load(options.rounds) and is_cheap else 1


if __name__ == "__main__":
    sys.exit(main())
