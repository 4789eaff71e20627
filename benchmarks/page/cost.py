"""What one page costs the server, with few rows and with many."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_youcom._page.guard import Sight, what_may_be_seen
from airflow_provider_youcom._page.html import Shown, render_credits
from airflow_provider_youcom._page.snapshot import read_snapshot
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from dev.ledger_history import add_history

ACCOUNT = "account-of-this-benchmark"
DEPLOYMENT = "deployment-of-this-benchmark"
DAG = "nightly_research"
_MONTH_US = 30 * 24 * 60 * 60 * 1_000_000


@dataclass(frozen=True)
class Cost:
    """
    What one page costs.

    :param rows: how many gates wait, and how many runs hold credits.
    :param cpu_ms: CPU time of this process for reading the ledger and making the page, in milliseconds.
    :param gzipped_bytes: the size of the page as it is sent.
    """

    rows: int
    cpu_ms: float
    gzipped_bytes: int


def measure_cost(folder: Path, rows: int, pages: int) -> Cost:
    """
    Return what one page costs.

    :param folder: for the ledger.
    :param rows: how many gates wait, and how many runs hold credits.
    :param pages: how many pages to make; the cheapest counts.
    """
    ledger = Ledger(sa.create_engine(f"sqlite:///{folder / f'{rows}.db'}"))
    fill(ledger, rows)
    dag_ids = frozenset({DAG, "competitor_watch", "weekly_digest"})
    sight = Sight(DEPLOYMENT, dag_ids, dag_ids)

    def make_page() -> str:
        snapshot = read_snapshot(ledger)
        shown = [Shown(what_may_be_seen(each, sight), snapshot.now) for each in snapshot.accounts]
        return render_credits(shown, (), {})

    page = make_page()
    cost = Cost(rows, min(_cpu_ms(make_page) for _ in range(pages)), len(gzip.compress(page.encode())))
    ledger.close()
    return cost


def fill(ledger: Ledger, rows: int) -> None:
    """
    Fill a ledger with 90 days of readings, with gates that wait and with runs that hold credits.

    :param ledger: an empty ledger.
    :param rows: how many gates, and how many runs.
    """
    balance = AccountBalance(ACCOUNT, Decimal(10_000_000), datetime.now(UTC))
    add_history(ledger, balance, DEPLOYMENT)
    for months in (1, 2):
        ledger._ready().write(lambda connection, months=months: _repeat(connection, months))
    for number in range(rows):
        ledger.decide(_claim(f"manual__holds_{number}"), balance, ledger.note())
    ledger.line.keep([_claim(f"manual__waits_{number}") for number in range(rows)], ACCOUNT, 3600)


def _claim(run_id: str) -> Claim:
    holder = Holder(DEPLOYMENT, DAG, run_id, "enough_credit")
    return Claim(Attempt(holder, holder.key, order="1", try_number=1), Decimal(5))


def _repeat(connection: sa.engine.Connection, months: int) -> None:
    """Repeat the readings of the month at an earlier time."""
    connection.execute(
        sa.text(
            "INSERT INTO youcom_readings SELECT account_id, number - :numbers, time - :time, counter, "
            "stored_at - :time, balance_cents, fallen_usd, unreserved_usd, watched_us "
            "FROM youcom_readings WHERE number > 0"
        ),
        {"numbers": 1_000_000 * months, "time": _MONTH_US * months},
    )


def _cpu_ms(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)
