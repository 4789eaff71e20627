"""What is read from the rows of the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_youcom.ledger._rows import newest_age, to_datetime, to_note, to_place, to_reservation
from airflow_provider_youcom.ledger.claim import Attempt, Holder
from airflow_provider_youcom.ledger.reservation import Reservation
from airflow_provider_youcom.ledger.rule import EndReason

pytestmark = pytest.mark.only_in_test


def place_row(**changed: Any) -> Any:
    row = {
        "account_id": "4f1c",
        "holder_key": "as it is stored",
        "deployment": "production",
        "dag_id": "research",
        "run_id": "monday",
        "task_id": "gate",
        "map_index": 3,
        "number": 7,
        "joined_at": 1_000_000,
        "amount_units": 25,
        "opened_before": 11,
        "patience": 8,
        "is_held": 1,
        "is_alive": 1,
    }
    return SimpleNamespace(**{**row, **changed})


def note_row(**changed: Any) -> Any:
    row = {
        "account_id": "4f1c",
        "now": 1_000,
        "counter": 5,
        "amount_units": 25,
        "ended_at": None,
        "run_key": "monday",
        "attempt_id": "an attempt",
        "is_expired": 0,
        "newest_place": 9,
        "opened_units": 100,
        "best_units": 40,
        "moved_at": 800,
        "opened_at": 700,
    }
    return SimpleNamespace(**{**row, **changed})


def test_a_time_is_in_utc() -> None:
    assert to_datetime(1_500_000) == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)


def test_the_key_of_a_place_is_not_computed_again() -> None:
    place = to_place(place_row())
    assert (place.holder.key, place.holder.name) == ("as it is stored", "research.gate of monday")
    assert (place.holder.deployment, place.holder.map_index) == ("production", 3)
    assert (place.account_id, place.number, place.amount_units, place.opened_before) == ("4f1c", 7, 25, 11)
    assert (place.patience, place.is_held, place.joined_at) == (8, True, to_datetime(1_000_000))


def test_a_note_adds_up_what_counts_in_each_account_and_what_stands_for_each_run() -> None:
    note = to_note(
        [
            note_row(),
            note_row(now=999, amount_units=10, attempt_id="a second gate", newest_place=4, is_expired=1),
            note_row(amount_units=5, attempt_id="ended", ended_at=900, run_key="tuesday", newest_place=1),
            note_row(account_id="another", amount_units=None),
            note_row(account_id=None, amount_units=None),
        ],
        [place_row(), place_row(holder_key="late", number=8, is_alive=0), place_row(account_id="another")],
    )
    assert (note.time, set(note.accounts)) == (999, {"4f1c", "another"})
    account = note.of("4f1c")
    assert (account.counter, account.reserved_units, account.reserved_runs) == (5, 40, 2)
    assert (account.runs, account.runs_since) == ({"monday": 35}, {"monday": 4})
    assert (account.attempts, account.has_expired) == ({"an attempt", "a second gate"}, True)
    line = account.line
    assert (line.opened_units, line.best_units, line.moved_at, line.opened_at) == (100, 40, 800, 700)
    assert ([place.number for place in line.places], line.late) == ([7], {"late": 8})
    other = note.of("another")
    assert (other.reserved_units, other.reserved_runs, other.has_expired) == (0, 0, False)
    assert len(other.line.places) == 1


def test_the_age_of_a_holder_that_is_new_is_unknown() -> None:
    assert newest_age(SimpleNamespace(newest_order=None, newest_try=None)) is None
    assert newest_age(SimpleNamespace(newest_order="an order", newest_try=2)) == ("an order", 2)


STANDS = {
    "id": "r1",
    "account_id": "4f1c",
    "deployment": "production",
    "dag_id": "research",
    "run_id": "monday",
    "task_id": "gate",
    "map_index": 3,
    "attempt_id": "an id",
    "attempt_order": "an order",
    "try_number": 2,
    "task_ids": '["search", "summarize"]',
    "amount_units": 12_500_000,
    "settle_us": 1_500_000,
    "reserved_at": 1_000_000,
    "expires_at": 2_000_000,
    "ended_at": None,
    "end_reason": None,
    "ended_by": None,
    "counts_until": None,
}
STANDING = Reservation(
    "r1",
    "4f1c",
    Attempt(Holder("production", "research", "monday", "gate", 3), "an id", "an order", 2),
    ("search", "summarize"),
    Decimal("1.25"),
    settle_seconds=1.5,
    reserved_at=to_datetime(1_000_000),
    expires_at=to_datetime(2_000_000),
)


def test_a_reservation_is_read_with_all_its_parts() -> None:
    assert to_reservation(SimpleNamespace(**STANDS)) == STANDING
    ended = {
        "ended_at": 3_000_000,
        "end_reason": "released",
        "ended_by": "teardown",
        "counts_until": 4_000_000,
    }
    assert to_reservation(SimpleNamespace(**{**STANDS, **ended})) == replace(
        STANDING,
        ended_at=to_datetime(3_000_000),
        end_reason=EndReason.RELEASED,
        ended_by="teardown",
        counts_until=to_datetime(4_000_000),
    )
