"""A transaction ends in bounded time whatever the server does, and a stopped client soon holds nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError
from airflow_provider_youcom.ledger._watchdog import Watchdog
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from tests.ledger.conftest import new_postgres_database
from tests.ledger.silent_proxy import SilentProxy, silent_proxy
from tests.ledger.spending import claim_of, reserve

if TYPE_CHECKING:
    from dev.private_postgres import PrivatePostgres

pytestmark = pytest.mark.on_the_ends

# Much longer than any bound in these tests, and much shorter than for ever.
PATIENCE = 60.0
SILENT = r"What is reserved is unknown, since the ledger 'youcom_ledger' did not answer within 0.5 s\."


class _Connection:
    closed = False

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(PATIENCE)

    def fileno(self) -> int:
        return self.ours.fileno()


def test_what_is_late_is_cut_and_what_has_ended_is_left_alone() -> None:
    watchdog = Watchdog()
    late, ended = _Connection(), _Connection()
    with watchdog.watch(time.monotonic() + 0.05) as watch:
        watch.follow(ended)
    with watchdog.watch(time.monotonic() + 0.2) as watch:
        watch.follow(late)
        assert late.theirs.recv(1) == b""
        assert watch.has_cut
    ended.ours.sendall(b"still open")
    assert ended.theirs.recv(10) == b"still open"


def test_a_connection_that_is_made_after_the_deadline_is_cut_as_well() -> None:
    with Watchdog().watch(time.monotonic() - 1) as watch:
        while not watch.has_cut:
            time.sleep(0.01)
        connection = _Connection()
        watch.follow(connection)
        assert connection.theirs.recv(1) == b""


def test_a_shorter_watch_is_not_late_for_a_longer_one() -> None:
    watchdog = Watchdog()
    connection = _Connection()
    with watchdog.watch(time.monotonic() + 1000), watchdog.watch(time.monotonic() + 0.1) as short:
        short.follow(connection)
        assert connection.theirs.recv(1) == b""


def test_the_thread_ends_with_the_last_watch_and_starts_again_with_the_next() -> None:
    watchdog = Watchdog()
    for _ in range(2):
        before = set(threading.enumerate())
        with watchdog.watch(time.monotonic() + 0.05):
            (thread,) = set(threading.enumerate()) - before
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_a_watchdog_of_its_own() -> None:
    code = """
import os, socket, time
from airflow_provider_youcom.ledger._watchdog import watchdog
class Connection:
    closed = False
    def __init__(self, ours): self.fileno = ours.fileno
with watchdog.watch(time.monotonic() + 1000):
    child = os.fork()
    if child == 0:
        ours, theirs = socket.socketpair()
        with watchdog.watch(time.monotonic() + 0.1) as watch:
            watch.follow(Connection(ours))
            os._exit(len(theirs.recv(1)))
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=PATIENCE)


@pytest.fixture(params=["psycopg2", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    """A driver that SQLAlchemy can use here."""
    name: str = request.param
    pytest.importorskip(name)
    if name == "psycopg" and sa.__version__.startswith("1."):
        pytest.skip("SQLAlchemy 1.4 cannot use psycopg 3")
    return name


@pytest.fixture
def proxy(postgres: PrivatePostgres) -> Iterator[SilentProxy]:
    """A proxy to PostgreSQL."""
    with silent_proxy(postgres.port) as proxy:
        yield proxy


def _ledger_behind(proxy: SilentProxy, postgres: PrivatePostgres, driver: str) -> Ledger:
    url = sa.engine.make_url(new_postgres_database(postgres))
    direct = sa.create_engine(url)
    Ledger(direct, answer_within=60).id  # noqa: B018 - which creates the tables
    direct.dispose()
    engine = sa.create_engine(url.set(drivername=f"postgresql+{driver}", port=proxy.port))
    return Ledger(engine, answer_within=0.5)


def test_every_call_ends_in_bounded_time_when_a_proxy_stops_forwarding(
    proxy: SilentProxy, postgres: PrivatePostgres, driver: str
) -> None:
    ledger = _ledger_behind(proxy, postgres, driver)
    decision = reserve(ledger, claim_of("monday"), 100)
    note = ledger.note()
    calls = {
        "note": ledger.note,
        "decide": lambda: reserve(ledger, claim_of("tuesday"), 100, note),
        "end": lambda: ledger.end([decision.reservation.id], EndReason.RELEASED, by="teardown"),
        "list": ledger.standing,
    }
    for name, call in calls.items():
        ledger.note()
        proxy.fall_silent()
        started = time.monotonic()
        with pytest.raises(YouComLedgerUnavailableError, match=SILENT):
            call()
        assert time.monotonic() - started < PATIENCE, name
        proxy.speak()
    assert reserve(ledger, claim_of("tuesday"), 100).reservation


@pytest.mark.parametrize("answers", range(1, 9))
def test_a_server_that_falls_silent_while_it_is_connected_to_is_unavailable(
    proxy: SilentProxy, postgres: PrivatePostgres, driver: str, answers: int
) -> None:
    ledger = _ledger_behind(proxy, postgres, driver)
    proxy.fall_silent(after_answers=answers)
    with pytest.raises(YouComLedgerUnavailableError):
        ledger.note()


_STOPPED = """
import sys, time
import sqlalchemy as sa
from airflow_provider_youcom.ledger.ledger import Ledger
ledger = Ledger(sa.create_engine(sys.argv[1]), answer_within=4)
def stop(connection):
    connection.exec_driver_sql("UPDATE youcom_accounts SET version = version + 1")
    print("holds the account", flush=True)
    time.sleep(600)
ledger.note()
ledger._database.write(stop)
"""


def test_a_process_that_is_stopped_in_a_transaction_holds_the_account_for_a_few_seconds_only(
    postgres: PrivatePostgres,
) -> None:
    url = new_postgres_database(postgres)
    ledger = Ledger(sa.create_engine(url), answer_within=30)
    reserve(ledger, claim_of("monday"), 100)
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _STOPPED, url], stdout=subprocess.PIPE, text=True
    ) as stopped:
        try:
            assert stopped.stdout
            assert stopped.stdout.readline() == "holds the account\n"
            stopped.send_signal(signal.SIGSTOP)
            assert reserve(ledger, claim_of("tuesday"), 100).reservation
        finally:
            stopped.kill()
