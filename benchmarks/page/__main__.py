"""
Measure what the credits page costs, and what it does to Airflow's API server when its ledger hangs.

The first part makes pages of a ledger with 90 days of readings, with three gates in line and three runs that
hold credits, and with a thousand of each. In the second part, viewers look at the page while the ledger
answers, and while it hangs, and somebody asks for Airflow's DAGs; then the API server is stopped.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

LARGEST_COST_RATIO = 10.0
LARGEST_PAGE_BYTES = 100_000
LARGEST_LATENCY_RATIO = 2.0
# How many times as long an API server may take to stop while the ledger hangs.
LARGEST_END_RATIO = 1.5
FEW_ROWS = 3


def measure_pages(folder: Path, rows: int) -> bool:
    """
    Print what pages cost, and return whether they are cheap enough.

    :param folder: for the ledgers.
    :param rows: how many gates wait, and how many runs hold credits.
    """
    from benchmarks.page.cost import measure_cost

    few, many = (measure_cost(folder, each, pages=10) for each in (FEW_ROWS, rows))
    for cost in (few, many):
        print(
            f"90 days of readings, {cost.rows:,} in line and {cost.rows:,} holding: {cost.cpu_ms:.1f} ms of "
            f"CPU, {cost.gzipped_bytes / 1000:.1f} kB gzipped",
            flush=True,
        )
    ratio = many.cpu_ms / few.cpu_ms
    print(f"With many rows, a page costs {ratio:.1f} times as much", flush=True)
    return ratio < LARGEST_COST_RATIO and many.gzipped_bytes < LARGEST_PAGE_BYTES


def measure_viewers(folder: Path, viewers: int, seconds: float) -> bool:
    """
    Print how long answers take while the ledger hangs, and return whether that is short enough.

    :param folder: for Airflow's home.
    :param viewers: how many look at the page at once.
    :param seconds: for how long.
    """
    from benchmarks.page.hanging_ledger import longest_page, new_stage

    with new_stage(folder / "hanging") as stage:
        answering = stage.watch(viewers, seconds)
        with stage.hanging_ledger():
            hanging = stage.watch(viewers, seconds)
        for what, seen in (("answers", answering), ("hangs", hanging)):
            print(
                f"{viewers} viewers, the ledger {what}: /api/v2/dags takes {seen.dags_median:.3f} s (median "
                f"of {len(seen.dags)}; the longest {max(seen.dags):.3f} s), the page at most "
                f"{max(seen.pages):.2f} s ({len(seen.pages)} pages, {seen.explained} with its sentence)",
                flush=True,
            )
        usual = stage.seconds_to_end()
    with new_stage(folder / "ending") as stage, stage.hanging_ledger():
        stage.watch(viewers=1, seconds=0)
        late = stage.seconds_to_end()
    print(
        f"The API server ends {usual:.1f} s after SIGTERM, and {late:.1f} s while the ledger hangs",
        flush=True,
    )
    return (
        hanging.dags_median <= LARGEST_LATENCY_RATIO * answering.dags_median
        and max(hanging.pages) <= longest_page()
        and hanging.explained > 0
        and late <= LARGEST_END_RATIO * usual
    )


def main() -> int:
    """Print what was measured, and return 1 if it is worse than it should be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1000, help="gates and runs (default: %(default)s)")
    parser.add_argument("--viewers", type=int, default=60, help="at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8, help="for each part (default: %(default)s)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="benchmark-page-") as folder:
        os.environ.setdefault("AIRFLOW_HOME", folder)
        is_cheap = measure_pages(Path(folder), options.rows)
        is_quick = measure_viewers(Path(folder), options.viewers, options.seconds)
        return 0 if is_cheap and is_quick else 1


if __name__ == "__main__":
    sys.exit(main())
