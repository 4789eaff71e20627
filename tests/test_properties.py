"""What must hold for every value, tested with values that Hypothesis generates."""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import isinf
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pytest
from airflow.models.trigger import Trigger
from airflow.providers.common.compat.sdk import Connection
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.billing._answer import read_balance
from airflow_provider_youcom.exceptions import (
    YouComRefusedError,
    YouComResponseError,
    YouComUnavailableError,
)
from airflow_provider_youcom.gate import Action, CreditGate, Reading, Verdict, judge
from airflow_provider_youcom.hooks._connection import read_connection
from airflow_provider_youcom.money import format_usd, is_amount, parse_usd
from airflow_provider_youcom.sensors.balance import BalanceSensor
from airflow_provider_youcom.triggers.balance import BalanceTrigger

pytestmark = [pytest.mark.long, pytest.mark.on_the_ends]

# The same values in every run, and no deadline, since the machine may be busy.
settings.register_profile("youcom", derandomize=True, deadline=None, max_examples=200)
settings.load_profile("youcom")

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONTRACT = {"data": {"type": "account", "id": "4f1c", "attributes": {"balance": 718924.5}}}
TRIGGER_OPTIONS = tuple(BalanceTrigger().serialize()[1])

numbers = st.integers(-(10**400), 10**400) | st.floats()
# Airflow 3.0 and 3.1 store an infinity as text.
finite_floats = st.floats(allow_nan=False, allow_infinity=False)
stored_values = st.none() | st.booleans() | st.integers() | finite_floats | st.text()
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
number_literals = st.from_regex(
    r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?", fullmatch=True
)
amounts = st.decimals(allow_nan=False, allow_infinity=False).filter(is_amount)
ids = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)
balances = st.builds(AccountBalance, account_id=ids, balance_cents=amounts, checked_at=st.just(NOON))
errors = st.builds(
    lambda kind, message, status, detail: kind(message, status_code=status, detail=detail),
    st.sampled_from([YouComUnavailableError, YouComRefusedError, YouComResponseError]),
    st.text(),
    st.none() | st.integers(100, 999),
    st.none() | st.text(),
)
readings = balances | errors
gates = st.builds(
    CreditGate,
    amounts.map(abs),
    st.sampled_from(["wait", "fail", "skip"]),
    st.sampled_from(["wait", "fail", "pass"]),
)


def outcome(attempt: Callable[[], T], failure: type[E]) -> T | E:
    try:
        return attempt()
    except failure as error:
        return error


def read(body: bytes) -> AccountBalance | YouComResponseError:
    return outcome(lambda: read_balance(body, NOON), YouComResponseError)


def is_one_sentence(text: str) -> bool:
    return text.isprintable() and text.endswith(".") and len(text) < 400


@st.composite
def nearly_the_contract(draw: st.DrawFn) -> dict[str, Any]:
    """The contract's answer with one member missing, replaced or added."""
    document: dict[str, Any] = json.loads(json.dumps(CONTRACT))
    data = document["data"]
    parent = draw(st.sampled_from([document, data, data["attributes"]]))
    name = draw(st.sampled_from(list(parent)) | st.text())
    if draw(st.booleans()):
        parent.pop(name, None)
    else:
        parent[name] = draw(json_values)
    return document


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_leads_to_a_balance_or_to_an_error_in_one_sentence(body: bytes) -> None:
    answer = read(body)
    assert isinstance(answer, YouComResponseError)
    assert is_one_sentence(str(answer))


@given(nearly_the_contract())
def test_a_body_near_the_contract_is_read_exactly_or_is_an_error(document: dict[str, Any]) -> None:
    answer = read(json.dumps(document).encode())
    if isinstance(answer, YouComResponseError):
        assert is_one_sentence(str(answer))
        return
    assert answer.account_id.isprintable()
    assert answer.balance_cents == Decimal(str(document["data"]["attributes"]["balance"]))


@given(number_literals)
def test_a_number_is_read_exactly_unless_a_double_cannot_hold_it(literal: str) -> None:
    answer = read(json.dumps(CONTRACT).replace("718924.5", literal).encode())
    if isinstance(answer, YouComResponseError):
        assert isinf(float(literal)) or Decimal(literal).as_tuple().exponent not in range(-1074, 309)
        return
    assert Fraction(answer.balance_cents) == Fraction(literal)
    assert Fraction(answer.balance_usd) * 100 == Fraction(literal)


@given(number_literals)
def test_a_balance_is_plain_json_for_every_reader(literal: str) -> None:
    answer = read(json.dumps(CONTRACT).replace("718924.5", literal).encode())
    if isinstance(answer, AccountBalance):
        carried = json.loads(json.dumps(answer.to_json(), allow_nan=False))
        assert carried["balance_cents"] == pytest.approx(float(literal))


@given(amounts, st.integers(1, 60))
def test_money_is_shown_to_the_cent_below_in_every_decimal_context(amount: Decimal, precision: int) -> None:
    with decimal.localcontext(prec=precision, rounding=decimal.ROUND_UP):
        shown = format_usd(amount)
    sign = -1 if shown.startswith("-") else 1
    digits = shown.removeprefix("-").removeprefix("$").replace(",", "")
    assert 0 <= Fraction(amount) - sign * Fraction(digits) < Fraction(1, 100)


@given(balances, amounts.map(abs), st.integers(1, 60))
def test_a_gate_opens_exactly_when_the_balance_reaches_its_minimum(
    balance: AccountBalance, least: Decimal, precision: int
) -> None:
    with decimal.localcontext(prec=precision):
        verdict = CreditGate(least).judge(balance)
    enough = Fraction(balance.balance_cents) / 100 >= Fraction(least)
    assert verdict.action is (Action.OPEN if enough else Action.WAIT)


@given(gates, readings)
def test_a_verdict_is_the_same_each_time_and_survives_the_way_to_the_worker(
    gate: CreditGate, reading: Reading
) -> None:
    verdict = gate.judge(reading)
    assert gate.judge(reading) == verdict
    arrived = Verdict.from_event(json.loads(json.dumps(verdict.to_event(), allow_nan=False)))
    assert arrived.to_event() == verdict.to_event()
    assert (arrived.action, arrived.reason, arrived.xcom) == (verdict.action, verdict.reason, verdict.xcom)
    assert type(arrived.error) is type(verdict.error)


@given(json_values | st.decimals() | st.just(10**5000) | st.just(-(10**5000)))
def test_a_minimum_is_taken_exactly_or_refused_in_one_sentence(min_usd: object) -> None:
    dollars = outcome(lambda: parse_usd(min_usd, "min_usd"), ValueError)
    if isinstance(dollars, ValueError):
        assert is_one_sentence(str(dollars))
        assert str(dollars).startswith("min_usd=")
        return
    assert dollars >= 0
    assert Fraction(dollars) == Fraction(Decimal(str(min_usd).strip()))


@given(json_values, json_values, json_values, readings)
def test_judging_by_whatever_a_template_rendered_never_raises(
    min_usd: object, on_shortfall: Any, on_unavailable: Any, reading: Reading
) -> None:
    verdict = judge(reading, min_usd=min_usd, on_shortfall=on_shortfall, on_unavailable=on_unavailable)
    assert isinstance(verdict, Verdict)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(TRIGGER_OPTIONS, json_values)))
def test_constructing_a_trigger_never_raises_because_that_would_end_the_triggerer(
    kwargs: dict[str, Any],
) -> None:
    trigger = BalanceTrigger(**kwargs)
    hash(trigger.shared_stream_key())
    given_back = trigger.serialize()[1]
    assert all(given_back[name] is value for name, value in kwargs.items())


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(TRIGGER_OPTIONS, stored_values)))
def test_a_trigger_is_unchanged_after_its_way_through_the_database(kwargs: dict[str, Any]) -> None:
    trigger = BalanceTrigger(**kwargs)
    stored = Trigger.from_object(trigger)
    again = BalanceTrigger(**stored.kwargs)
    assert again.serialize() == trigger.serialize() == (stored.classpath, stored.kwargs)


@given(st.integers(0, 10**300) | amounts.map(abs) | st.floats(0, allow_nan=False, allow_infinity=False))
def test_a_deferred_gate_has_the_exact_minimum_of_its_task(min_usd: Any) -> None:
    sensor = BalanceSensor(task_id="gate", min_usd=min_usd, deferrable=True, start_from_trigger=True)
    start = sensor.start_trigger_args
    assert start is not None
    assert start.trigger_kwargs is not None
    arrived = BalanceTrigger(**Trigger(start.trigger_cls, start.trigger_kwargs).kwargs)
    assert CreditGate(arrived.min_usd).min_usd == CreditGate(min_usd).min_usd


connection_texts = st.none() | st.text() | st.sampled_from(["key", "https", "http://127.0.0.1", "[::1]:1/v1"])
fields = {
    "password": connection_texts | json_values,
    "host": connection_texts | json_values,
    "schema": connection_texts | json_values,
    "login": connection_texts | json_values,
    "port": st.integers(0, 99999) | json_values,
    "extra": st.fixed_dictionaries({"timeout": json_values, "retries": json_values}).map(json.dumps)
    | json_values.map(json.dumps)
    | json_values
    | st.text(),
    "description": json_values,
}


@given(st.fixed_dictionaries({}, optional=fields))
def test_a_connection_makes_a_client_or_is_refused_in_one_sentence(connection: dict[str, object]) -> None:
    stored = SimpleNamespace(**{**dict.fromkeys(fields), **connection})
    client = outcome(lambda: read_connection(cast(Connection, stored), "c").client, YouComRefusedError)
    if isinstance(client, YouComRefusedError):
        assert is_one_sentence(str(client))
        return
    assert 1 <= client.timeout <= 600
