from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.fault_matrix import (
    ACCEPTED,
    CASES,
    NOT_THE_CONTRACT,
    REFUSED,
    SPEND_CAP,
    UNAVAILABLE,
    Outcome,
)

pytestmark = pytest.mark.on_one_airflow

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


@pytest.mark.parametrize(
    ("title", "outcome"),
    [
        ("Unavailable", UNAVAILABLE),
        ("Refused", REFUSED),
        ("Spending cap", SPEND_CAP),
        ("Not the contract", NOT_THE_CONTRACT),
        ("Accepted", ACCEPTED),
    ],
)
def test_the_page_lists_each_fault_under_its_outcome(title: str, outcome: Outcome) -> None:
    (section,) = [text for text in PAGE.split("\n### ") if text.startswith(f"{title}: ")]
    listed = [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")]
    assert listed == [case.name for case in CASES if case.outcome == outcome]


def test_the_page_counts_the_faults() -> None:
    assert f"meets {len(CASES)} faults" in PAGE
