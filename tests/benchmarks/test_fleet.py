"""The ideal schedule is right, and the report shows which targets a fleet met."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks.fleet_arms import Outcome, lowest_usd
from benchmarks.fleet_plan import Plan, ideal_ends
from benchmarks.fleet_report import FleetReport

pytestmark = pytest.mark.only_in_test

PROJECT = Path(__file__).parents[2]
MEASURED = PROJECT / "benchmarks" / "results" / "fleet.json"
OUTCOME = Outcome(
    arm="fleet_reserving",
    runs=100,
    refused=0,
    dead=0,
    paid_usd=1500.0,
    lost_usd=0.0,
    lowest_usd=0.0,
    seconds=380.0,
    run_seconds=10.0,
    api_calls=80,
    cpu=100.0,
    database_cpu=20.0,
    succeeded_at=[10.0] * 100,
    died_at=[],
    balances=[(0.0, 0.0), (1.0, 45.0), (2.0, 40.0)],
)


@pytest.fixture
def report(tmp_path: Path) -> FleetReport:
    return FleetReport(tmp_path / "fleet", Plan(top_up_seconds=10), {"airflow": "3.3.2"})


def missed(report: FleetReport) -> list[str]:
    return [what for what, met in report.targets() if not met]


def test_the_ideal_schedule_starts_each_run_once_the_account_can_pay_for_it():
    costs_usd = [Decimal(15)] * 7
    assert ideal_ends(costs_usd, Decimal(45), 10, 2) == [2, 2, 2, 12, 12, 12, 22]


def test_the_ideal_schedule_starts_the_cheapest_run_first():
    costs_usd = [Decimal(90), Decimal(5), Decimal(40)]
    assert ideal_ends(costs_usd, Decimal(45), 10, 2) == [2, 2, 22]


def test_the_account_is_topped_up_until_it_can_pay_for_all_runs():
    assert Plan(runs=100, payments=3, payment_usd=Decimal(5), top_up_usd=Decimal(45)).top_ups == 34


def test_the_lowest_balance_counts_only_after_the_first_charge():
    assert lowest_usd([(0, 0), (1, 45), (2, 40), (3, 35), (4, 80)]) == 35
    assert lowest_usd([(0, 0), (1, 45)]) == 0


def test_a_fleet_that_reserves_and_loses_nothing_meets_its_targets(report: FleetReport):
    report.outcomes = [OUTCOME]
    assert report.all_met()
    assert len(report.targets()) == 5


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"refused": 1}, "1 payments refused"),
        ({"dead": 2}, "2 runs died"),
        ({"reserved_at_the_end": 3}, "3 reservations stand at the end"),
        ({"checks_missed": 2}, "2 checks in a row opened no gate"),
        # 34 top-ups take 330 s, and the last run 10 s: the ideal is 340 s.
        ({"seconds": 443.0}, "1.30 times the ideal 340 s"),
    ],
)
def test_a_target_that_a_reserving_fleet_misses_is_reported(report: FleetReport, change: dict, target: str):
    report.outcomes = [replace(OUTCOME, **change)]
    (what,) = missed(report)
    assert target in what


def test_the_load_is_too_weak_if_gates_that_only_check_see_no_refused_payment(report: FleetReport):
    checking = replace(OUTCOME, arm="fleet_checking")
    report.outcomes = [checking, OUTCOME]
    (what,) = missed(report)
    assert "too weak" in what
    report.outcomes = [replace(checking, refused=1, dead=1), OUTCOME]
    assert report.all_met()


def test_a_report_can_be_read_again(report: FleetReport):
    report.outcomes = [OUTCOME]
    report.write_json()
    again = FleetReport.read(report.out.with_suffix(".json"))
    assert (again.plan, again.outcomes) == (report.plan, report.outcomes)
    assert again.text() == report.text()


def test_the_table_has_a_row_for_each_arm_and_one_for_the_ideal_schedule(report: FleetReport):
    report.outcomes = [replace(OUTCOME, arm="fleet_checking", refused=90, dead=80, lost_usd=1234.0), OUTCOME]
    rows = report.table(report.outcomes).splitlines()[2:]
    assert rows == [
        "| gates that check | 90 | 80 of 100 | $1,234 | $0 | 380 s | 80 | 100 s |",
        "| gates that reserve | 0 | 0 of 100 | $0 | $0 | 380 s | 80 | 100 s |",
        "| ideal schedule |  |  |  |  | 340 s |  |  |",
    ]


def test_the_docs_show_the_last_run_which_met_its_targets():
    assert FleetReport.read(MEASURED).all_met()
    assert (PROJECT / "docs" / "fleet.svg").read_text() == MEASURED.with_suffix(".svg").read_text()
