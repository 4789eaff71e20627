from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal

import pytest
from airflow.providers.common.compat.sdk import XCom

from airflow_provider_youcom.balance import (
    UNKNOWN_BALANCE,
    AccountBalance,
    AvailableCredits,
    balance_fall_usd,
)
from airflow_provider_youcom.billing._answer import read_balance
from airflow_provider_youcom.exceptions import YouComResponseError
from airflow_provider_youcom.money import format_usd, parse_usd, subtract_usd

pytestmark = pytest.mark.on_the_ends

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def body(balance: str = "718924.5", account_id: str = '"4f1c"', kind: str = '"account"') -> bytes:
    return (
        f'{{"data": {{"type": {kind}, "id": {account_id}, "attributes": {{"balance": {balance}}}}}}}'.encode()
    )


@pytest.mark.parametrize(
    ("cents", "shown"),
    [
        ("718924.5", "$7,189.24"),
        ("718925.5", "$7,189.25"),
        ("-0.5", "-$0.01"),
        ("0", "$0.00"),
        ("-0.0", "$0.00"),
        ("0.999", "$0.00"),
        ("100", "$1.00"),
        ("-123456", "-$1,234.56"),
        ("123456789012345678901234567890.5", "$1,234,567,890,123,456,789,012,345,678.90"),
    ],
)
def test_a_balance_is_shown_in_whole_cents_and_never_claims_money_that_is_not_there(cents: str, shown: str):
    balance = read_balance(body(cents), NOW)
    assert format_usd(balance.balance_usd) == shown
    assert str(balance) == f"You.com account 4f1c: {shown} left"


@pytest.mark.parametrize(
    "cents", ["0.1", "718924.5", "1e-9", "123456789012345678901234567890.123456789", "5e2"]
)
def test_a_balance_is_read_exactly_from_the_text_of_the_answer(cents: str):
    assert read_balance(body(cents), NOW).balance_cents == Decimal(cents)


def test_dollars_are_the_exact_hundredth_of_the_cents():
    balance = read_balance(body("123456789012345678901234567890.123"), NOW)
    assert balance.balance_usd == Decimal("1234567890123456789012345678.90123")


def test_what_xcom_carries_is_plain_json():
    balance = read_balance(body("718924.5"), NOW)
    assert json.loads(json.dumps(balance.to_json())) == {
        "account_id": "4f1c",
        "balance_cents": 718924.5,
        "balance_usd": 7189.245,
        "checked_at": "2026-11-22T12:00:00+00:00",
    }


def test_whole_amounts_are_whole_in_xcom():
    carried = read_balance(body("2500"), NOW).to_json()
    assert (carried["balance_cents"], carried["balance_usd"]) == (2500, 25)
    assert isinstance(carried["balance_usd"], int)


def test_an_amount_too_large_for_some_readers_of_json_integers_is_carried_as_a_float():
    assert isinstance(read_balance(body("1e30"), NOW).to_json()["balance_cents"], float)


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "data is missing"),
        (b"[]", "data is missing"),
        (b'{"data": null}', "data is not an object"),
        (b'{"data": {}}', "data.type is missing"),
        (body(kind="7"), "data.type is not a string"),
        (body(account_id="7"), "data.id is not a string"),
        (body("true"), "balance is not a number"),
        (body("null"), "balance is not a number"),
        (body('"25"'), "balance is not a number"),
        (body("NaN"), "NaN is not a JSON number"),
        (body("-Infinity"), "-Infinity is not a JSON number"),
        (body("1e400"), "outside the range of a double"),
        (body("1e999999999999999999999"), "not JSON"),
        (body('1, "balance": 2'), "same member twice"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_named_in_one_sentence(answer: bytes, problem: str):
    with pytest.raises(YouComResponseError, match=problem) as caught:
        read_balance(answer, NOW)
    assert caught.value.status_code == 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "account_id"),
    [
        (body(kind='"string"'), "4f1c"),
        (body(account_id='""'), ""),
        (body(account_id='"a\\nERROR \\ud83d"'), r"a\nERROR \ud83d"),
        (b"\xef\xbb\xbf" + body(), "4f1c"),
    ],
    ids=["another type", "empty id", "id that cannot be printed", "byte order mark"],
)
def test_any_answer_that_the_schema_allows_is_read_and_can_be_printed(answer: bytes, account_id: str):
    balance = read_balance(answer, NOW)
    assert balance.account_id == account_id
    assert str(balance).isprintable()


def test_the_error_for_a_task_that_returns_a_balance_names_to_json():
    balance = read_balance(body(), NOW)
    with pytest.raises(ValueError, match=r"return balance.to_json\(\) instead"):
        XCom.serialize_value(balance)


def test_members_that_the_contract_does_not_name_are_accepted():
    answer = json.loads(body("5"))
    answer["data"]["attributes"]["currency"] = "usd"
    answer["meta"] = {"page": 1}
    assert read_balance(json.dumps(answer).encode(), NOW).balance_cents == 5


@pytest.mark.parametrize(
    ("amount", "dollars"),
    [
        (25, "25"),
        (0, "0"),
        ("7.50", "7.50"),
        (" 3 ", "3"),
        (0.1, "0.1"),
        (Decimal("1e3"), "1000"),
        (1e22, "1e22"),
    ],
)
def test_an_amount_of_dollars_is_taken_as_its_author_wrote_it(amount: object, dollars: str):
    assert parse_usd(amount, "min_usd") == Decimal(dollars)


@pytest.mark.parametrize(
    "amount",
    [
        "ten",
        "",
        "$5",
        "1,000",
        -1,
        "-0.01",
        float("nan"),
        float("inf"),
        "NaN",
        "1e400",
        True,
        None,
        [],
        b"5",
        "x" * 999,
    ],
)
def test_an_invalid_amount_of_dollars_is_refused_in_one_sentence_that_names_the_argument(amount: object):
    with pytest.raises(ValueError, match="^min_usd=.* is not an amount in dollars: use ") as caught:
        parse_usd(amount, "min_usd")
    assert len(str(caught.value)) < 200


def test_a_shortfall_is_rounded_up_so_that_adding_it_is_enough():
    missing = subtract_usd(Decimal(25), Decimal("24.995"))
    assert format_usd(missing, ROUND_CEILING) == "$0.01"


def reading(cents: str, account_id: str = "4f1c") -> AccountBalance:
    return AccountBalance(account_id, Decimal(cents), NOW)


@pytest.mark.parametrize(
    ("before", "after", "fall_usd"),
    [
        ("10000", "9996.4", "0.036"),
        ("0.5", "-0.5", "0.01"),
        ("100", "100", "0"),
        ("123456789012345678901234567890.3", "0.1", "1234567890123456789012345678.902"),
    ],
)
def test_the_fall_of_the_balance_is_exact(before: str, after: str, fall_usd: str):
    assert balance_fall_usd(reading(before), reading(after)) == Decimal(fall_usd)


@pytest.mark.parametrize(("before", "after"), [("100", "100.001"), ("-1", "0"), ("9996.4", "10000")])
def test_a_balance_that_rose_says_nothing_about_what_was_spent(before: str, after: str):
    assert balance_fall_usd(reading(before), reading(after)) is None


def test_a_reading_may_be_the_xcom_of_a_gate():
    before, after = reading("10000"), reading("9996.4")
    for first in (before, before.to_json(), json.loads(json.dumps(before.to_json()))):
        for second in (after, after.to_json()):
            assert balance_fall_usd(first, second) == Decimal("0.036")


def test_there_is_no_fall_to_report_for_a_gate_that_opened_without_a_balance():
    assert balance_fall_usd(UNKNOWN_BALANCE, reading("100")) is None
    assert balance_fall_usd(reading("100"), UNKNOWN_BALANCE) is None


def test_balances_of_two_accounts_are_not_compared():
    with pytest.raises(ValueError, match="two accounts, 4f1c and 9ab0: compare two readings of one account"):
        balance_fall_usd(reading("100"), reading("50", "9ab0"))


def available(**known: object) -> AvailableCredits:
    """$100 of which $60 and a fraction are available, and what else is known."""
    balance = AccountBalance("4f1c5a9e77", Decimal(10_000), NOW)
    default = {"available_usd": Decimal("59.995"), "reserved_usd": Decimal("40.005"), "reserved_runs": 2}
    return AvailableCredits(balance, **{**default, **known})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "reserved"),
    [
        ({}, "of which 2 runs have reserved $40.01"),
        ({"reservation_id": "r1"}, "of which 2 runs had already reserved $40.01"),
        ({"reserved_runs": 1}, "of which 1 run has reserved $40.01"),
        ({"reserved_runs": 1, "reservation_id": "r1"}, "of which 1 run had already reserved $40.01"),
        ({"own_run_usd": Decimal("5.001")}, "of which 2 runs have reserved $40.01, $5.01 of it this run"),
        ({"own_run_usd": Decimal("40.005")}, "of which this run has reserved $40.01"),
        (
            {"own_run_usd": Decimal("40.005"), "reservation_id": "r1"},
            "of which this run had already reserved $40.01",
        ),
        ({"reserved_usd": Decimal(0)}, "nothing reserved"),
        ({"reserved_usd": Decimal(0), "reservation_id": "r1"}, "nothing else reserved"),
        ({"reserved_usd": Decimal(1)}, "of which 2 runs have reserved $1.00"),
    ],
)
def test_a_line_of_the_log_tells_how_much_is_reserved_and_by_how_many_runs(
    known: dict[str, object], reserved: str
):
    found = available(**known)
    assert found.sentence == f"The balance is $100.00, {reserved} (account 4f1c5a9e…)."
    assert str(found) == f"You.com account 4f1c5a9e77 holds $100.00, {reserved}"


@pytest.mark.parametrize(
    ("known", "in_line"),
    [
        ({}, ""),
        ({"place": 3}, " Place 3 in line."),
        (
            {"held_usd": Decimal("7.001"), "held_for": "run monday of DAG research"},
            " $7.01 is held for run monday of DAG research.",
        ),
        (
            {"place": 2, "held_usd": Decimal(7), "held_for": "run monday of DAG research"},
            " Place 2 in line; $7.00 is held for run monday of DAG research.",
        ),
    ],
)
def test_a_line_of_the_log_tells_the_place_in_line_and_whom_credits_are_held_for(
    known: dict[str, object], in_line: str
):
    assert available(**known).sentence.partition("…).")[2] == in_line


def test_what_is_missing_is_told_apart_from_what_is_held_for_others():
    held = available(held_usd=Decimal("50.5"), held_for="another run")
    assert held.not_held_usd == Decimal("9.495")
    assert held.describe_shortfall(Decimal("70.001")) == "$10.01 short of $70.01"
    enough = "there is enough for $60.00, but it is held for others"
    assert held.describe_shortfall(Decimal("59.995")) == enough
    assert held.describe_shortfall(Decimal("59.996")) == "$0.01 short of $60.00"


def test_nothing_is_held_and_nothing_is_of_the_own_run_unless_that_is_known():
    found = available()
    assert (found.not_held_usd, found.own_run_usd, found.held_usd) == (found.available_usd, 0, 0)


def test_the_credits_that_xcom_carries_have_the_balance_and_both_amounts():
    found = available()
    assert json.loads(json.dumps(found.to_json())) == {
        **found.balance.to_json(),
        "reserved_usd": 40.005,
        "available_usd": 59.995,
    }


@pytest.mark.parametrize(
    ("account_id", "short"), [("4f1c", "4f1c"), ("4f1c5a9e", "4f1c5a9e"), ("4f1c5a9e7", "4f1c5a9e…")]
)
def test_a_line_of_the_log_has_the_beginning_of_a_long_account_id(account_id: str, short: str):
    balance = AccountBalance(account_id, Decimal(250), NOW)
    assert balance.short_account_id == short
    assert balance.sentence == f"The balance is $2.50 (account {short})."


@pytest.mark.parametrize("value", [available(), available().balance], ids=["available", "balance"])
def test_a_balance_cannot_be_changed_since_threads_share_it(value: object):
    with pytest.raises(FrozenInstanceError):
        value.balance = None  # type: ignore[attr-defined]
