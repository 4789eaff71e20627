"""What a ledger keeps of each account over time, on each database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger import _thinning, accounts, figures, reading
from airflow_provider_youcom.ledger._database import Database
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.overview import Overview, ReservedByDag
from airflow_provider_youcom.ledger.reading import StoredReading
from airflow_provider_youcom.ledger.rule import KEEP_ENDED_SECONDS, EndReason
from tests.ledger.spending import NOON, account_with, claim_of, pass_time, reserve

pytestmark = pytest.mark.on_the_ends

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@contextmanager
def another_process(engine: sa.engine.Engine, **options: Any) -> Iterator[Ledger]:
    """The ledger as another process opens it."""
    other = sa.create_engine(engine.url)
    yield Ledger(other, **options)
    other.dispose()


@pytest.fixture
def ledger(engine: sa.engine.Engine) -> Iterator[Ledger]:
    with another_process(engine) as ledger:
        yield ledger


def look(engine: sa.engine.Engine, usd: object, account_id: str = "4f1c") -> None:
    """Check once, as a process that has not checked before; then two minutes pass."""
    with another_process(engine) as ledger:
        ledger.accounts.store(account_with(usd, account_id), ledger.note())
    pass_time(engine, 2 * MINUTE)


def overview(engine: sa.engine.Engine, account_id: str = "4f1c", days: int = 30) -> Overview:
    with another_process(engine) as ledger:
        return ledger.accounts.overview(account_id, timedelta(days=days))


def last(engine: sa.engine.Engine) -> StoredReading:
    return overview(engine).readings[-1]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the first words of what is sent, without what begins each transaction."""
    sent: list[str] = []

    def remember(connection: Any, cursor: Any, text: str, *others: Any) -> None:
        word = text.split()[0]
        if word not in {"BEGIN", "PRAGMA"} and "set_config" not in text:
            sent.append(word)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", remember)
    yield sent
    sa.event.remove(sa.engine.Engine, "before_cursor_execute", remember)


def test_a_ledger_knows_nothing_of_an_account_that_nobody_has_checked(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    assert ledger.accounts.ids() == []
    known = overview(engine)
    assert (known.readings, known.counting, known.reserved_by_dag) == ([], [], [])


def test_each_account_has_its_own_readings(ledger: Ledger, engine: sa.engine.Engine) -> None:
    look(engine, 100)
    look(engine, 7, "another")
    look(engine, 90)
    assert ledger.accounts.ids() == ["4f1c", "another"]
    assert [each.balance_usd for each in overview(engine).readings] == [100, 90]
    assert [each.balance_usd for each in overview(engine, "another").readings] == [7]
    assert (last(engine).fallen_usd, overview(engine, "another").readings[0].fallen_usd) == (10, 0)


def test_a_top_up_does_not_hide_what_fell(engine: sa.engine.Engine) -> None:
    for usd in (100, 90, 140, 125):
        look(engine, usd)
    assert (last(engine).fallen_usd, last(engine).number) == (25, 4)


def test_the_time_in_which_a_fall_was_watched_adds_up(engine: sa.engine.Engine) -> None:
    for usd in (100, 90, 80):
        look(engine, usd)
    watched = [each.watched_us // 1_000_000 for each in overview(engine).readings]
    assert watched[0] == 0
    assert 2 * MINUTE <= watched[1] < watched[2] < HOUR
    assert watched[2] >= 4 * MINUTE


@pytest.mark.parametrize("cents", ["1e300", "-1e-300", "123456789012345678901234567890.000000000000001"])
def test_a_balance_is_kept_exactly(ledger: Ledger, engine: sa.engine.Engine, cents: str) -> None:
    ledger.accounts.store(AccountBalance("4f1c", Decimal(cents), NOON), ledger.note())
    assert last(engine).balance_cents == Decimal(cents)


def test_storing_takes_two_statements_and_a_check_without_news_takes_none(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    note = ledger.note()
    with statements() as sent:
        ledger.accounts.store(account_with(100), note)
    assert sent == ["SELECT", "INSERT"]
    note = ledger.note()
    with statements() as sent:
        ledger.accounts.store(account_with("100.00"), note)
    assert sent == []
    with another_process(engine) as other, statements() as sent:
        other.id  # noqa: B018 - which also asks whether there are tables
        sent.clear()
        other.accounts.store(account_with(100), note)
    assert sent == ["SELECT"]
    assert len(overview(engine).readings) == 1


def test_what_another_process_has_stored_is_not_stored_again(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    ledger.accounts.store(account_with(100), ledger.note())
    pass_time(engine, 2 * MINUTE)
    look(engine, 90)
    note = ledger.note()
    with statements() as sent:
        ledger.accounts.store(account_with(90), note)
        ledger.accounts.store(account_with(90), note)
    assert sent == ["SELECT"]


def test_a_balance_that_does_not_change_is_stored_again_after_five_minutes(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for _ in range(6):
        look(engine, 100)
    # Two minutes lie between the looks, so that the fourth is the first after five.
    assert [each.number for each in overview(engine).readings] == [1, 2]
    ledger.accounts.store(account_with(100), ledger.note())
    note = ledger.note()
    in_five_minutes = replace(note, time=note.time + 5 * MINUTE * 1_000_000)
    with statements() as sent:
        ledger.accounts.store(account_with(100), note)
        ledger.accounts.store(account_with(100), in_five_minutes)
    assert sent == ["SELECT", "INSERT"]


def test_of_the_readings_in_a_minute_the_last_is_kept_and_nothing_is_lost(
    engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(engine, 100)
    monkeypatch.setattr(reading, "MERGE_SECONDS", 10 * 365 * DAY)
    for usd in (90, 95, 60):
        look(engine, usd)
    assert [(each.balance_usd, each.fallen_usd) for each in overview(engine).readings] == [(60, 45)]


def test_what_has_taken_the_place_of_a_reading_is_known_and_not_stored_again(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for usd in (100, 99):
        ledger.accounts.store(account_with(usd), ledger.note())
    assert [each.balance_usd for each in overview(engine).readings] == [99]
    note = ledger.note()
    with statements() as sent:
        ledger.accounts.store(account_with(99), note)
    assert sent == []


def test_an_answer_that_may_be_older_than_what_is_stored_is_refused(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    old = ledger.note()
    with another_process(engine) as quick:
        quick.accounts.store(account_with(80), quick.note())
    ledger.accounts.store(account_with(100), old)
    assert last(engine).balance_usd == 80
    pass_time(engine, 2 * MINUTE)
    # The second was asked for before the first answer was stored, so that one may be the newer one.
    first, second = ledger.note(), ledger.note()
    while second.time == first.time:
        second = ledger.note()
    with another_process(engine) as one, another_process(engine) as other:
        one.accounts.store(account_with(70), first)
        other.accounts.store(account_with(75), second)
    assert (last(engine).balance_usd, last(engine).fallen_usd) == (70, 10)


def test_readings_go_on_after_the_clock_of_the_ledger_went_back(engine: sa.engine.Engine) -> None:
    look(engine, 100)
    pass_time(engine, -300 * DAY)
    look(engine, 90)
    look(engine, 85)
    known = overview(engine)
    assert [each.balance_usd for each in known.readings] == [90, 85]
    # Nobody knows what was reserved while the clock was wrong.
    assert known.readings[0].unreserved_usd == 0
    assert known.readings[0].watched_us == 0
    assert (known.readings[-1].fallen_usd, known.readings[-1].unreserved_usd) == (15, 5)


@pytest.mark.parametrize("merges", [False, True], ids=["rows of their own", "one row"])
def test_of_two_processes_that_store_at_once_one_stores(
    ledger: Ledger, engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch, merges: bool
) -> None:
    look(engine, 100)
    if merges:
        monkeypatch.setattr(reading, "MERGE_SECONDS", 10 * 365 * DAY)
    note = ledger.note()
    really_write = Database.write

    def write_after_the_other(database: Database, work: Callable[..., Any]) -> Any:
        monkeypatch.setattr(Database, "write", really_write)
        with another_process(engine) as other:
            other.accounts.store(account_with(80), note)
        return really_write(database, work)

    monkeypatch.setattr(Database, "write", write_after_the_other)
    ledger.accounts.store(account_with(90), note)
    assert (last(engine).balance_usd, last(engine).fallen_usd) == (80, 20)
    # Who was refused does not take its reading for stored.
    pass_time(engine, 2 * MINUTE)
    ledger.accounts.store(account_with(90), ledger.note())
    assert (last(engine).balance_usd, last(engine).fallen_usd) == (90, 20)


def test_a_reading_does_not_take_the_place_of_one_that_is_not_the_last_any_more(
    ledger: Ledger, engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(engine, 100)
    note = ledger.note()
    really_write = Database.write

    def write_after_the_other(database: Database, work: Callable[..., Any]) -> Any:
        monkeypatch.setattr(Database, "write", really_write)
        monkeypatch.setattr(reading, "MERGE_SECONDS", 1)
        with another_process(engine) as other:
            other.accounts.store(account_with(80), note)
        return really_write(database, work)

    monkeypatch.setattr(reading, "MERGE_SECONDS", 10 * 365 * DAY)
    monkeypatch.setattr(Database, "write", write_after_the_other)
    ledger.accounts.store(account_with(90), note)
    assert [each.balance_usd for each in overview(engine).readings] == [100, 80]


@pytest.mark.parametrize("merge_seconds", [1, 10 * 365 * DAY], ids=["rows of their own", "one row"])
def test_many_who_check_at_once_never_see_a_balance_rise_that_only_falls(
    engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch, merge_seconds: int
) -> None:
    monkeypatch.setattr(reading, "MERGE_SECONDS", merge_seconds)
    look(engine, 1000)
    left = iter(range(999, 0, -1))
    at_you_com = threading.Lock()

    def check_often() -> None:
        with another_process(engine) as ledger:
            for _ in range(25):
                note = ledger.note()
                with at_you_com:
                    usd = next(left)
                ledger.accounts.store(account_with(usd), note)

    checks = [threading.Thread(target=check_often) for _ in range(4)]
    for each in checks:
        each.start()
    for each in checks:
        each.join()
    known = last(engine)
    assert known.balance_usd < 990
    assert known.fallen_usd == 1000 - known.balance_usd


def test_what_fell_while_nothing_was_reserved_is_told_apart(ledger: Ledger, engine: sa.engine.Engine) -> None:
    look(engine, 100)
    look(engine, 97)
    assert last(engine).unreserved_usd == 3
    held = reserve(ledger, claim_of("monday"), 97).reservation
    assert held
    look(engine, 80)
    ledger.end([held.id], EndReason.RELEASED, by="teardown")
    look(engine, 75)
    # The settle time was not over at the last reading, and is at the next one.
    look(engine, 74)
    assert last(engine).unreserved_usd == 3
    look(engine, 70)
    assert (last(engine).unreserved_usd, last(engine).fallen_usd) == (7, 30)


def test_a_reservation_between_two_checks_counts_although_it_is_over_at_both(
    ledger: Ledger,
    engine: sa.engine.Engine,
) -> None:
    look(engine, 100)
    held = reserve(ledger, claim_of("monday"), 100, settle_seconds=0).reservation
    assert held
    ledger.end([held.id], EndReason.RELEASED, by="teardown")
    pass_time(engine, HOUR)
    assert ledger.counting() == []
    look(engine, 60)
    assert (last(engine).fallen_usd, last(engine).unreserved_usd) == (40, 0)


def test_the_reservations_of_another_account_are_no_excuse(ledger: Ledger, engine: sa.engine.Engine) -> None:
    look(engine, 100)
    ledger.decide(claim_of("monday"), account_with(100, "another"), ledger.note())
    look(engine, 60)
    assert last(engine).unreserved_usd == 40


def test_what_was_purged_may_have_been_reserved(ledger: Ledger, engine: sa.engine.Engine) -> None:
    look(engine, 100)
    held = reserve(ledger, claim_of("monday"), 100).reservation
    assert held
    ledger.end([held.id], EndReason.RELEASED, by="teardown")
    pass_time(engine, KEEP_ENDED_SECONDS + 2 * DAY)
    assert ledger.purge() == 1
    look(engine, 60)
    assert (last(engine).fallen_usd, last(engine).unreserved_usd) == (40, 0)
    look(engine, 50)
    assert last(engine).unreserved_usd == 10


@contextmanager
def held_up(engine: sa.engine.Engine) -> Iterator[None]:
    other = sa.create_engine(engine.url)
    with other.connect() as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("LOCK TABLE youcom_readings IN ACCESS EXCLUSIVE MODE")
        else:
            connection.exec_driver_sql("UPDATE youcom_readings SET number = number")
        yield
    other.dispose()


def test_a_reading_that_cannot_be_stored_is_logged_and_stored_by_the_next_check(
    engine: sa.engine.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    look(engine, 100)
    caplog.set_level(logging.INFO, logger=accounts.__name__)
    with another_process(engine, answer_within=2) as hurried:
        note = hurried.note()
        with held_up(engine):
            hurried.accounts.store(account_with(90), note)
        assert "The ledger's history of balances is not complete: What is reserved is unknown" in caplog.text
        assert last(engine).balance_usd == 100
        hurried.accounts.store(account_with(90), hurried.note())
    assert last(engine).balance_usd == 90


def test_no_error_of_storing_is_that_of_the_check(
    ledger: Ledger,
    engine: sa.engine.Engine,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note = ledger.note()
    monkeypatch.setattr(Database, "read", lambda *_: {}["unforeseen"])
    ledger.accounts.store(account_with(90), note)
    assert "KeyError" in caplog.text


def test_what_reserves_stores_what_it_reads(ledger: Ledger, engine: sa.engine.Engine) -> None:
    decision = ledger.reserve(claim_of("monday"), lambda: account_with(100))
    assert decision.reservation
    assert last(engine).balance_usd == 100
    pass_time(engine, 2 * MINUTE)
    assert ledger.reserve(claim_of("tuesday"), lambda: account_with(30)).reservation is None
    assert (last(engine).balance_usd, last(engine).fallen_usd, last(engine).unreserved_usd) == (30, 70, 0)


def test_what_is_available_is_what_the_rule_subtracts_from_the_last_reading(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    standing, ended = (reserve(ledger, claim_of(run), 100).reservation for run in ("monday", "tuesday"))
    assert standing
    assert ended
    look(engine, 100)
    pass_time(engine, HOUR)
    ledger.end([ended.id], EndReason.RELEASED, by="teardown")
    pass_time(engine, HOUR)
    # Nobody has read since, so the reading lacks what the ended one has spent.
    assert [each.id for each in ledger.counting()] == [standing.id]
    known = overview(engine)
    assert [each.id for each in known.counting] == [standing.id, ended.id]
    assert figures.available(known.readings[-1], known.counting).available_usd == 50
    look(engine, 80)
    known = overview(engine)
    assert figures.available(known.readings[-1], known.counting).available_usd == 55


def test_without_a_reading_there_are_reservations_all_the_same(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    held = reserve(ledger, claim_of("monday"), 100).reservation
    assert held
    assert [each.id for each in overview(engine).counting] == [held.id]


def test_an_overview_goes_back_thirty_days(ledger: Ledger, engine: sa.engine.Engine) -> None:
    look(engine, 100)
    pass_time(engine, DAY)
    look(engine, 90)
    pass_time(engine, 29.5 * DAY)
    look(engine, 80)
    assert [each.balance_usd for each in ledger.accounts.overview("4f1c").readings] == [90, 80]


def test_the_last_reading_is_known_however_old_it_is(engine: sa.engine.Engine) -> None:
    look(engine, 100)
    look(engine, 90)
    pass_time(engine, 40 * DAY)
    assert [each.balance_usd for each in overview(engine).readings] == [90]
    assert len(overview(engine, days=41).readings) == 2


def test_what_each_dag_has_reserved_is_added_up_for_a_week_and_for_a_month(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    old = reserve(ledger, claim_of("a month ago", 1), 1000).reservation
    assert old
    pass_time(engine, 25 * DAY)
    before = reserve(ledger, claim_of("monday", "2.50"), 1000).reservation
    assert before
    ledger.end([old.id, before.id], EndReason.RELEASED, by="teardown")
    pass_time(engine, 6 * DAY)
    reserve(ledger, claim_of("tuesday", 40), 1000)
    reserve(ledger, claim_of("tuesday", 7, deployment="staging"), 1000)
    ledger.decide(claim_of("wednesday", 500), account_with(1000, "another"), ledger.note())
    assert overview(engine).reserved_by_dag == [
        ReservedByDag("production", "research", Decimal("42.50"), Decimal("42.50")),
        ReservedByDag("staging", "research", Decimal(7), Decimal(7)),
    ]
    pass_time(engine, 2 * DAY)
    assert overview(engine).reserved_by_dag == [
        ReservedByDag("production", "research", Decimal(40), Decimal("42.50")),
        ReservedByDag("staging", "research", Decimal(7), Decimal(7)),
    ]


def test_who_stores_many_readings_thins_them(
    engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_READINGS_BETWEEN_THINNING", 4)
    monkeypatch.setattr(accounts, "_THIN_SECONDS", 600)
    monkeypatch.setattr(_thinning, "ROWS_AT_ONCE", 1)
    for usd in (100, 99, 98):
        look(engine, usd)
    pass_time(engine, 91 * DAY)
    look(engine, 97)
    known = overview(engine, days=100)
    assert [(each.number, each.fallen_usd) for each in known.readings] == [(4, 3)]
