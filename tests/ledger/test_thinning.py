"""Old readings are deleted, a few at a time, and no figure changes by that."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.ledger import _purge, _thinning, figures
from airflow_provider_youcom.ledger._thinning import thin
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.overview import Overview
from tests.ledger.spending import pass_time

pytestmark = pytest.mark.on_the_ends

MINUTE_US = 60 * 1_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
DAY = 24 * 60 * 60


def add_readings(engine: sa.engine.Engine, count: int, minutes: int, account_id: str = "4f1c") -> None:
    """Add a reading every few minutes up to now; each finds a dollar less, and is topped up in between."""
    with engine.connect() as connection, connection.begin():
        now = round(time.time() * 1_000_000)
        rows = [
            {
                "account_id": account_id,
                "number": number,
                "time": now - (count - number) * minutes * MINUTE_US,
                "counter": 0,
                "stored_at": now - (count - number) * minutes * MINUTE_US + 1000,
                "balance_cents": str(100 * (100 - number % 50)),
                "fallen_usd": str(number - number // 50),
                "unreserved_usd": str((number - number // 50) // 2),
                "watched_us": (number - number // 50) * minutes * MINUTE_US,
            }
            for number in range(1, count + 1)
        ]
        table = sa.Table("youcom_readings", sa.MetaData(), autoload_with=engine)
        connection.execute(sa.insert(table), rows)


def known_of(ledger: Ledger, account_id: str = "4f1c", days: int = 100) -> Overview:
    return ledger.accounts.overview(account_id, timedelta(days=days))


def thin_all(ledger: Ledger) -> None:
    thin(ledger._ready(), time.monotonic() + 600)


def test_readings_older_than_two_days_are_thinned_to_the_last_of_each_hour(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    ledger.id  # noqa: B018 - which creates the tables
    add_readings(engine, 4 * 24 * 12, 5)
    add_readings(engine, 10, 5, "another")
    before = known_of(ledger)
    thin_all(ledger)
    after = known_of(ledger)
    limit = before.now - timedelta(days=2)
    wanted = [
        each
        for each, following in zip(before.readings, [*before.readings[1:], None], strict=True)
        if each.read_at > limit or following is None or following.time // HOUR_US != each.time // HOUR_US
    ]
    # Those become due, too, whose time comes while this test runs.
    assert [each for each in after.readings if each.read_at > after.now - timedelta(days=2)] == [
        each for each in wanted if each.read_at > after.now - timedelta(days=2)
    ]
    assert set(after.readings) <= set(wanted)
    assert 24 * 12 * 2 + 47 <= len(after.readings) <= 24 * 12 * 2 + 50
    assert len(known_of(ledger, "another").readings) == 10
    assert figures.fall(after.readings, after.now) == figures.fall(
        [each for each in before.readings if each.time >= after.readings[0].time], after.now
    )


def test_the_last_of_an_hour_is_kept_whatever_was_read_of_another_account(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    ledger.id  # noqa: B018 - which creates the tables
    add_readings(engine, 3, 1)
    add_readings(engine, 4, 1, "another")
    pass_time(engine, 3 * DAY)
    thin_all(ledger)
    assert known_of(ledger).readings[-1].number == 3
    assert known_of(ledger, "another").readings[-1].number == 4


def test_readings_are_deleted_after_ninety_days(ledger: Ledger, engine: sa.engine.Engine) -> None:
    ledger.id  # noqa: B018 - which creates the tables
    add_readings(engine, 95, 24 * 60)
    thin_all(ledger)
    known = known_of(ledger)
    assert len(known.readings) == 90
    assert known.readings[0].read_at > known.now - timedelta(days=90, minutes=10)


def test_an_account_of_which_all_is_deleted_begins_anew(ledger: Ledger, engine: sa.engine.Engine) -> None:
    ledger.id  # noqa: B018 - which creates the tables
    add_readings(engine, 3, 1)
    pass_time(engine, 91 * DAY)
    thin_all(ledger)
    assert ledger.accounts.ids() == []
    add_readings(engine, 1, 1)
    assert [each.number for each in known_of(ledger).readings] == [1]


def test_it_is_thinned_a_few_at_a_time_until_the_time_is_over(
    ledger: Ledger, engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.id  # noqa: B018 - which creates the tables
    add_readings(engine, 50, 1)
    pass_time(engine, 91 * DAY)
    monkeypatch.setattr(_thinning, "ROWS_AT_ONCE", 20)
    thin(ledger._ready(), time.monotonic())
    left = known_of(ledger).readings
    assert [each.number for each in left] == list(range(21, 51))
    thin_all(ledger)
    assert known_of(ledger).readings == []


def test_a_purge_thins_too(ledger: Ledger, engine: sa.engine.Engine) -> None:
    ledger.id  # noqa: B018 - which creates the tables
    add_readings(engine, 60, 1)
    pass_time(engine, 3 * DAY)
    assert ledger.purge() == 0
    assert len(known_of(ledger).readings) <= 2


@contextmanager
def writer(engine: sa.engine.Engine) -> Iterator[None]:
    other = sa.create_engine(engine.url)
    with other.connect() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE youcom_readings SET number = number")
        yield
    other.dispose()


def test_a_purge_that_cannot_thin_is_logged(
    ledger: Ledger, engine: sa.engine.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.id  # noqa: B018 - which creates the tables
    hurried = Ledger(sa.create_engine(engine.url), answer_within=1)
    add_readings(engine, 3, 1)
    pass_time(engine, 91 * DAY)
    caplog.set_level(logging.INFO, logger=_purge.__name__)
    with writer(engine):
        assert hurried.purge() == 0
    hurried.close()
    assert "Old entries of the ledger are left to the next purge" in caplog.text


def test_where_nothing_is_due_nothing_waits_for_a_writer(ledger: Ledger, engine: sa.engine.Engine) -> None:
    ledger.id  # noqa: B018 - which creates the tables
    add_readings(engine, 3, 1)
    begun: list[str] = []

    def remember(connection: Any, cursor: Any, text: str, *others: Any) -> None:
        begun.append(text)

    sa.event.listen(engine, "before_cursor_execute", remember)
    with writer(engine):
        thin_all(ledger)
    sa.event.remove(engine, "before_cursor_execute", remember)
    assert begun
    assert not any(text.startswith(("BEGIN IMMEDIATE", "DELETE")) for text in begun)
    assert Decimal(known_of(ledger).readings[-1].balance_usd) == 97
