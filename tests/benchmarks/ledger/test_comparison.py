"""The bare driver does what the ledger does, and the ended rows are like those of a month of runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import KEEP_ENDED_SECONDS, EndReason
from benchmarks.ledger.comparison import TimedCycles, compare
from benchmarks.ledger.databases import Database, databases
from dev.private_postgres import installed_binaries

pytestmark = [
    pytest.mark.ledger,
    pytest.mark.skipif(installed_binaries() is None, reason="there is no PostgreSQL server on this machine"),
]

ENDED_ROWS = 50


@pytest.fixture(scope="module")
def kinds() -> Iterator[dict[str, dict[str, Database]]]:
    environment = dict(os.environ)
    with databases("turns", "rows", "new_ledger", "old_ledger") as kinds:
        yield kinds
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(params=["sqlite", "postgresql"])
def of_kind(request: pytest.FixtureRequest, kinds: dict[str, dict[str, Database]]) -> dict[str, Database]:
    return kinds[request.param]


def runs_that_ended(ledger: Ledger) -> set[str]:
    return {each.attempt.holder.run_id for each in ledger.history(limit=1000) if not each.stands}


def test_the_bare_driver_reserves_and_releases_as_the_ledger_does(of_kind: dict[str, Database]) -> None:
    ledger = of_kind["turns"].ledger()
    with closing(TimedCycles(of_kind["turns"], 0)) as cycles:
        before = runs_that_ended(ledger)
        cycles.take_a_turn(7)
        cycles.take_a_turn(8)

    assert runs_that_ended(ledger) - before == {
        *("recorded-7", "timed-7", "7-dedrocer"),
        *("recorded-8", "timed-8", "8-dedrocer"),
    }
    assert {each.end_reason for each in ledger.history()} == {EndReason.RELEASED}
    assert ledger.standing() == []


def test_ended_rows_do_not_count_and_are_not_due(of_kind: dict[str, Database]) -> None:
    ledger = of_kind["rows"].ledger()
    with closing(TimedCycles(of_kind["rows"], ENDED_ROWS)):
        ended = [each for each in ledger.history(limit=1000) if each.attempt.id.startswith("ended-")]

    assert len(ended) == ENDED_ROWS
    assert not any(each.stands for each in ended)
    assert len({each.attempt.holder.run_id for each in ended}) == ENDED_ROWS
    oldest = min(each.counts_until for each in ended if each.counts_until)
    assert timedelta(days=25) < datetime.now(UTC) - oldest < timedelta(seconds=KEEP_ENDED_SECONDS)
    assert {account.reserved_usd for account in ledger.note().accounts.values()} == {0}


def test_both_ledgers_are_timed_with_and_without_the_driver_alone(of_kind: dict[str, Database]) -> None:
    new, old = compare(of_kind["new_ledger"], of_kind["old_ledger"], 3, ENDED_ROWS)

    assert min(new.ledger_ms, new.bare_driver_ms, old.ledger_ms, old.bare_driver_ms) > 0
    assert new.ratio == new.ledger_ms / new.bare_driver_ms
    in_old = runs_that_ended(of_kind["old_ledger"].ledger())
    assert len(in_old) == len(runs_that_ended(of_kind["new_ledger"].ledger())) + ENDED_ROWS
