"""What ended long ago is deleted a few rows at a time, by index, and at nobody's expense."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError
from airflow_provider_youcom.ledger import _purge
from airflow_provider_youcom.ledger._purge import ROWS_AT_ONCE
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Note
from airflow_provider_youcom.ledger.rule import EndReason, Outcome
from tests.ledger.spending import account_with, call_decide, claim_of, pass_time, reserve

pytestmark = pytest.mark.on_the_ends

DAY = 24 * 3600
ENDED, DUE = 100_000, 3_300


def end(ledger: Ledger, run: str, account_id: str = "4f1c") -> None:
    decision = ledger.decide(claim_of(run), account_with(1000, account_id), ledger.note())
    assert decision.reservation
    ledger.end([decision.reservation.id], EndReason.RELEASED, by="teardown")


def add_ended(engine: sa.engine.Engine, count: int, first: int = 0) -> None:
    """Copy the one ended row, with its holder, under other ids; each a second younger than the one before."""
    columns = [column["name"] for column in sa.inspect(engine).get_columns("youcom_reservations")]
    changed = {
        "id": "'copy-' || n",
        "holder_key": "'holder-' || n",
        "run_id": "'run-' || n",
        "end_number": "end_number + n",
        "counts_until": "counts_until + n * 1000000",
        "reserved_at": "reserved_at + n * 1000000",
        "ended_at": "ended_at + n * 1000000",
    }
    values = ", ".join(changed.get(name, name) for name in columns)
    numbers = (
        f"WITH RECURSIVE numbers(n) AS (SELECT CAST({first} AS BIGINT) UNION ALL SELECT n + 1 FROM numbers "
        f"WHERE n < {first + count - 1})"
    )
    one = "FROM numbers, (SELECT * FROM youcom_reservations WHERE run_id = 'first') AS one"
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(
            f"INSERT INTO youcom_reservations ({', '.join(columns)}) {numbers} SELECT {values} {one}"
        )
        connection.exec_driver_sql(
            "INSERT INTO youcom_holders (account_id, holder_key, newest_order, newest_try, newest_at) "
            f"{numbers} SELECT account_id, 'holder-' || n, '1', 1, ended_at + n * 1000000 {one}"
        )
        connection.exec_driver_sql("UPDATE youcom_accounts SET counter = counter + 1000000")


def count(engine: sa.engine.Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


@pytest.fixture
def full(ledger: Ledger, engine: sa.engine.Engine) -> Ledger:
    """A ledger with 100,000 ended rows, a second apart, of which the oldest 3,300 are due."""
    end(ledger, "first")
    add_ended(engine, ENDED)
    pass_time(engine, 30 * DAY + DUE)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM FULL ANALYZE youcom_reservations, youcom_holders")
    return ledger


def purge_all(ledger: Ledger) -> int:
    """Purge until nothing is due, however little one purge gets done on a busy machine."""
    total = 0
    while purged := ledger.purge():
        total += purged
    return total


def test_a_few_of_very_many_ended_rows_can_be_purged(full: Ledger, engine: sa.engine.Engine) -> None:
    purged = purge_all(full)
    # Those become due, too, whose second comes while this test runs.
    assert purged >= DUE - 60
    assert count(engine, "youcom_reservations") == ENDED + 1 - purged
    left = {row.holder.run_id for row in full.history(limit=ENDED)}
    assert f"run-{ENDED - 1}" in left
    assert "run-0" not in left


def test_holders_of_purged_rows_go_too_unless_something_stands_for_them(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    end(ledger, "monday")
    reserve(ledger, claim_of("tuesday", reserve_for_seconds=10**7), 1000)
    pass_time(engine, 32 * DAY)
    end(ledger, "wednesday")
    assert ledger.purge() == 1
    with engine.connect() as connection:
        left = connection.exec_driver_sql("SELECT holder_key FROM youcom_holders").scalars()
        assert set(left) == {claim_of(run).attempt.holder.key for run in ("tuesday", "wednesday")}


def test_an_account_is_left_alone_while_another_is_purged(ledger: Ledger, engine: sa.engine.Engine) -> None:
    end(ledger, "b1", "b")
    end(ledger, "a1", "a")
    pass_time(engine, 3600)
    end(ledger, "b2", "b")
    pass_time(engine, 1800)
    end(ledger, "a2", "a")
    end(ledger, "c", "c")
    pass_time(engine, 30 * DAY - 3600 - 1800 + 120)
    # Now the first two are due. What is due later waits until its account is purged again.
    first = ledger.note()
    assert ledger.purge() == 2
    assert [still_good(ledger, first, each) for each in "abc"] == [False, False, True]
    pass_time(engine, 3600 + 1800)
    second = ledger.note()
    assert ledger.purge() == 1
    assert [still_good(ledger, second, each) for each in "abc"] == [True, True, False]
    assert {row.holder.run_id for row in ledger.history() if row.ended_at} == {"a2", "b2"}


def still_good(ledger: Ledger, note: Note, account_id: str) -> bool:
    """Reserve by a note, and return whether it was accepted."""
    decision_id = f"{account_id} at {note.time}"
    balance = account_with(1000, account_id)
    outcome, _ = call_decide(ledger, claim_of(decision_id), balance, note, decision_id)
    return outcome is not Outcome.OUTDATED


def test_nobody_is_disturbed_while_nothing_is_due(ledger: Ledger, engine: sa.engine.Engine) -> None:
    reserve(ledger, claim_of("stands", reserve_for_seconds=10**7), 1000)
    pass_time(engine, 29 * DAY)
    end(ledger, "ended")
    note = ledger.note()
    pass_time(engine, 2 * DAY)
    assert ledger.purge() == 0
    assert call_decide(ledger, claim_of("a"), account_with(100), note, "a")[0] is Outcome.OPEN


def test_a_purge_that_began_later_and_comes_first_is_not_undone(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    end(ledger, "monday")
    database = ledger._ready()
    _purge._tell(database, "4f1c", 2_000_000)
    note = ledger.note()
    _purge._tell(database, "4f1c", 1_000_000)
    assert call_decide(ledger, claim_of("a"), account_with(100), note, "a")[0] is Outcome.OPEN


def test_what_still_counts_is_not_deleted_however_long_ago_it_ended(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    late = reserve(ledger, claim_of("monday"), 100, settle_seconds=10 * 24 * 3600)
    soon = reserve(ledger, claim_of("tuesday"), 100, settle_seconds=0)
    assert late.reservation
    assert soon.reservation
    ledger.end([late.reservation.id, soon.reservation.id], EndReason.RELEASED, by="teardown")
    pass_time(engine, 2 * 24 * 3600)
    assert ledger.purge(keep_seconds=0) == 1
    assert [row.holder.run_id for row in ledger.counting()] == ["monday"]
    assert ledger.note().of("4f1c").reserved_usd == 25


def test_a_note_from_before_the_first_chunk_is_refused_and_one_between_two_chunks_is_not(
    ledger: Ledger, engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(ledger, "first")
    add_ended(engine, 2 * ROWS_AT_ONCE)
    pass_time(engine, 32 * DAY)
    before = ledger.note()
    monkeypatch.setattr(_purge, "_SECONDS", 0)
    assert ledger.purge() == ROWS_AT_ONCE
    assert count(engine, "youcom_holders") == ROWS_AT_ONCE + 1
    between = ledger.note()
    monkeypatch.setattr(_purge, "_SECONDS", 600)
    assert ledger.purge() == ROWS_AT_ONCE + 1
    assert call_decide(ledger, claim_of("a"), account_with(100), before, "a")[0] is Outcome.OUTDATED
    assert call_decide(ledger, claim_of("b"), account_with(100), between, "b")[0] is Outcome.OPEN


def test_an_account_is_disturbed_once_a_day_at_most(ledger: Ledger, engine: sa.engine.Engine) -> None:
    end(ledger, "monday")
    pass_time(engine, 3600)
    end(ledger, "monday, an hour later")
    pass_time(engine, 30 * DAY - 1800)
    assert ledger.purge() == 1
    note = ledger.note()
    pass_time(engine, 3600)
    assert ledger.purge() == 0
    assert call_decide(ledger, claim_of("a"), account_with(100), note, "a")[0] is Outcome.OPEN
    pass_time(engine, DAY)
    assert ledger.purge() == 1
    assert call_decide(ledger, claim_of("b"), account_with(100), note, "b")[0] is Outcome.OUTDATED


@contextmanager
def lock_of(engine: sa.engine.Engine) -> Iterator[None]:
    other = sa.create_engine(engine.url)
    with other.connect() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE youcom_accounts SET version = version + 1")
        yield
    other.dispose()


def test_a_purge_that_cannot_is_logged_and_raises_nothing(
    ledger: Ledger, engine: sa.engine.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    end(ledger, "monday")
    pass_time(engine, 32 * DAY)
    caplog.set_level(logging.INFO, logger="airflow_provider_youcom.ledger._purge")
    hasty = Ledger(engine, answer_within=0.2)
    with lock_of(engine):
        assert hasty.purge() == 0
        assert "Old entries of the ledger are left to the next purge: What is reserved" in caplog.text
        with pytest.raises(YouComLedgerUnavailableError):
            reserve(hasty, claim_of("tuesday"), 1000)
    assert ledger.purge() == 1


def test_deleting_rows_does_not_wait_for_the_account(
    ledger: Ledger, engine: sa.engine.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite locks the whole file")
    end(ledger, "first")
    add_ended(engine, 10)
    pass_time(engine, 32 * DAY)
    database = ledger._ready()
    for row in database.read(lambda connection: connection.execute(_purge._TO_TELL, {"keep": 0}).all()):
        _purge._tell(database, row.account_id, row.before)
    due = {"this_account": "4f1c", "before": row.before, "limit": ROWS_AT_ONCE}
    with lock_of(engine):
        assert database.write(lambda connection: _purge._delete_reservations(connection, due)) == 11


def test_two_purges_at_once_share_the_work(ledger: Ledger, engine: sa.engine.Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite locks the whole file")
    end(ledger, "first")
    add_ended(engine, 10)
    due = {"this_account": "4f1c", "before": 2**62, "limit": ROWS_AT_ONCE}
    hasty = Ledger(engine, answer_within=5)._ready()
    other = sa.create_engine(engine.url)
    with other.connect() as connection, connection.begin():
        assert _purge._delete_reservations(connection, {**due, "limit": 6}) == 6
        assert hasty.write(lambda connection: _purge._delete_reservations(connection, due)) == 5
    other.dispose()


def test_holders_are_not_deleted_while_their_account_reserves(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    end(ledger, "monday")
    due = {"this_account": "4f1c", "before": 2**62, "limit": ROWS_AT_ONCE}
    hasty = Ledger(engine, answer_within=0.2)._ready()
    with lock_of(engine), pytest.raises(YouComLedgerUnavailableError):
        hasty.write(lambda connection: _purge._delete_holders(connection, due))
    assert hasty.write(lambda connection: _purge._delete_holders(connection, due)) == 1


def plan_of(engine: sa.engine.Engine, statement: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(explain + statement, parameters).all()
    return "\n".join(" ".join(str(part) for part in row) for row in rows)


def test_no_statement_reads_all_that_has_ended(full: Ledger, engine: sa.engine.Engine) -> None:
    sent: list[tuple[str, Any]] = []

    def remember(connection: Any, cursor: Any, text: str, parameters: Any, context: Any, many: bool) -> None:
        if text.lstrip().startswith(("SELECT", "UPDATE", "DELETE")) and "set_config" not in text:
            sent.append((text, parameters))

    standing = reserve(full, claim_of("monday"), 1000).reservation
    assert standing
    sa.event.listen(engine, "before_cursor_execute", remember)
    decision = reserve(full, claim_of("tuesday"), 1000)
    assert decision.reservation
    full.end([decision.reservation.id], EndReason.RELEASED, by="teardown")
    full.standing(run_id="monday")
    full.history()
    full.history(deployment="production", run_id="nobody", task_id="gate")
    full.purge()
    full.accounts.store(account_with(1000), full.note())
    full.accounts.store(account_with(900), full.note())
    full.accounts.overview("4f1c")
    sa.event.remove(engine, "before_cursor_execute", remember)
    assert len(sent) > 15
    for text, parameters in sent:
        if "GROUP BY" in text:
            # What each DAG has reserved in a month is the sum of nearly all of it here.
            continue
        plan = plan_of(engine, text, parameters)
        reads_all = (
            "Seq Scan on youcom_reservations" in plan or "Seq Scan on youcom_holders" in plan
            if engine.dialect.name == "postgresql"
            else any(
                line.split(" ", 3)[-1].startswith(("SCAN youcom_reservations", "SCAN youcom_holders"))
                and "USING" not in line
                for line in plan.splitlines()
            )
        )
        assert not reads_all, f"{text}\n{plan}"
