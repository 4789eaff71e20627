"""What a database says is told in its own words, and tells whether waiting helps or someone must act."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.exceptions import YouComLedgerRefusedError, YouComLedgerUnavailableError
from airflow_provider_youcom.ledger._database_errors import Meaning, meaning_of, words_of
from airflow_provider_youcom.ledger.ledger import Ledger
from tests.ledger.conftest import new_postgres_database
from tests.ledger.postgres_says import postgres_that_says
from tests.ledger.silent_proxy import silent_proxy
from tests.ledger.spending import claim_of, reserve

if TYPE_CHECKING:
    from dev.private_postgres import PrivatePostgres

pytestmark = pytest.mark.on_the_ends

PASSWORD = "canary-password"
REFUSED, UNAVAILABLE = YouComLedgerRefusedError, YouComLedgerUnavailableError


@pytest.fixture(params=["psycopg2", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    """A driver that SQLAlchemy can use here."""
    name: str = request.param
    pytest.importorskip(name)
    if name == "psycopg" and sa.__version__.startswith("1."):
        pytest.skip("SQLAlchemy 1.4 cannot use psycopg 3")
    return name


def _error_at(url: str | sa.engine.URL) -> Exception:
    engine = sa.create_engine(url)
    try:
        with pytest.raises((REFUSED, UNAVAILABLE)) as caught:
            Ledger(engine).note()
    finally:
        engine.dispose()
    assert PASSWORD not in str(caught.value)
    assert "did not answer" not in str(caught.value)
    assert caught.value.__context__ is None
    return caught.value


def _url(driver: str, port: int, **parts: object) -> sa.engine.URL:
    login = {"username": "bob", "password": PASSWORD, "host": "127.0.0.1", "database": "ledger"}
    return sa.engine.URL.create(f"postgresql+{driver}", **{**login, "port": port, **parts})


@pytest.mark.parametrize(
    ("sqlstate", "message", "error"),
    [
        ("28P01", 'password authentication failed for user "bob"', REFUSED),
        ("28000", 'role "bob" is not permitted to log in', REFUSED),
        ("28000", 'role "bob" does not exist', REFUSED),
        ("28000", 'no pg_hba.conf entry for host "10.0.0.1", user "bob", no encryption', REFUSED),
        ("42501", 'permission denied for database "ledger"', REFUSED),
        ("3D000", 'database "ledger" does not exist', REFUSED),
        ("55000", 'database "ledger" is not currently accepting connections', REFUSED),
        # PgBouncer.
        ("08P01", "no such database: ledger", REFUSED),
        ("08P01", "no such user: bob", REFUSED),
        ("08P01", "SSL required", REFUSED),
        ("08P01", "unsupported startup parameter: options", REFUSED),
        ("57P03", "the database system is starting up", UNAVAILABLE),
        ("57P03", "the database system is shutting down", UNAVAILABLE),
        ("53300", "sorry, too many clients already", UNAVAILABLE),
        ("53300", 'too many connections for role "bob"', UNAVAILABLE),
        ("08P01", "query_wait_timeout", UNAVAILABLE),
        ("08P01", "no more connections allowed (max_client_conn)", UNAVAILABLE),
    ],
)
def test_a_server_that_refuses_a_connection_is_told_apart_from_one_that_will_accept_it_later(
    driver: str, sqlstate: str, message: str, error: type[Exception]
) -> None:
    with postgres_that_says(message, sqlstate) as port:
        said = _error_at(_url(driver, port))
    assert type(said) is error
    assert message in str(said)


def test_a_message_in_another_encoding_is_read(driver: str) -> None:
    if driver == "psycopg2" and sys.version_info < (3, 11, 3):
        pytest.skip("on Python 3.11.2 and older, psycopg2 loses such a message")
    message = "Passwort-Authentifizierung für Benutzer »bob« fehlgeschlagen"
    with postgres_that_says(message, "28P01", encoding="latin-1") as port:
        said = _error_at(_url(driver, port))
    # asyncpg does not read it either, so the code is unknown.
    assert isinstance(said, UNAVAILABLE)
    assert "could not be reached: connection to server at" in str(said)
    assert "FATAL:  Passwort-Authentifizierung f" in str(said)
    if driver == "psycopg2":
        assert message in str(said)


@pytest.mark.parametrize(
    ("sqlstate", "severity", "message", "error"),
    [
        ("28P01", "FATAL", "Passwort-Authentifizierung für Benutzer »bob« fehlgeschlagen", REFUSED),
        ("28P01", "ВАЖНО", 'пользователь "bob" не прошёл проверку подлинности (по паролю)', REFUSED),
        ("3D000", "致命错误", '数据库 "ledger" 不存在', REFUSED),
        ("57P03", "FATAL", "das Datenbanksystem startet", UNAVAILABLE),
        ("53300", "致命的エラー", "現在クライアント数が多すぎます", UNAVAILABLE),
    ],
)
def test_a_server_that_speaks_another_language_is_understood_by_its_code(
    driver: str, sqlstate: str, severity: str, message: str, error: type[Exception]
) -> None:
    pytest.importorskip("asyncpg")
    with postgres_that_says(message, sqlstate, severity) as port:
        said = _error_at(_url(driver, port))
    assert type(said) is error
    assert message in str(said)


def test_without_asyncpg_the_words_are_told_and_waited_for(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with postgres_that_says("Zutritt verboten", "28000") as port:
        said = _error_at(_url(driver, port))
    assert isinstance(said, UNAVAILABLE)
    assert "could not be reached: connection to server at" in str(said)
    assert "FATAL:  Zutritt verboten." in str(said)


@pytest.mark.parametrize("first", ["refused", "accepting"])
def test_of_several_hosts_the_answer_of_the_one_that_decided_is_shown(driver: str, first: str) -> None:
    with postgres_that_says('role "bob" does not exist', "28000") as port:
        ports = [port, 1] if first == "refused" else [1, port]
        hosts = tuple(f"127.0.0.1:{each}" for each in ports)
        said = _error_at(
            sa.engine.make_url(f"postgresql+{driver}://bob:{PASSWORD}@/ledger").set(query={"host": hosts})
        )
    assert isinstance(said, REFUSED)
    assert f'port {port} failed: FATAL:  role "bob" does not exist.' in str(said)
    assert "Connection refused" not in str(said)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sslmode": "require"}, "server does not support SSL, but SSL was required"),
        ({"sslmode": "nonsense"}, 'invalid sslmode value: "nonsense"'),
        ({"nonsense": "1"}, 'invalid connection option "nonsense"'),
    ],
)
def test_what_the_driver_refuses_is_refused(driver: str, options: dict[str, str], words: str) -> None:
    with postgres_that_says("nobody gets this far", "XX000") as port:
        said = _error_at(_url(driver, port).update_query_dict(options))
    assert isinstance(said, REFUSED)
    assert words in str(said)


def test_a_login_without_a_password_is_refused(postgres: PrivatePostgres, driver: str) -> None:
    with closing(postgres.connect()) as connection:
        connection.cursor().execute("CREATE ROLE guarded LOGIN PASSWORD 'secret'")
    hba = postgres._data / "pg_hba.conf"
    trusting = hba.read_text()
    try:
        hba.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + trusting)
        with closing(postgres.connect()) as connection:
            connection.cursor().execute("SELECT pg_reload_conf()")
        url = _url(driver, postgres.port, username="guarded", database="airflow")
        nameless = _url(driver, postgres.port, username="guarded", database="airflow", password=None)
        assert "no password supplied" in str(_error_at(nameless))
        said = _error_at(url)
        assert isinstance(said, REFUSED)
        assert 'password authentication failed for user "guarded"' in str(said)
    finally:
        hba.write_text(trusting)
        with closing(postgres.connect()) as connection:
            connection.cursor().execute("SELECT pg_reload_conf()")
            connection.cursor().execute("DROP ROLE guarded")


def test_a_host_that_nobody_knows_is_unavailable(driver: str) -> None:
    said = _error_at(_url(driver, 5432, host="nowhere.invalid"))
    assert isinstance(said, UNAVAILABLE)
    assert "could not be reached: " in str(said)


def test_a_server_that_only_reads_is_asked_once_more_and_then_refused(
    postgres: PrivatePostgres, driver: str
) -> None:
    url = sa.engine.make_url(new_postgres_database(postgres)).set(drivername=f"postgresql+{driver}")
    ledger = Ledger(sa.create_engine(url))
    reserve(ledger, claim_of("monday"), 100)
    with closing(postgres.connect(str(url.database))) as connection:
        connection.cursor().execute(f"ALTER DATABASE {url.database} SET default_transaction_read_only = on")
        # The pooled connection was made before, as it were on the server that was the primary.
        assert reserve(ledger, claim_of("tuesday"), 100).reservation
        ledger.close()
        with pytest.raises(REFUSED, match="is read-only, also after connecting anew, so"):
            reserve(ledger, claim_of("wednesday"), 100)
        connection.cursor().execute("SET default_transaction_read_only = off")
        connection.cursor().execute(f"ALTER DATABASE {url.database} RESET default_transaction_read_only")
        # The pooled connection still only reads; a new one leads to the new primary.
        assert reserve(ledger, claim_of("thursday"), 100).reservation


def test_a_damaged_sqlite_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    ledger = Ledger(sa.create_engine(f"sqlite:///{file}"))
    reserve(ledger, claim_of("monday"), 100)
    ledger.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * len(data[4096:])
    file.write_bytes(data)
    with pytest.raises(REFUSED, match="cannot be used, so check its connection and its rights: "):
        Ledger(sa.create_engine(f"sqlite:///{file}")).standing()


class _ReportedError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "meaning"),
    [
        ("40001", Meaning.TRY_AGAIN),
        ("40P01", Meaning.TRY_AGAIN),
        ("23505", Meaning.TRY_AGAIN),
        ("25P03", Meaning.TRY_AGAIN),
        ("25006", Meaning.CONNECT_ANEW),
        ("08006", Meaning.WAIT),
        ("53100", Meaning.WAIT),
        ("55P03", Meaning.WAIT),
        ("57014", Meaning.WAIT),
        ("57P01", Meaning.WAIT),
        ("23514", Meaning.ACT),
        ("28P01", Meaning.ACT),
        ("3D000", Meaning.ACT),
        ("42501", Meaning.ACT),
        ("55000", Meaning.ACT),
        ("XX001", Meaning.ACT),
    ],
)
def test_a_code_decides_whatever_the_words(sqlstate: str, meaning: Meaning) -> None:
    assert meaning_of(_ReportedError(sqlstate)) is meaning


def test_an_error_without_words_is_named() -> None:
    assert words_of(sa.exc.InterfaceError("", {}, ValueError())) == "ValueError"


def test_a_server_that_closes_every_connection_is_unavailable(driver: str) -> None:
    # Nothing listens on port 1, so the proxy closes what it accepts.
    with silent_proxy(1) as proxy:
        ledger = Ledger(sa.create_engine(_url(driver, proxy.port)), answer_within=0.3)
        with pytest.raises(UNAVAILABLE):
            ledger.note()
