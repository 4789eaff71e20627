"""The benchmark prints only ratios that it has figures for, and the docs show what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.waiting.report import Report

pytestmark = pytest.mark.only_in_test

PROJECT = Path(__file__).parents[3]
MEASURED = PROJECT / "benchmarks" / "results" / "waiting-full.json"


@pytest.fixture
def report() -> Report:
    return Report.read(MEASURED)


def test_results_are_compared_for_the_same_number_of_gates(report: Report) -> None:
    compared = [line.split(":")[0] for line in report.ratios()]
    assert compared == ["b × 50 against a × 50", "c × 50 against a × 50", "d × 50 against a × 50"]


def test_targets_compare_the_same_number_of_gates(report: Report) -> None:
    savings = [what for what, _ in report.targets() if "1/15 of the" in what]
    assert len(savings) == 2
    for what in savings:
        gates = what.split(":")[0].split()[-1]
        assert what.endswith(f"c × {gates}")


@pytest.mark.parametrize(("times", "is_met"), [(1.5, True), (1.51, False)])
def test_a_gate_that_reserves_may_cost_half_as_much_again(report: Report, times: float, is_met: bool) -> None:
    (checking,) = (cost for cost in report.costs if cost.mode == "c" and cost.gates == 200)
    cpu = times * checking.cpu_per_gate_life
    report.costs.append(replace(checking, mode="e", cpu_per_gate_life=cpu))
    (target,) = (met for what, met in report.targets() if what.startswith("e × 200") and "CPU" in what)
    assert target is is_met


def test_there_is_no_ratio_without_a_result_to_compare_with(report: Report) -> None:
    report.costs = [cost for cost in report.costs if cost.mode != "a" or cost.gates != 50]
    assert not list(report.ratios())


@pytest.mark.parametrize("mode", ["a", "d"])
def test_uncounted_calls_are_marked_and_have_no_ratio(report: Report, mode: str) -> None:
    report.costs = [
        replace(cost, api_calls_per_minute=None) if cost.mode == mode else cost
        for cost in report.costs
        if cost.gates == 50 and cost.mode in "ad"
    ]

    (ratio,) = report.ratios()

    assert "API calls" not in ratio
    assert "CPU" in ratio
    assert report.text().count("not counted") == 2


def test_cpu_time_lost_in_the_noise_has_no_ratio(report: Report) -> None:
    report.costs = [
        replace(cost, cpu_per_gate_minute=-0.01)
        for cost in report.costs
        if cost.gates == 50 and cost.mode in "ad"
    ]

    (ratio,) = report.ratios()

    assert "in a minute" not in ratio


def test_a_higher_figure_is_reported_as_more(report: Report) -> None:
    report.costs = [
        replace(cost, api_calls_per_minute=60 if cost.mode == "d" else 6)
        for cost in report.costs
        if cost.gates == 50 and cost.mode in "ad"
    ]

    (ratio,) = report.ratios()

    assert "10.0 times more API calls" in ratio


def test_a_report_that_was_read_writes_the_same_file(report: Report, tmp_path: Path) -> None:
    report.out = tmp_path / "again"
    report.write_json()
    assert (tmp_path / "again.json").read_text() == MEASURED.read_text()


def test_the_docs_show_the_last_full_run(report: Report) -> None:
    page = (PROJECT / "docs" / "waiting.md").read_text()
    assert report.summary() in page
    assert report.conditions["date"] in page
    assert f"Airflow {report.conditions['airflow']}" in page
    assert (PROJECT / "docs" / "waiting.svg").read_text() == MEASURED.with_suffix(".svg").read_text()


def test_each_ratio_in_the_docs_is_one_of_the_last_full_run(report: Report) -> None:
    page = (PROJECT / "docs" / "waiting.md").read_text().replace("\n", " ")
    costs = {(cost.mode, cost.gates): cost for cost in report.costs}
    today, deferred, in_the_triggerer = (costs[mode, 50] for mode in "acd")
    for cost in (deferred, in_the_triggerer):
        assert f"{today.cpu_per_gate_life / cost.cpu_per_gate_life:.0f} times less CPU" in page
