"""The report says which targets the line met."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.line.arm import Outcome
from benchmarks.line.plan import Plan
from benchmarks.line.report import WITH, WITHOUT, LineReport

pytestmark = pytest.mark.only_in_test

WITHOUT_LINE = Outcome(
    arm=WITHOUT,
    opened_after_seconds=131.0,
    smalls_waiting=0,
    seconds=150.0,
    succeeded=41,
    refused=0,
    left_usd=0.0,
)
WITH_LINE = replace(WITHOUT_LINE, arm=WITH, opened_after_seconds=62.0, smalls_waiting=23, seconds=155.0)


@pytest.fixture
def report(tmp_path: Path) -> LineReport:
    return LineReport(tmp_path / "line", Plan(), {"airflow": "3.3.2"})


def missed(report: LineReport) -> list[str]:
    return [what for what, met in report.targets() if not met]


def test_the_account_gets_what_all_runs_need():
    assert Plan().top_ups == 44


def test_a_line_that_gives_the_large_run_its_turn_meets_every_target(report: LineReport):
    report.add(WITHOUT_LINE)
    report.add(WITH_LINE)
    assert report.all_met()
    assert "| with the line | 62 s | 23 | 155 s | 41 of 41 | 0 |" in report.out.with_suffix(".md").read_text()
    written = json.loads(report.out.with_suffix(".json").read_text())
    assert [each["passed"] for each in written["targets"]] == [True] * 7


@pytest.mark.parametrize(
    ("change", "target"),
    [
        ({"smalls_waiting": 9}, "9 small gates waited when the large one opened, at least 10"),
        ({"seconds": 180.0}, "all had ended after 1.20 times as long as without it, at most 1.15 times"),
        ({"succeeded": 40}, "40 runs succeeded"),
        ({"refused": 1}, "1 payments refused"),
    ],
)
def test_each_target_can_be_missed(report: LineReport, change: dict[str, int], target: str):
    report.add(WITHOUT_LINE)
    report.add(replace(WITH_LINE, **change))
    assert missed(report) == [f"with the line: {target}"]


def test_a_load_under_which_the_large_run_needs_no_line_shows_nothing(report: LineReport):
    report.add(replace(WITHOUT_LINE, smalls_waiting=1))
    report.add(WITH_LINE)
    assert missed(report) == ["without the line: 1 small gates waited when the large one opened, none"]
