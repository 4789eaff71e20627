"""What the page says, in Airflow's API server, of a real ledger."""

from __future__ import annotations

import gzip
import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_youcom._page.shared_read import PATIENCE
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.hooks import _ledger
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.accounts import Accounts
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.sandbox import Sandbox
from dev.ledger_history import add_history, add_holding
from tests.connections import connect
from tests.page.conftest import DEPLOYMENT, Browser, hold, name_ledger, wait, wait_for


class Elements(HTMLParser):
    """The start tags of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def text_of(page: str) -> str:
    """The words of a page, without tags and line breaks."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def read_again(ledgers: Any) -> None:
    """Let the next viewer get what the ledgers know now."""
    for read in (*ledgers._ledgers.values(), *ledgers._snapshots.values(), ledgers._deployment):
        read._ended = 0.0


def account_of(sandbox: Sandbox) -> str:
    return sandbox.accounts[sandbox.api_key].account_id


def past_readings(ledger: Ledger, sandbox: Sandbox) -> None:
    balance = AccountBalance(account_of(sandbox), Decimal(10000), datetime.now(UTC))
    add_history(ledger, balance, DEPLOYMENT)


def test_the_first_look_tells_what_is_available_and_who_holds_the_rest(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    hold(ledger, sandbox, 25)
    page = viewer.page()
    words = text_of(page)
    assert "Available now $75.00" in words
    assert "Reserved $25.00" in words
    assert "Balance $100.00" in words
    assert "nightly_research scheduled 2026-11-27 02:00" in words
    assert 'href="../dags/nightly_research/runs/scheduled__2026-11-27T02%3A00%3A00%2B00%3A00"' in page
    assert 'aria-label="$75.00 available and $25.00 reserved of $100.00"' in page


def test_a_history_tells_how_long_the_balance_lasts(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    past_readings(ledger, sandbox)
    words = text_of(viewer.page())
    assert re.search(r"Runs out in \d+–\d+ days between \d+ \w+ and \d+ \w+ at \$\d+\.\d\d a day", words)
    assert "as in the last 7 days; top-ups left out" in words
    assert "Balance, 30 days shaded: where it goes at the present pace" in words
    assert re.search(r"Spent without a reservation \$\d+\.\d\d of \$\d+\.\d\d in 7 days", words)
    # From 2 to 3 o'clock, the run of this night has not ended.
    assert re.search(r"nightly_research \$(150 \$725|175 \$750)", words), "reserved in 7 and in 30 days"


def test_the_line_tells_what_each_gate_needs_and_lacks_and_for_whom_something_is_held(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    wait(ledger, sandbox, 20, run_id="scheduled__2026-11-27T03:00:00+00:00")
    hold(ledger, sandbox, 85)
    wait(ledger, sandbox, 12, run_id="scheduled__2026-11-27T04:00:00+00:00")
    page = viewer.page()
    words = text_of(page)
    assert "In line 2" in words
    # $15 are available, and $20 of them are held for the first gate.
    first, second = re.findall(r"(\$[\d.]+) (\$[\d.]+) \d+ s", words.partition("Holding")[0])
    assert first == ("$20.00", "$5.00")
    assert second == ("$12.00", "$17.00")
    assert words.count("credits held") == 1
    assert page.index("credits held") < page.index("2026-11-27 04:00")


def test_what_has_ended_and_still_counts_is_named(viewer: Browser, ledger: Ledger, sandbox: Sandbox) -> None:
    reservation = hold(ledger, sandbox, 25)
    ledger.end([reservation.id], EndReason.BY_HAND, by="test")
    words = text_of(viewer.page())
    assert "Nobody holds anything." in words
    assert "and $25.00 of runs that have released, for which You.com may still post charges" in words
    assert "Available now $75.00" in words


def test_names_from_users_are_escaped(viewer: Browser, ledger: Ledger, sandbox: Sandbox) -> None:
    hold(ledger, sandbox, 25, "<b>bold</b>", '"><script>alert("run")</script>')
    page = viewer.page()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "alert(" in page
    assert [each["src"] for each in Elements(page).all("script")] == ["credits.js"]
    assert 'href="../dags/%3Cb%3Ebold%3C%2Fb%3E/runs/%22%3E%3Cscript' in page


def test_nothing_on_the_page_needs_more_than_its_content_security_policy_allows(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    past_readings(ledger, sandbox)
    hold(ledger, sandbox, 25)
    answer = viewer.ask()
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; connect-src 'self'; img-src 'self'; script-src 'self'; style-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    elements = Elements(answer.text)
    assert not elements.all("style")
    attributes = {name for _, attributes in elements.found for name in attributes}
    assert not [name for name in attributes if name == "style" or name.startswith("on")]
    loaded = [each.get("src") or each.get("href") for tag in ("script", "link") for each in elements.all(tag)]
    assert loaded == ["credits.js", "credits.css"]
    assert {viewer.ask(name).status_code for name in loaded} == {200}


def test_a_screen_reader_finds_headings_tables_and_the_words_of_pictures(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    past_readings(ledger, sandbox)
    hold(ledger, sandbox, 25)
    page = viewer.page()
    elements = Elements(page)
    assert all(each["scope"] == "col" for each in elements.all("th"))
    pictures = elements.all("svg")
    assert all(each["aria-label"] for each in pictures)
    charts = [each for each in pictures if "chart" in str(each["class"])]
    assert {each["role"] for each in pictures if each not in charts} == {"img"}
    assert len(charts) == 2
    for chart in charts:
        points = str(chart["data-points"]).split(";")
        assert chart["role"] == "slider"
        assert chart["aria-valuemax"] == chart["aria-valuenow"] == str(len(points) - 1)
        assert chart["aria-valuetext"] == f"${points[-1].split()[1]}"
    assert all(str(each["aria-label"]).startswith("Balance over 30 days: from $") for each in charts)
    assert [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h\d", tag)][:3] == [1, 2, 3]


def test_without_a_ledger_the_page_says_how_to_name_one(
    viewer: Browser, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, sandbox)
    words = text_of(viewer.page())
    assert "No ledger is named" in words
    assert "Put the id of a connection to SQLite or PostgreSQL into its field “Ledger connection”" in words


def test_a_setting_that_names_no_connection_is_not_taken_for_an_empty_ledger(
    viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__YOUCOM__PAGE_CONN_IDS", " ,")
    words = text_of(viewer.page())
    assert "The option page_conn_ids in section [youcom] of Airflow&#39;s configuration is empty" in words
    assert "The ledger is empty" not in words


def test_an_empty_ledger_says_what_fills_it(viewer: Browser, ledger: Ledger) -> None:
    assert ledger.note().accounts == {}
    words = text_of(viewer.page())
    assert "appears here after the first check of a gate" in words
    assert "If the ledger is an SQLite file, gates and" in words


def test_a_look_creates_no_ledger(viewer: Browser, ledger: Ledger) -> None:
    file = Path(str(ledger._database._engine.url.database))
    assert "appears here after the first check of a gate" in text_of(viewer.page())
    assert not file.exists()
    file.touch()
    assert "appears here after the first check of a gate" in text_of(viewer.page())
    assert file.stat().st_size == 0


def test_a_connection_that_the_api_server_cannot_read_is_named(
    viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__YOUCOM__PAGE_CONN_IDS", "only_on_workers")
    words = text_of(viewer.page())
    assert "Connection &#39;only_on_workers&#39; was not found" in words
    assert "No ledger is named" not in words


OLD = "The balance is from 40 min ago: no check has succeeded since."


def test_an_old_balance_says_that_nobody_checks(viewer: Browser, ledger: Ledger, sandbox: Sandbox) -> None:
    hold(ledger, sandbox, 25)
    make_older(ledger, minutes=40)
    words = text_of(viewer.page())
    assert "balance read 40 min ago" in words
    assert f"{OLD} The next check of a gate or a watcher reads it again." in words


def test_an_old_balance_leads_to_the_logs_of_gates_that_go_on_checking(
    restricted: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    hold(ledger, sandbox, 95)
    wait(ledger, sandbox, 70, "secret_dag")
    make_older(ledger, minutes=40)
    words = text_of(restricted.page())
    assert f"{OLD} The gates in line check it, and their logs say why that fails." in words


def test_a_ledger_that_hangs_does_not_say_that_nobody_checks(
    viewer: Browser, ledger: Ledger, ledgers: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(ledger, sandbox, 25)
    make_older(ledger, minutes=40)
    assert OLD in text_of(viewer.page())
    read_again(ledgers)
    with hanging(monkeypatch):
        words = text_of(viewer.page())
    assert "balance read 40 min ago" in words
    assert "no check has succeeded since" not in words
    assert "What is reserved is up to date" not in words


def test_an_account_without_a_reading_of_the_last_week_says_so(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    past_readings(ledger, sandbox)
    make_older(ledger, minutes=8 * 24 * 60)
    words = text_of(viewer.page())
    assert "Runs out in Not known No reading is from the last 7 days." in words
    assert "Spent without a reservation Not known: no reading is from the last 7 days." in words


def test_a_balance_that_did_not_fall_shows_that_nothing_was_spent_without_a_reservation(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    hold(ledger, sandbox, 25)
    make_older(ledger, minutes=40)
    hold(ledger, sandbox, 30, run_id="another_run")
    words = text_of(viewer.page())
    assert "Nothing: the balance did not fall in the last 40 minutes." in words


def make_older(ledger: Ledger, minutes: int) -> None:
    file = ledger._database._engine.url.database
    ledger.accounts._newest.clear()
    with sqlite3.connect(str(file)) as connection:
        connection.execute(
            "UPDATE youcom_readings SET time = time - ?, stored_at = stored_at - ?",
            [minutes * 60_000_000] * 2,
        )


def test_a_ledger_that_hangs_leaves_the_last_figures_and_says_so(
    viewer: Browser, ledger: Ledger, ledgers: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(ledger, sandbox, 25)
    assert "$75.00" in viewer.page()
    read_again(ledgers)
    with hanging(monkeypatch) as is_hanging:
        words = text_of(viewer.page())
        assert is_hanging.is_set()
    assert "Available now $75.00" in words
    assert (
        "The ledger of connection &#39;youcom_default&#39; has not answered yet. The figures "
        "shown are from" in words
    )


def test_a_ledger_that_hangs_from_the_beginning_is_named(
    viewer: Browser, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.note()
    with hanging(monkeypatch):
        began = time.monotonic()
        words = text_of(viewer.page())
        waited = time.monotonic() - began
    assert "has not answered yet." in words
    assert "Nothing has been checked yet" not in words
    # A ledger that hangs would hold its viewer for as long as the test.
    assert waited < 60


def test_a_slow_secrets_backend_takes_no_time_from_a_known_ledger(
    viewer: Browser, ledger: Ledger, ledgers: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_youcom._page import ledgers as module

    hold(ledger, sandbox, 25)
    assert "$75.00" in viewer.page()
    read_again(ledgers)
    was_read = threading.Event()
    read_snapshot = module.read_snapshot

    def read_and_say_so(ledger: Ledger) -> Any:
        was_read.set()
        return read_snapshot(ledger)

    monkeypatch.setattr(module, "read_snapshot", read_and_say_so)
    # The backend answers only after the ledger was asked.
    monkeypatch.setattr(
        ledgers._ledgers["youcom_default"], "_read", lambda: ledger if was_read.wait(60) else None
    )
    assert "Available now $75.00" in text_of(viewer.page())


@contextmanager
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let the ledger's database answer only after the end of the block."""
    released, is_hanging = threading.Event(), threading.Event()
    ids = Accounts.ids

    def hang(accounts: Any) -> list[str]:
        is_hanging.set()
        released.wait(300)
        return ids(accounts)

    with monkeypatch.context() as patch:
        wait_for(PATIENCE, patch)
        patch.setattr(Accounts, "ids", hang)
        try:
            yield is_hanging
        finally:
            released.set()


def test_only_who_may_read_connections_learns_where_a_ledger_is_that_cannot_be_reached(
    viewer: Browser, operator: Browser, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    connect(monkeypatch, sandbox, ledger_conn_id="broken")
    port = free_port()
    broken = {"conn_type": "postgres", "host": "127.0.0.1", "port": port, "password": "swordfish"}
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps(broken))
    answers = [visitor.ask() for visitor in (viewer, operator)]
    _ledger.forget_ledgers()
    sentence = "The ledger of connection &#39;youcom_default&#39; cannot be read now: the log"
    for answer in answers:
        assert answer.status_code == 200
        assert sentence in answer.text
        assert "swordfish" not in answer.text
        assert sandbox.api_key not in answer.text
    details = "What is reserved is unknown, since the ledger &#39;broken&#39; could not be reached"
    assert [details in answer.text for answer in answers] == [False, True]
    assert [str(port) in answer.text for answer in answers] == [False, True]
    assert str(port) in caplog.text
    assert "swordfish" not in caplog.text


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_viewer_learns_nothing_of_what_an_extra_holds(
    viewer: Browser, operator: Browser, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, sandbox, timeout="canary")
    pages = [visitor.page() for visitor in (viewer, operator)]
    assert all("Connection &#39;youcom_default&#39; cannot be used: the log" in page for page in pages)
    assert ["canary" in page for page in pages] == [False, True]


def test_two_connections_to_one_ledger_show_its_account_once(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(ledger, sandbox, 25)
    again = {**json.loads(sandbox.connection()), "extra": {"ledger_conn_id": "ledger_by_another_name"}}
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_AGAIN", json.dumps(again))
    name_ledger(monkeypatch, "ledger_by_another_name", Path(str(ledger._database._engine.url.database)))
    monkeypatch.setenv("AIRFLOW__YOUCOM__PAGE_CONN_IDS", "youcom_default, youcom_again,youcom_default")
    page = viewer.page()
    assert text_of(page).count("Available now") == 1
    assert page.count(f"Account {account_of(sandbox)}") == 1


def test_several_accounts_are_shown_one_below_the_other(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hold(ledger, sandbox, 25)
    with Sandbox(7) as other:
        extra = {"ledger_conn_id": "other_ledger"}
        monkeypatch.setenv(
            "AIRFLOW_CONN_YOUCOM_OTHER", json.dumps({**json.loads(other.connection()), "extra": extra})
        )
        name_ledger(monkeypatch, "other_ledger", tmp_path / "other.db")
        monkeypatch.setenv("AIRFLOW__YOUCOM__PAGE_CONN_IDS", "youcom_default,youcom_other")
        hook = YouComHook("youcom_other")
        note = hook.ledger.note()
        hook.ledger.accounts.store(hook.get_balance(), note)
        page = viewer.page()
        words = text_of(page)
        assert f"Account {account_of(sandbox)}" in words
        assert f"Account {account_of(other)}" in words
        assert 'class="hidden">Account' not in page
        assert words.index("$75.00") < words.index("$7.00")


def test_the_page_never_asks_you_com(viewer: Browser, ledger: Ledger, ledgers: Any, sandbox: Sandbox) -> None:
    hold(ledger, sandbox, 25)
    before = sandbox.request_count
    viewer.page()
    read_again(ledgers)
    viewer.page()
    assert sandbox.request_count == before


def test_many_rows_are_cut_and_the_page_stays_small(
    viewer: Browser, ledger: Ledger, sandbox: Sandbox
) -> None:
    sandbox.top_up(1_000_000)
    past_readings(ledger, sandbox)
    add_holding(ledger, AccountBalance(account_of(sandbox), Decimal(10000), datetime.now(UTC)), DEPLOYMENT)
    for number in range(70):
        hold(ledger, sandbox, 1, run_id=f"manual__{number}")
    page = viewer.page()
    words = text_of(page)
    assert "Holding 73" in words
    assert "and 21 more" in words
    assert "and 2 that you may not see, holding $37.50 together" in words
    assert len(gzip.compress(page.encode())) < 100_000


def test_ages_grow_while_the_figures_are_kept() -> None:
    from airflow_provider_youcom._page.snapshot import Snapshot

    known = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
    snapshot = Snapshot("ledger", (), known, time.monotonic() - 3600)
    assert timedelta(hours=1) <= snapshot.now - known < timedelta(hours=2)
