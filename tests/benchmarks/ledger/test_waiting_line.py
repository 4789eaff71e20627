"""A line of waiting gates is measured in both databases, and its looks send few statements."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from airflow_provider_youcom.ledger.rule import EndReason
from benchmarks.ledger.databases import Database, databases
from benchmarks.ledger.hammer import claim_of
from benchmarks.ledger.waiting_line import LineTimes, count_statements, measure_line
from dev.private_postgres import installed_binaries

pytestmark = [
    pytest.mark.ledger,
    pytest.mark.skipif(installed_binaries() is None, reason="there is no PostgreSQL server on this machine"),
]

WAITING = 20


@pytest.fixture(scope="module")
def kinds() -> Iterator[dict[str, dict[str, Database]]]:
    environment = dict(os.environ)
    with databases("nobody_waits", "many_wait") as kinds:
        yield kinds
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_line_is_measured_and_a_look_sends_at_most_four_statements(
    kinds: dict[str, dict[str, Database]], kind: str
) -> None:
    of_kind = kinds[kind]
    times = measure_line(of_kind["nobody_waits"], of_kind["many_wait"], WAITING, turns=2)

    figures = (times.opening_ms, times.opening_beside_line_ms, times.cycle_ms, times.cycle_without_line_ms)
    assert min(*figures, times.join_ms, times.keep_ms, times.note_ms) > 0
    assert 3 <= times.statements <= 4
    ledger = of_kind["many_wait"].ledger()
    assert len(ledger.line.places()) == WAITING
    assert of_kind["nobody_waits"].ledger().line.places() == []
    assert {each.end_reason for each in ledger.history(limit=1000)} == {EndReason.RELEASED}
    # Whoever joins anew needs more.
    joining = [claim_of(f"new-{number}", 1) for number in range(3)]
    assert count_statements(ledger, joining, usd=0) > 4


def test_ratios_compare_with_nobody_in_line_and_without_the_line() -> None:
    times = LineTimes(1, 2.0, 3.0, 6.0, 5.0, 1.0, 1.0, 1.0, 4)
    assert (times.opening_ratio, times.cycle_ratio) == (1.5, 1.2)
