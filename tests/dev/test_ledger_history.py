"""The made-up history has something to show in each place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.ledger import figures
from airflow_provider_youcom.ledger.ledger import Ledger
from dev.ledger_history import add_history, add_holding
from tests.ledger.spending import account_with


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield Ledger(engine)
    engine.dispose()


@pytest.mark.parametrize("usd", ["122.40", "3.20"])
def test_it_ends_at_the_balance_with_all_that_the_page_shows(ledger: Ledger, usd: str) -> None:
    add_history(ledger, account_with(usd), "production")
    known = ledger.accounts.overview("4f1c")
    assert known.counting == []
    assert known.readings[-1].balance_usd == Decimal(usd)
    assert known.now - known.readings[-1].read_at < timedelta(minutes=5)
    assert known.now - known.readings[0].read_at > timedelta(days=29)
    assert any(later.balance_usd > earlier.balance_usd for earlier, later in pairwise(known.readings))
    assert min(each.balance_usd for each in known.readings) >= 0
    assert figures.runs_out(known.readings, known.now) is not None
    fall = figures.fall(known.readings, known.now)
    assert fall is not None
    assert 0 < fall.unreserved_usd < fall.usd
    assert len(known.reserved_by_dag) == 3
    assert len(known.readings) < 1500


def test_it_has_runs_that_hold_credits_now(ledger: Ledger) -> None:
    add_history(ledger, account_with("122.40"))
    add_holding(ledger, account_with("122.40"))
    known = ledger.accounts.overview("4f1c")
    found = figures.available(known.readings[-1], known.counting)
    assert (found.reserved_usd, found.reserved_runs) == (Decimal("87.50"), 3)
    assert all(each.stands for each in known.counting)


def test_a_check_continues_it(ledger: Ledger) -> None:
    add_history(ledger, account_with("122.40"))
    before = ledger.accounts.overview("4f1c").readings[-1]
    ledger.accounts.store(account_with(120), ledger.note())
    after = ledger.accounts.overview("4f1c").readings[-1]
    assert after.fallen_usd - before.fallen_usd == Decimal("2.40")
