from __future__ import annotations

from pathlib import Path

from tests.faults.fault_matrix import CASES

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def test_the_page_of_faults_lists_just_what_is_tried() -> None:
    listed = [line.removeprefix("- ") for line in PAGE.read_text().splitlines() if line.startswith("- ")]
    assert sorted(listed) == sorted(case.name for case in CASES)


def test_the_page_of_faults_counts_them() -> None:
    assert f"| faults tried, each by a real socket | {len(CASES)} |" in PAGE.read_text()
