"""The tables are created at first use. The error for an unusable ledger says in one sentence what to do."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import closing
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.exceptions import (
    YouComLedgerRefusedError,
    YouComLedgerUnavailableError,
    YouComRefusedError,
    YouComUnavailableError,
)
from airflow_provider_youcom.ledger._schema import VERSION
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from tests.ledger.conftest import new_postgres_database
from tests.ledger.spending import claim_of, reserve

if TYPE_CHECKING:
    from dev.private_postgres import PrivatePostgres

pytestmark = pytest.mark.on_the_ends

PROCESSES = 8


def _use_first(url: str, everyone: Barrier, number: int) -> bool:
    ledger = Ledger(sa.create_engine(url), answer_within=60)
    everyone.wait(60)
    return reserve(ledger, claim_of(f"run {number}"), 25 * PROCESSES).reservation is not None


def test_many_processes_can_create_the_tables_at_once(url: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        everyone = manager.Barrier(PROCESSES)
        reserved = pool.starmap(
            _use_first, [(url, everyone, number) for number in range(PROCESSES)], chunksize=1
        )
    assert all(reserved)
    with closing(sa.create_engine(url).connect()) as connection:
        assert connection.execute(sa.text("SELECT schema_version FROM youcom_ledger")).scalars().all() == [
            VERSION
        ]


def test_to_ask_whether_a_ledger_exists_creates_nothing(engine: sa.engine.Engine) -> None:
    assert not Ledger(engine).exists
    assert sa.inspect(engine).get_table_names() == []
    Ledger(engine).note()
    assert Ledger(engine).exists


def test_sqlite_uses_a_write_ahead_log(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    Ledger(engine).note()
    with closing(engine.connect()) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (
            VERSION - 1,
            "older version 0, where this provider needs 1: name another database, or empty this one",
        ),
        (VERSION + 1, "newer version 2, where this provider knows 1: upgrade airflow-provider-youcom"),
    ],
)
def test_tables_of_another_version_are_refused(engine: sa.engine.Engine, version: int, sentence: str) -> None:
    Ledger(engine).note()
    with engine.connect() as connection, connection.begin():
        connection.execute(sa.text(f"UPDATE youcom_ledger SET schema_version = {version}"))
    with pytest.raises(YouComLedgerRefusedError, match=sentence):
        Ledger(engine).note()


def test_any_other_database_is_refused_by_name() -> None:
    engine = sa.create_mock_engine("mysql://", executor=lambda *_: None)
    with pytest.raises(
        YouComLedgerRefusedError, match=r"'credits' is a mysql database; reservations need SQLite"
    ):
        Ledger(engine, name="credits")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(
        YouComLedgerRefusedError, match="is in memory, where no other process sees it; name a file"
    ):
        Ledger(sa.create_engine(url))


@pytest.fixture
def reader_url(postgres: PrivatePostgres) -> str:
    """The URL of a database in which the user may not create tables."""
    url = new_postgres_database(postgres)
    cursor = postgres.connect("postgres").cursor()
    cursor.execute("DROP ROLE IF EXISTS reader")
    cursor.execute("CREATE ROLE reader LOGIN")
    return url.replace("airflow@", "reader@")


def test_a_missing_right_to_create_tables_is_named(reader_url: str) -> None:
    with pytest.raises(
        YouComLedgerRefusedError, match="check its connection and its rights: permission denied"
    ):
        Ledger(sa.create_engine(reader_url)).note()


def test_the_right_to_create_tables_is_not_needed_once_they_are_there(reader_url: str) -> None:
    owner = sa.create_engine(reader_url.replace("reader@", "airflow@"))
    Ledger(owner).note()
    with owner.connect() as connection, connection.begin():
        connection.execute(
            sa.text("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reader")
        )
    ledger = Ledger(sa.create_engine(reader_url))
    decision = reserve(ledger, claim_of("monday"), 40)
    assert ledger.end([decision.reservation.id], EndReason.RELEASED, by="reader")[0].ended_by == "reader"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("airflow@", "nobody_of_that_name@"), 'role "nobody_of_that_name" does not exist'),
        (("/ledger_", "/no_ledger_"), 'database "no_ledger_.*" does not exist'),
    ],
)
def test_a_login_that_fails_is_refused(postgres: PrivatePostgres, change: tuple[str, str], said: str) -> None:
    url = new_postgres_database(postgres).replace(*change)
    with pytest.raises(YouComRefusedError, match=said):
        Ledger(sa.create_engine(url)).note()


def test_a_missing_server_is_unavailable() -> None:
    pytest.importorskip("psycopg2")
    # Nothing listens on port 1.
    ledger = Ledger(sa.create_engine("postgresql+psycopg2://u:secret@127.0.0.1:1/ledger"), name="credits")
    with pytest.raises(
        YouComUnavailableError, match="the ledger 'credits' could not be reached: connection to server at"
    ) as caught:
        ledger.note()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["no such folder/ledger.db", "a folder"])
def test_a_sqlite_file_that_cannot_be_opened_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "a folder").mkdir()
    with pytest.raises(YouComLedgerRefusedError, match="unable to open database file"):
        Ledger(sa.create_engine(f"sqlite:///{tmp_path / path}")).note()


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("Dear ledger, " * 1000)
    with pytest.raises(YouComLedgerRefusedError, match="file is not a database"):
        Ledger(sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")).note()


def test_a_locked_ledger_is_unavailable(ledger: Ledger, engine: sa.engine.Engine) -> None:
    reserve(ledger, claim_of("monday"), 40)
    is_locked, is_done = threading.Event(), threading.Event()

    def hold() -> None:
        other = sa.create_engine(engine.url)
        with other.connect() as connection, connection.begin():
            connection.exec_driver_sql("UPDATE youcom_accounts SET version = version + 1")
            is_locked.set()
            is_done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert is_locked.wait(60)
        note = ledger.note()
        with pytest.raises(YouComLedgerUnavailableError, match="did not answer within 0.2 s"):
            reserve(Ledger(engine, answer_within=0.2), claim_of("tuesday"), 400, note)
    finally:
        is_done.set()
        holder.join()
    assert reserve(ledger, claim_of("tuesday"), 400, note).reservation is not None


def test_connections_that_a_restart_cut_are_opened_again(postgres: PrivatePostgres) -> None:
    ledger = Ledger(sa.create_engine(new_postgres_database(postgres)))
    reserve(ledger, claim_of("monday"), 40)
    with closing(postgres.connect()) as connection:
        connection.cursor().execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'ledger_%'"
        )
    assert reserve(ledger, claim_of("tuesday"), 40).reservation is None
