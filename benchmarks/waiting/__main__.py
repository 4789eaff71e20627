"""
Measure what it costs to wait: gates on an empty account, in each way of waiting, on a whole Airflow.

Modes: (a) HttpSensor with response_check in reschedule mode, (b) BalanceSensor in reschedule mode, (c)
BalanceSensor deferred, (d) BalanceSensor started and ended in the triggerer, (e) BalanceSensor deferred,
which reserves. N gates are N runs of a DAG that is one gate.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.sandbox import Sandbox
from benchmarks.airflow_defaults import AIRFLOW_DEFAULTS
from benchmarks.conditions import airflow_conditions
from benchmarks.waiting.cost import DEFERRED_MODES
from benchmarks.waiting.report import Report
from benchmarks.waiting.stage import EMPTY_USD, Stage
from dev.local_airflow import LocalAirflow
from dev.private_postgres import PrivatePostgres
from dev.task_history import TaskHistory
from dev.you_com_connection import connection_with_ledger

DAGS = Path(__file__).parent / "dags"
RESULTS = Path(__file__).parents[1] / "results"
LEDGER = "ledger"
MODES = "abcde"
FULL = "d:1,50,200,1000 a:50 b:50 c:1,50,200,1000 e:50,200"
SMALL = "d:20 a:20 c:20 e:20"


def measure(
    phases: list[tuple[str, int]],
    *,
    interval: float,
    reschedule_interval: float,
    imports: str,
    minute: float,
    crash_gates: int,
    report: Report,
) -> None:
    """
    Run all phases on one Airflow, and write each result as soon as it is measured.

    :param phases: the mode and the number of gates of each phase.
    :param interval: seconds between two checks of a deferred gate.
    :param reschedule_interval: seconds between two checks of a gate in reschedule mode.
    :param imports: other modules that the DAG file of our gates imports.
    :param minute: the minimum seconds to measure the wait for.
    :param crash_gates: how many gates wait when the triggerer is killed; 0 skips that.
    :param report: collects the results.
    """
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-airflow-") as home,
        Sandbox(EMPTY_USD) as sandbox,
        PrivatePostgres() as postgres,
    ):
        postgres.create_database(LEDGER)
        environment = {
            **AIRFLOW_DEFAULTS,
            "AIRFLOW_CONN_YOUCOM_DEFAULT": sandbox.connection(),
            "AIRFLOW_CONN_YOUCOM_RESERVING": connection_with_ledger(
                sandbox, "youcom_ledger", settle_seconds=0
            ),
            "AIRFLOW_CONN_YOUCOM_LEDGER": postgres.airflow_connection(LEDGER),
            "AIRFLOW_CONN_YOUCOM_HTTP": json.dumps({"conn_type": "http", "host": sandbox.base_url}),
            "BENCHMARK_INTERVAL": str(interval),
            "BENCHMARK_RESCHEDULE_INTERVAL": str(reschedule_interval),
            "BENCHMARK_IMPORTS": imports,
        }
        intervals = {mode: interval if mode in DEFERRED_MODES else reschedule_interval for mode in MODES}
        airflow = LocalAirflow(Path(home), DAGS, environment=environment, database_url=postgres.url)
        with airflow:
            for mode in MODES:
                airflow.wait_for_dag(f"gate_{mode}", timeout=300)
            stage = Stage(
                airflow,
                postgres,
                sandbox,
                Ledger(sa.create_engine(postgres.url_of(LEDGER))),
                TaskHistory.start(postgres.connect()),
                minute,
                intervals,
            )
            stage.measure_idle()
            report.idle_cpu_per_second = stage.idle_cpu_per_second
            report.conditions["postgresql"] = postgres.version
            for mode, gates in phases:
                print(f"{time.strftime('%H:%M:%S')} {gates} gates in mode {mode} …", flush=True)
                report.add(stage.measure(mode, gates))
            if crash_gates:
                print(f"{time.strftime('%H:%M:%S')} kill -9 with {crash_gates} gates …", flush=True)
                report.crash = stage.measure_crash(crash_gates)


def parse_phases(text: str) -> list[tuple[str, int]]:
    """
    Parse phases such as ``a:50 d:50,200``.

    :param text: modes, each with its numbers of gates.
    """
    phases = [
        (mode, int(gates))
        for part in text.split()
        for mode, _, numbers in [part.partition(":")]
        for gates in numbers.split(",")
    ]
    if any(mode not in MODES or gates < 1 for mode, gates in phases):
        raise argparse.ArgumentTypeError("phases look like: a:50 d:50,200")
    return phases


def main() -> int:
    """Measure, print and write the results; return 0 if every gate ended once."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.waiting",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--modes", default="a,b,c,d", help="which modes, such as c,e (default: %(default)s)")
    parser.add_argument("--gates", default="50", help="how many gates, such as 50,200 (default: %(default)s)")
    parser.add_argument("--phases", type=parse_phases, help="instead of these two: a:50 d:50,200")
    parser.add_argument("--small", action="store_true", help=f"{SMALL}, half a minute each")
    parser.add_argument("--full", action="store_true", help=FULL)
    parser.add_argument("--interval", type=float, help="seconds, of modes c and d (default: 10, 5 if small)")
    parser.add_argument(
        "--reschedule-interval",
        type=float,
        help="seconds, of modes a and b (default: 30, 15 if small)",
    )
    parser.add_argument(
        "--imports",
        default="",
        help="other modules that the DAG file of our gates imports, as yours may: 'requests pandas'",
    )
    parser.add_argument(
        "--crash-gates",
        type=int,
        help="gates that wait when the triggerer is killed (default: 200, 20 if small)",
    )
    parser.add_argument("--out", type=Path, help="the file to write, without a suffix")
    options = parser.parse_args()
    size = "small" if options.small else "full" if options.full else "own"
    interval = options.interval or (5 if options.small else 10)
    reschedule_interval = options.reschedule_interval or (15 if options.small else 30)
    crash_gates = options.crash_gates
    report = Report(
        out=options.out or RESULTS / f"waiting-{size}",
        interval=interval,
        conditions={
            **airflow_conditions(),
            "interval": f"{interval:g} s deferred, {reschedule_interval:g} s rescheduled",
            "other imports": options.imports or "none",
        },
    )
    chosen = parse_phases(" ".join(f"{mode}:{options.gates}" for mode in options.modes.split(",")))
    measure(
        options.phases or (parse_phases({"small": SMALL, "full": FULL}[size]) if size != "own" else chosen),
        interval=interval,
        reschedule_interval=reschedule_interval,
        imports=options.imports,
        minute=30 if options.small else 60,
        crash_gates=(20 if options.small else 200) if crash_gates is None else crash_gates,
        report=report,
    )
    print(report.text())
    report.write_json()
    # When it is imported, matplotlib reads which backend is set below.
    from benchmarks.waiting.plot import plot

    plot(report.costs, report.conditions, report.out.with_suffix(".svg"))
    print(f"Written to {report.out.with_suffix('.json')} and .svg")
    return 0 if report.every_gate_ended_once() else 1


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.exit(main())
