"""
Measure when a large run gets its turn among many small ones, with the line and without it.

In a whole Airflow, all of them wait on an empty account, the large one first. The account is topped up in
steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.sandbox import Sandbox
from benchmarks.airflow_defaults import AIRFLOW_DEFAULTS
from benchmarks.conditions import airflow_conditions
from benchmarks.line.arm import NO_LINE, measure
from benchmarks.line.plan import Plan
from benchmarks.line.report import WITH, WITHOUT, LineReport
from dev.local_airflow import LocalAirflow
from dev.private_postgres import PrivatePostgres
from dev.task_history import TaskHistory
from dev.you_com_connection import connection_with_ledger

DAGS = Path(__file__).parent / "dags"
RESULTS = Path(__file__).parents[1] / "results"


def run(plan: Plan, report: LineReport) -> None:
    """
    Run both arms one after the other on one Airflow, and write each result as soon as it is measured.

    :param plan: what the runs need, and how the account is topped up.
    :param report: collects the results.
    """
    arms = (WITHOUT, WITH)
    with (
        tempfile.TemporaryDirectory(prefix="line-airflow-") as home,
        Sandbox(accounts=dict.fromkeys(arms, 0)) as sandbox,
        PrivatePostgres() as postgres,
    ):
        report.conditions["postgresql"] = postgres.version
        environment = {
            **AIRFLOW_DEFAULTS,
            # On a busy machine, a task that cannot start within seconds has failed.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "LINE_SPEND_URL": f"{sandbox.base_url}/sandbox/spend",
        }
        for arm in arms:
            postgres.create_database(arm)
            environment |= {
                f"AIRFLOW_CONN_{arm.upper()}": connection_with_ledger(
                    sandbox, f"ledger_{arm}", settle_seconds=0, api_key=arm
                ),
                f"AIRFLOW_CONN_LEDGER_{arm.upper()}": postgres.airflow_connection(arm),
            }
        ledgers = {arm: Ledger(sa.create_engine(postgres.url_of(arm))) for arm in arms}
        assert ledgers[WITHOUT].line.places() == [], "it has its tables now"
        postgres.connect(WITHOUT).cursor().execute(NO_LINE)
        with LocalAirflow(Path(home), DAGS, environment=environment, database_url=postgres.url) as airflow:
            for arm in arms:
                airflow.wait_for_dag(arm)
            history = TaskHistory.start(postgres.connect())
            for arm in arms:
                print(f"{time.strftime('%H:%M:%S')} {arm.replace('_', ' ')} …", flush=True)
                report.add(measure(arm, airflow, sandbox, ledgers[arm], history, plan))


def main() -> int:
    """Measure, print and write the results; return 0 if every target was met."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.line",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "line", help="the file to write, without a suffix"
    )
    options = parser.parse_args()
    report = LineReport(out=options.out, plan=Plan(), conditions=airflow_conditions())
    run(report.plan, report)
    print(report.text())
    print(f"Written to {report.out.with_suffix('.json')} and .md")
    return 0 if report.all_met() else 1


if __name__ == "__main__":
    sys.exit(main())
