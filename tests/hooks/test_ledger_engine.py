"""The ledger is connected to as the hook of its connection does, and what could mislead is refused."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_youcom._off_the_loop import ask_airflow, run_off_the_loop
from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComLedgerRefusedError,
    YouComLedgerUnavailableError,
    YouComRefusedError,
)
from airflow_provider_youcom.hooks import _ledger
from airflow_provider_youcom.ledger.ledger import Ledger

if TYPE_CHECKING:
    from dev.private_postgres import PrivatePostgres

PASSWORD = "canary-password"
TOKENS = "canary-token"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    """A private PostgreSQL, if this machine has one."""
    pytest.importorskip("airflow.providers.postgres", reason="needs Airflow's postgres provider")
    from dev.private_postgres import PrivatePostgres, installed_binaries

    if installed_binaries() is None:
        pytest.skip("there is no PostgreSQL server on this machine")
    with PrivatePostgres() as server:
        cursor = server.connect().cursor()
        cursor.execute(f"CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{TOKENS}-1'")
        hba = server._data / "pg_hba.conf"
        hba.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
        cursor.execute("SELECT pg_reload_conf()")
        yield server


class Ledgers:
    """Open the ledger of a connection that is written as an environment variable."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def write(self, **fields: Any) -> None:
        self._monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(fields))

    def open(self, **fields: Any) -> Ledger:
        self.write(**fields)
        return _ledger.open_ledger("ledger", "connection 'youcom_default'")


@pytest.fixture
def ledgers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledgers]:
    """Open ledgers, each anew."""
    _ledger.forget_ledgers()
    yield Ledgers(monkeypatch)
    _ledger.forget_ledgers()


def _login(postgres: PrivatePostgres, **fields: Any) -> dict[str, Any]:
    server = {"host": "127.0.0.1", "port": postgres.port, "login": "airflow", "schema": "airflow"}
    return {"conn_type": "postgres", **server, "password": PASSWORD, **fields}


def _ask(ledger: Ledger, question: str) -> Any:
    return ledger._ready().read(lambda connection: connection.exec_driver_sql(question).scalar())


@pytest.mark.parametrize(
    ("extra", "question", "answer"),
    [
        ({"application_name": "the ledger"}, "SHOW application_name", "the ledger"),
        ({"options": "-c search_path=pg_temp,public"}, "SHOW search_path", "pg_temp,public"),
        ({"cursor": "dictcursor"}, "SELECT 1", 1),
        ({"sslmode": "disable", "keepalives": 0, "connect_timeout": "0"}, "SELECT 1", 1),
        ({"sqlalchemy_scheme": "postgresql+psycopg2"}, "SELECT 1", 1),
    ],
)
def test_what_the_extra_says_holds(
    ledgers: Ledgers, postgres: PrivatePostgres, extra: dict[str, Any], question: str, answer: object
) -> None:
    assert _ask(ledgers.open(**_login(postgres, extra=extra)), question) == answer


@pytest.mark.parametrize(
    ("extra", "seconds"), [({}, "5"), ({"connect_timeout": 0}, "5"), ({"connect_timeout": "7"}, "7")]
)
def test_connecting_is_always_bounded(
    ledgers: Ledgers, postgres: PrivatePostgres, extra: dict[str, Any], seconds: str
) -> None:
    def parameters(connection: Any) -> dict[str, str]:
        driver = connection.connection.dbapi_connection
        named = driver.info.get_parameters() if hasattr(driver.info, "get_parameters") else None
        return named or driver.get_dsn_parameters()

    ledger = ledgers.open(**_login(postgres, extra=extra))
    assert str(ledger._ready().read(parameters)["connect_timeout"]) == seconds


def test_transactions_are_transactions_whatever_the_extra_says(
    ledgers: Ledgers, postgres: PrivatePostgres
) -> None:
    ledger = ledgers.open(**_login(postgres))
    driver = ledger._database._engine.dialect.driver
    if driver == "psycopg":
        ledger = ledgers.open(**_login(postgres, extra={"autocommit": True, "prepare_threshold": 0}))
    settings = ledger._ready().read(
        lambda connection: (
            connection.connection.dbapi_connection.autocommit,
            getattr(connection.connection.dbapi_connection, "prepare_threshold", None),
            connection.exec_driver_sql("SHOW transaction_isolation").scalar(),
        )
    )
    assert settings == (False, None, "read committed")


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"sslmode": "verify-full"}, "server does not support SSL, but SSL was required"),
        ({"nonsense": "1"}, 'invalid connection option "nonsense"'),
        ({"options": ["-c", "x=1"]}, "has the extra 'options', which is a list in JSON: write it as text"),
        ({"sslmode": {"mode": "a"}}, "has the extra 'sslmode', which is an object in JSON"),
        (
            {"sqlalchemy_query": {"sslmode": "require"}},
            "'sqlalchemy_query', which it cannot use: put",
        ),
        ({"sqlalchemy_scheme": "postgresql+asyncpg"}, "'asyncpg' .*: the ledger needs psycopg2 or psycopg"),
        ({"redshift": True, "iam": True}, "has the extra 'redshift', which it cannot use"),
        ({"row_factory": "tuple"}, "has the extra 'row_factory', which it cannot use: remove it"),
        ({"options": "-c nonsense=1"}, "unrecognized configuration parameter"),
    ],
)
def test_an_extra_that_cannot_hold_is_refused(
    ledgers: Ledgers, postgres: PrivatePostgres, extra: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(YouComLedgerRefusedError, match=sentence) as caught:
        ledgers.open(**_login(postgres, extra=extra)).note()
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("extra", ["nonsense", "[1]"])
def test_an_extra_that_is_not_an_object_is_refused(
    ledgers: Ledgers, postgres: PrivatePostgres, extra: str
) -> None:
    # Airflow 3.0 refuses it by itself, in other words.
    with pytest.raises((YouComLedgerRefusedError, YouComConnectionNotFoundError)):
        ledgers.open(**_login(postgres, extra=extra))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"host": "ledger.db"},
            "is a relative path, which each process resolves from a folder of its own",
        ),
        ({"host": "~/ledger.db"}, "is a relative path"),
        ({"host": "/tmp/ledger.db", "login": "me", "password": PASSWORD}, "is a relative path"),
        (
            {"host": ":memory:"},
            "is in memory, where no other process sees it; name a file by its",
        ),
        ({}, "is in memory"),
        ({"host": "file:ledger?mode=memory&cache=shared"}, "is in memory"),
        ({"host": "/tmp/ledger.db", "extra": {"mode": "memory"}}, "is in memory"),
        ({"schema": "file::memory:", "extra": {"cache": "shared"}}, "has options .cache."),
        ({"schema": ":memory:"}, "is not the path of a file, but an instruction to SQLite"),
        ({"host": "file:/tmp/ledger.db"}, "is not the path of a file"),
        ({"host": "/tmp/ledger.db", "extra": {"nolock": "1"}}, "has options .nolock. with which SQLite may"),
        ({"host": "/tmp/ledger.db", "extra": {"vfs": "memdb"}}, "has options .vfs."),
    ],
)
def test_a_sqlite_that_two_processes_would_not_share_is_refused(
    ledgers: Ledgers, fields: dict[str, Any], sentence: str
) -> None:
    pytest.importorskip("airflow.providers.sqlite", reason="the ledger needs Airflow's sqlite provider")
    with pytest.raises(YouComLedgerRefusedError, match=sentence) as caught:
        ledgers.open(conn_type="sqlite", **fields)
    assert PASSWORD not in str(caught.value)


def test_a_driver_in_the_type_of_the_connection_is_refused(ledgers: Ledgers) -> None:
    with pytest.raises(YouComRefusedError, match="use one of type sqlite, for one machine, or postgres"):
        ledgers.open(conn_type="postgresql+asyncpg", host="127.0.0.1")


def test_a_ledger_is_opened_anew_only_when_its_connection_changes(ledgers: Ledgers, tmp_path: Path) -> None:
    pytest.importorskip("airflow.providers.sqlite", reason="the ledger needs Airflow's sqlite provider")
    first = ledgers.open(conn_type="sqlite", host=str(tmp_path / "first.db"))
    assert ledgers.open(conn_type="sqlite", host=str(tmp_path / "first.db")) is first
    second = ledgers.open(conn_type="sqlite", host=str(tmp_path / "second.db"))
    assert second is not first
    assert second.id != first.id


class Tokens:
    """Stands in for a cloud that gives a token to the hook; the server accepts the newest one only."""

    def __init__(self, postgres: PrivatePostgres) -> None:
        self._postgres = postgres
        self.given = 0
        self.threads: list[str] = []

    def give(self, hook: Any, connection: Any) -> tuple[str, str, int]:
        self.given += 1
        self.threads.append(threading.current_thread().name)
        token = f"{TOKENS}-{self.given}"
        self._postgres.connect().cursor().execute(f"ALTER ROLE guarded PASSWORD '{token}'")
        return connection.login, token, connection.port


@pytest.fixture
def tokens(postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch) -> Tokens:
    """The hook's tokens."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    tokens = Tokens(postgres)
    monkeypatch.setattr(PostgresHook, "get_iam_token", lambda hook, conn: tokens.give(hook, conn))
    return tokens


def _cut_all(postgres: PrivatePostgres) -> None:
    postgres.connect().cursor().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guarded'"
    )


def test_each_new_connection_has_a_new_token(
    ledgers: Ledgers, postgres: PrivatePostgres, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ledger = ledgers.open(**_login(postgres, login="guarded", password=None, extra={"iam": True}))
    ledger.note()
    ledger.note()
    assert tokens.given == 1
    _cut_all(postgres)
    ledger.note()
    assert tokens.given == 2
    assert TOKENS not in caplog.text


def test_in_a_trigger_the_token_is_asked_for_by_way_of_the_loop(
    ledgers: Ledgers, postgres: PrivatePostgres, tokens: Tokens
) -> None:
    ledgers.write(**_login(postgres, login="guarded", password=None, extra={"iam": True}))

    async def check() -> None:
        ledger = await _ledger.aopen_ledger("ledger", "connection 'youcom_default'")
        await run_off_the_loop(ledger.note, 60)

    asyncio.run(check())
    assert tokens.given == 1
    assert "youcom-check" not in tokens.threads


class HTTPClientError(Exception):
    """As in botocore."""


@pytest.mark.parametrize(
    ("failure", "error", "sentence"),
    [
        (
            HTTPClientError(TOKENS),
            YouComLedgerUnavailableError,
            r"no token to connect with \(HTTPClientE",
        ),
        (
            ValueError(TOKENS),
            YouComLedgerRefusedError,
            r"got no token to connect with \(ValueError\): check",
        ),
    ],
)
def test_without_a_token_the_ledger_cannot_be_used(
    ledgers: Ledgers,
    postgres: PrivatePostgres,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    error: type[YouComError],
    sentence: str,
) -> None:
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    def fail(hook: Any, connection: Any) -> None:
        raise failure

    monkeypatch.setattr(PostgresHook, "get_iam_token", fail)
    with pytest.raises(error, match=sentence) as caught:
        ledgers.open(**_login(postgres, extra={"iam": True})).note()
    assert TOKENS not in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_iam_without_its_provider_is_refused(ledgers: Ledgers, postgres: PrivatePostgres) -> None:
    try:
        import airflow.providers.amazon  # noqa: F401
    except ImportError:
        with pytest.raises(YouComLedgerRefusedError, match="check .* that its provider is installed here"):
            ledgers.open(**_login(postgres, extra={"iam": True})).note()
    else:
        pytest.skip("Airflow's amazon provider is installed here")


def test_airflow_is_asked_in_this_thread_unless_a_loop_has_started_it() -> None:
    assert ask_airflow(threading.current_thread) is threading.current_thread()

    async def from_the_loop() -> threading.Thread:
        return await run_off_the_loop(lambda: ask_airflow(threading.current_thread), 60)

    assert asyncio.run(from_the_loop()).name != "youcom-check"
