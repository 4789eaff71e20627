"""The report shows which targets a fleet met, and the docs show the last run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.fleet.outcome import Outcome
from benchmarks.fleet.plan import Plan
from benchmarks.fleet.report import FleetReport

pytestmark = pytest.mark.only_in_test

PROJECT = Path(__file__).parents[3]
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


@pytest.mark.parametrize(("opened_after", "missed_it"), [(349.0, False), (350.0, True), (None, True)])
def test_the_large_run_opens_before_it_would_without_the_line(
    report: FleetReport, opened_after: float | None, missed_it: bool
):
    # 1 run of $120 and 100 of $15 need 36 top-ups, which take 350 s.
    report.outcomes = [replace(OUTCOME, arm="fleet_mixed", large_opened_after=opened_after)]
    assert bool(missed(report)) is missed_it
    assert "a run of $120 joins first, and the account is topped up 36 times" in report.load()
    assert len(report.targets()) == 4


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
