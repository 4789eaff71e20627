"""
Measure how a fleet of runs spends one account, which is topped up in steps, on a whole Airflow.

Arms: gates that only check; gates that check, with a pool of one slot and a second check at the start of each
paying task; gates that reserve; gates that reserve, with one larger run that joins
first. All runs wait on an empty account until the first top-up.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.sandbox import Sandbox
from benchmarks.airflow_defaults import AIRFLOW_DEFAULTS
from benchmarks.conditions import airflow_conditions
from benchmarks.fleet.fleet import Fleet
from benchmarks.fleet.outcome import ARMS
from benchmarks.fleet.plan import Plan
from benchmarks.fleet.report import FleetReport
from dev.local_airflow import LocalAirflow
from dev.private_postgres import PrivatePostgres
from dev.task_history import TaskHistory
from dev.you_com_connection import connection_with_ledger

DAGS = Path(__file__).parent / "dags"
RESULTS = Path(__file__).parents[1] / "results"
LEDGER = "ledger"


def measure(plan: Plan, arms: list[str], report: FleetReport) -> None:
    """
    Run the arms one after the other on one Airflow, and write each result as soon as it is measured.

    :param plan: what the runs pay, and how the account is topped up.
    :param arms: the ids of their DAGs.
    :param report: collects the results.
    """
    with (
        tempfile.TemporaryDirectory(prefix="fleet-airflow-") as home,
        Sandbox(0, post_charges_after=plan.posted_after_seconds) as sandbox,
        PrivatePostgres() as postgres,
    ):
        postgres.create_database(LEDGER)
        report.conditions["postgresql"] = postgres.version
        environment = {
            **AIRFLOW_DEFAULTS,
            "AIRFLOW_CONN_YOUCOM_DEFAULT": connection_with_ledger(
                sandbox, "youcom_ledger", settle_seconds=plan.settle_seconds
            ),
            "AIRFLOW_CONN_YOUCOM_LEDGER": postgres.airflow_connection(LEDGER),
            "FLEET_INTERVAL": str(plan.interval),
            "FLEET_PAYMENTS": str(plan.payments),
            "FLEET_PAYMENT_USD": str(plan.payment_usd),
            "FLEET_SPEND_URL": f"{sandbox.base_url}/sandbox/spend",
        }
        airflow = LocalAirflow(Path(home), DAGS, environment=environment, database_url=postgres.url)
        with airflow:
            airflow.request("POST", "/pools", json={"name": "youcom", "slots": 1})
            for dag_id in arms:
                airflow.wait_for_dag(dag_id)
            history = TaskHistory.start(postgres.connect())
            ledger = Ledger(sa.create_engine(postgres.url_of(LEDGER)))
            fleet = Fleet(airflow, postgres, sandbox, ledger, history, plan)
            fleet.measure_idle()
            for dag_id in arms:
                print(f"{time.strftime('%H:%M:%S')} {plan.runs} runs, {ARMS[dag_id]} …", flush=True)
                report.add(fleet.measure(dag_id))


def main() -> int:
    """Measure, print and write the results; return 0 if every target was met."""
    usual = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=usual.runs, help="(default: %(default)s)")
    parser.add_argument(
        "--arms", default=",".join(ARMS), help="ids of DAGs, separated by commas (default: %(default)s)"
    )
    parser.add_argument(
        "--large-run-usd",
        type=Decimal,
        default=usual.large_run_usd,
        help="dollars that the larger run pays (default: %(default)s)",
    )
    parser.add_argument(
        "--top-up-usd", type=Decimal, default=usual.top_up_usd, help="dollars a step (default: %(default)s)"
    )
    parser.add_argument(
        "--top-up-seconds",
        type=float,
        default=usual.top_up_seconds,
        help="seconds between two steps (default: %(default)s)",
    )
    parser.add_argument(
        "--posted-after-seconds",
        type=float,
        default=usual.posted_after_seconds,
        help="how late charges are posted (default: %(default)s)",
    )
    parser.add_argument(
        "--settle-seconds",
        type=float,
        default=usual.settle_seconds,
        help="the settle time of the connection (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="the file to write, without a suffix")
    options = parser.parse_args()
    plan = Plan(
        runs=options.runs,
        large_run_usd=options.large_run_usd,
        top_up_usd=options.top_up_usd,
        top_up_seconds=options.top_up_seconds,
        posted_after_seconds=options.posted_after_seconds,
        settle_seconds=options.settle_seconds,
    )
    report = FleetReport(
        out=options.out or RESULTS / ("fleet" if plan == usual else "fleet-own"),
        plan=plan,
        conditions=airflow_conditions(),
    )
    measure(plan, options.arms.split(","), report)
    print(report.text())
    report.write()
    # When it is imported, matplotlib reads which backend is set below.
    from benchmarks.fleet.plot import plot

    plot(report, report.out.with_suffix(".svg"))
    print(f"Written to {report.out.with_suffix('.json')}, .md and .svg")
    return 0 if report.all_met() else 1


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.exit(main())
