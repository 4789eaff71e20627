"""Who wants to reserve: each part of its name counts, and all of it arrives in the triggerer."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder, duration_seconds
from airflow_provider_youcom.ledger.rule import DEFAULT_RESERVE_FOR_SECONDS

pytestmark = pytest.mark.only_in_test

HOLDER = Holder("production", "research", "monday", "gate", 3)
ATTEMPT = Attempt(HOLDER, id="an id", order="an order", try_number=2)
CLAIM = Claim(ATTEMPT, Decimal("12.50"), 3600.0, ("search", "summarize"), "a ledger")


def test_the_keys_of_a_holder_are_those_in_the_ledgers_of_earlier_versions() -> None:
    assert HOLDER.key == "4ce2da804aa1e7d1e3dab5ba8c641844304b685fdbfd9baf7df5257b0ac0426f"
    assert HOLDER.run_key == "8f89826e00334b38f13a6c19e1b929051f205c96e5eb6c9b984b10841ebec9bf"


@pytest.mark.parametrize(
    ("part", "value"),
    [("deployment", "x"), ("dag_id", "x"), ("run_id", "x"), ("task_id", "x"), ("map_index", -1)],
)
def test_holders_that_differ_in_one_part_have_different_keys(part: str, value: object) -> None:
    other = replace(HOLDER, **{part: value})
    assert other.key != HOLDER.key
    assert (other.run_key == HOLDER.run_key) is (part in ("task_id", "map_index"))


def test_a_holder_is_named_as_airflow_names_a_task_and_a_script_as_it_names_itself() -> None:
    script = Holder("", "", "host:17", "report")
    assert (HOLDER.name, HOLDER.run_name) == ("research.gate of monday", "run monday of DAG research")
    assert (script.name, script.run_name) == ("host:17", "host:17")
    assert (HOLDER.is_task, script.is_task) == (True, False)


def test_a_task_that_is_not_mapped_has_the_index_of_airflow() -> None:
    assert Holder("production", "research", "monday", "gate").map_index == -1


def test_attempts_sort_by_their_order_and_then_by_their_number() -> None:
    assert ATTEMPT.age == ("an order", 2)
    assert Attempt(HOLDER, "an id", "an order").try_number == 0


def test_a_claim_arrives_in_the_triggerer_with_all_its_parts() -> None:
    sent = json.loads(json.dumps(CLAIM.to_json()))
    assert Claim.from_json(sent, Decimal("12.50")) == CLAIM
    assert {**sent, "holder": None} == {
        "holder": None,
        "attempt_id": "an id",
        "attempt_order": "an order",
        "try_number": 2,
        "reserve_for_seconds": 3600.0,
        "task_ids": ["search", "summarize"],
        "ledger_id": "a ledger",
    }


def test_an_amount_is_rounded_up_to_what_the_ledger_can_store() -> None:
    assert (CLAIM.needed_units, CLAIM.reserve_for_us) == (125_000_000, 3_600_000_000)
    assert Claim(ATTEMPT, Decimal("0.00000001")).needed_units == 1
    assert Claim(ATTEMPT, Decimal(1)).reserve_for_seconds == DEFAULT_RESERVE_FOR_SECONDS
    assert Claim(ATTEMPT, Decimal(1), reserve_for_seconds=1e-6).reserve_for_us == 1
    assert "needed_units" not in repr(CLAIM)
    assert "reserve_for_us" not in repr(CLAIM)


@pytest.mark.parametrize("usd", ["0", "-1", "NaN", "Infinity", "1e30"])
def test_an_amount_that_cannot_be_reserved_is_refused(usd: str) -> None:
    with pytest.raises(ValueError, match="reserve"):
        Claim(ATTEMPT, Decimal(usd))


def test_a_claim_that_would_expire_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="reserve_for=0 "):
        Claim(ATTEMPT, Decimal(1), reserve_for_seconds=0)


def test_a_duration_is_a_timedelta_or_a_number_of_seconds() -> None:
    assert [duration_seconds(each, "reserve_for") for each in (timedelta(minutes=1), 60, 1e-6)] == [
        60,
        60,
        1e-6,
    ]


@pytest.mark.parametrize("duration", [0, -1, timedelta(0), "60", True, None, float("nan"), 101 * 366 * 86400])
def test_a_duration_that_is_none_is_refused_by_its_name(duration: object) -> None:
    with pytest.raises(ValueError, match="reserve_for"):
        duration_seconds(duration, "reserve_for")


@pytest.mark.parametrize("value", [CLAIM, ATTEMPT, HOLDER], ids=lambda value: type(value).__name__)
def test_claims_attempts_and_holders_cannot_be_changed_since_threads_share_them(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)
