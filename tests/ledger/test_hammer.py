"""Many processes on one account, whose charges are posted late."""

from __future__ import annotations

import pytest

from benchmarks.ledger.hammer import hammer

pytestmark = pytest.mark.ledger


def test_no_payment_is_refused_to_processes_that_reserve(url: str) -> None:
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg2")
    found = hammer(url, rounds=3, settle_seconds=0.05, processes=4)
    assert found.errors == []
    assert found.refused == 0
    assert len(found.tries) >= 12
