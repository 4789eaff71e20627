"""Credits reserved for the code of a task or a script, on a real ledger."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_youcom import _airflow
from airflow_provider_youcom.exceptions import YouComRefusedError, YouComShortfallError
from airflow_provider_youcom.hooks import _reserved_credits
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.sandbox import Sandbox
from tests.connections import connect

pytest.importorskip("airflow.providers.sqlite", reason="a ledger on SQLite needs Airflow's sqlite provider")


def run_as(monkeypatch: pytest.MonkeyPatch, try_id: str) -> None:
    task = SimpleNamespace(
        dag_id="dag", run_id="run", task_id="spend", map_index=-1, id=try_id, try_number=int(try_id)
    )
    context: dict[str, Any] = {"ti": task, "dag_run": SimpleNamespace(id=1)}
    monkeypatch.setattr("airflow.providers.common.compat.sdk.get_current_context", lambda: context)
    monkeypatch.setattr(_airflow, "_deployment_id", lambda: "deployment")


def test_credits_are_set_aside_while_the_code_runs_and_released_after_it(ledger: Ledger):
    with YouComHook().reserved_credits(30) as reservation:
        assert reservation.amount_usd == 30
        assert [each.id for each in ledger.standing()] == [reservation.id]
    (ended,) = ledger.history()
    assert ended.end_reason is EndReason.RELEASED
    assert ledger.standing() == []


def test_a_second_use_gets_only_what_the_first_leaves(ledger: Ledger):
    with (
        YouComHook().reserved_credits(70),
        pytest.raises(
            YouComShortfallError,
            match=r"^\$0.01 short of \$30.01, .* The balance is \$100.00, of which this run has",
        ) as caught,
        YouComHook().reserved_credits("30.01"),
    ):
        raise AssertionError("not enough was available")
    assert caught.value.missing_usd == Decimal("0.01")


def test_several_threads_never_reserve_more_than_there_is(ledger: Ledger):
    refused: list[YouComShortfallError] = []
    all_tried = threading.Barrier(8)

    def spend() -> None:
        try:
            with YouComHook().reserved_credits(30):
                all_tried.wait(60)
        except YouComShortfallError as error:
            refused.append(error)
            all_tried.wait(60)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(refused) == 5
    assert ledger.standing() == []


def test_code_that_fails_releases_with_a_grace_for_calls_in_progress(ledger: Ledger):
    with pytest.raises(LookupError), YouComHook().reserved_credits(30):
        raise LookupError("a search failed")
    (ended,) = ledger.history()
    assert ended.end_reason is EndReason.CUT_SHORT
    assert ended.counts_until is not None
    assert ended.ended_at is not None
    assert ended.counts_until - ended.ended_at >= timedelta(minutes=2)


def test_a_new_try_ends_the_reservation_that_an_earlier_one_left(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    run_as(monkeypatch, "1")
    killed = YouComHook().reserved_credits(10)
    left = killed.__enter__()
    run_as(monkeypatch, "2")
    with YouComHook().reserved_credits(20):
        assert ledger.get([left.id])[0].end_reason is EndReason.SUPERSEDED
    killed.__exit__(None, None, None)
    assert ledger.get([left.id])[0].end_reason is EndReason.SUPERSEDED


def test_a_try_that_was_overtaken_reserves_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    run_as(monkeypatch, "2")
    with YouComHook().reserved_credits(10):
        run_as(monkeypatch, "1")
        with (
            pytest.raises(YouComRefusedError, match="A newer attempt of task 'spend' has asked for credits"),
            YouComHook().reserved_credits(10),
        ):
            raise AssertionError("an earlier try reserved")


def test_a_task_that_reserves_ends_what_finished_runs_have_left(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    left = Claim(Attempt(Holder("deployment", "dag", "over", "gate"), "1", "1"), Decimal(70))
    ledger.reserve(left, YouComHook().get_balance, settle_seconds=0)
    ledger._ready().write(
        lambda connection: connection.exec_driver_sql("UPDATE youcom_reservations SET asked_at = 0")
    )
    run_as(monkeypatch, "1")
    monkeypatch.setattr(_reserved_credits, "ask", lambda question: len(question.run_ids))
    with YouComHook().reserved_credits(10):
        assert ledger.history(run_id="over")[0].end_reason is EndReason.RUN_OVER


def test_a_use_deletes_what_ended_long_ago(ledger: Ledger):
    with YouComHook().reserved_credits(10) as old:
        pass
    two_months_us = 60 * 24 * 60 * 60 * 1_000_000
    ledger._ready().write(
        lambda connection: connection.exec_driver_sql(
            f"UPDATE youcom_reservations SET counts_until = counts_until - {two_months_us}"
        )
    )
    with YouComHook().reserved_credits(10):
        pass
    assert ledger.get([old.id]) == []


def test_a_reservation_that_expired_meanwhile_is_logged(ledger: Ledger, caplog: pytest.LogCaptureFixture):
    with (
        caplog.at_level(logging.WARNING),
        YouComHook().reserved_credits(10, timedelta(microseconds=1)),
        # Whoever decides next ends what has expired.
        YouComHook().reserved_credits(1),
    ):
        pass
    assert "before the code that it was for had ended" in caplog.text


def test_whoever_asks_what_is_available_stores_what_was_read(ledger: Ledger, sandbox: Sandbox):
    sandbox.set_balance("71.25")
    account_id = YouComHook().get_available().balance.account_id
    assert ledger.accounts.overview(account_id).readings[-1].balance_usd == Decimal("71.25")


def test_the_connection_test_says_what_is_reserved(ledger: Ledger):
    with YouComHook().reserved_credits(30):
        assert YouComHook().test_connection()[1].endswith(": $100.00 left, $30.00 of it reserved")


def test_a_connection_without_a_ledger_says_where_to_name_one(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    connect(monkeypatch, sandbox)
    with (
        pytest.raises(YouComRefusedError, match='needs a ledger, .* its field "Ledger connection"'),
        YouComHook().reserved_credits(1),
    ):
        raise AssertionError("there is no ledger")


@pytest.mark.usefixtures("airflow_database")
@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            None,
            "There is no connection 'ledger' that Airflow can read: add it, or correct ledger_conn_id in",
        ),
        ({"conn_type": "http", "host": "x"}, "The ledger 'ledger' is a connection of type 'http': use one"),
        ({"conn_type": "sqlite", "host": "/nowhere/ledger.db"}, "The ledger 'ledger' cannot be used"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_refused_by_name(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, written: dict[str, str] | None, problem: str
):
    connect(monkeypatch, sandbox, ledger_conn_id="ledger")
    if written is not None:
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(written))
    with pytest.raises(YouComRefusedError, match=problem), YouComHook().reserved_credits(1):
        raise AssertionError("there is no ledger")


@pytest.mark.parametrize(
    ("extra", "field"),
    [({"ledger_conn_id": 7}, "ledger_conn_id"), ({"settle_seconds": -1}, "settle_seconds")],
)
def test_a_field_of_the_ledger_that_cannot_be_used_is_refused_by_name(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, extra: dict[str, object], field: str
):
    connect(monkeypatch, sandbox, **extra)
    with pytest.raises(YouComRefusedError, match=f"{field}.* in the extra of connection 'youcom_default'"):
        YouComHook().get_balance()
