"""Amounts: exact in any context, rounded only for display, and read from whatever tasks compute."""

from __future__ import annotations

import decimal
import sys
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_youcom import money
from airflow_provider_youcom.money import (
    add_exactly,
    cents_to_usd,
    describe_shortfall,
    format_usd,
    is_amount,
    json_number,
    multiply_usd,
    parse_usd,
    plain_text,
    subtract_usd,
    usd_to_cents,
)
from airflow_provider_youcom.sandbox import Sandbox
from airflow_provider_youcom.sensors.balance import BalanceSensor

pytestmark = pytest.mark.on_the_ends

LONG = Decimal("1" * 200 + "." + "3" * 200)


@pytest.fixture
def a_context_that_rounds() -> Iterator[None]:
    """The context of a caller that keeps two digits, and traps whatever loses one."""
    traps = [decimal.Inexact, decimal.Rounded, decimal.FloatOperation]
    with decimal.localcontext(decimal.Context(prec=2, Emin=-1, Emax=1, traps=traps)):
        yield


@pytest.mark.usefixtures("a_context_that_rounds")
def test_figures_are_exact_whatever_the_context_of_the_caller():
    one = Decimal(1)
    assert str(add_exactly(LONG, one, LONG.copy_negate(), one)).rstrip("0") == "2."
    assert str(subtract_usd(LONG, one)) == "1" * 199 + "0." + "3" * 200
    assert str(multiply_usd(LONG, Decimal(3))) == "3" * 200 + "." + "9" * 200
    assert str(cents_to_usd(Decimal("12345.678"))) == "123.45678"
    assert str(usd_to_cents(Decimal("123.45678"))) == "12345.67800"
    assert add_exactly() == 0


def test_a_context_takes_nothing_from_the_default_that_a_program_may_have_changed(
    monkeypatch: pytest.MonkeyPatch,
):
    for name, value in {"Emin": -2, "Emax": 2, "rounding": decimal.ROUND_DOWN}.items():
        monkeypatch.setattr(decimal.DefaultContext, name, value)
    monkeypatch.setattr(decimal.DefaultContext, "traps", dict.fromkeys(decimal.DefaultContext.traps, True))
    context = money._context(28)
    assert (context.prec, context.rounding) == (28, decimal.ROUND_CEILING)
    assert (context.Emin, context.Emax) == (decimal.MIN_EMIN, decimal.MAX_EMAX)
    trapped = {signal for signal, is_trapped in context.traps.items() if is_trapped}
    assert trapped == {decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow}


@pytest.mark.usefixtures("a_context_that_rounds")
@pytest.mark.parametrize(
    ("amount", "down", "up"),
    [
        ("1234567.899", "$1,234,567.89", "$1,234,567.90"),
        ("-0.001", "-$0.01", "$0.00"),
        ("0.009", "$0.00", "$0.01"),
        ("-1234.5", "-$1,234.50", "-$1,234.50"),
    ],
)
def test_an_amount_is_shown_in_whole_cents_rounded_down_or_up(amount: str, down: str, up: str):
    assert format_usd(Decimal(amount)) == down
    assert format_usd(Decimal(amount), decimal.ROUND_CEILING) == up


@pytest.mark.usefixtures("a_context_that_rounds")
def test_a_shortfall_is_rounded_up_so_that_topping_up_by_it_is_enough():
    assert describe_shortfall(Decimal("3.209"), Decimal("24.991")) == "$21.79 short of $25.00"


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1E+3", "1000"), ("7.50", "7.5"), ("7.00", "7"), ("100", "100"), ("1E-8", "0.00000001"), ("0.0", "0")],
)
def test_the_text_of_an_amount_has_no_exponent_and_no_trailing_zeros(amount: str, text: str):
    assert plain_text(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amount", "number"),
    [
        (Decimal("7.0"), 7),
        (Decimal("7.25"), 7.25),
        (Decimal(-3), -3),
        (Decimal(2**53 - 1), 2**53 - 1),
        (Decimal(2**53), float(2**53)),
        (Decimal(-(2**53)), -float(2**53)),
    ],
)
def test_a_number_in_json_is_an_int_if_every_reader_agrees_on_it(amount: Decimal, number: float):
    assert (json_number(amount), type(json_number(amount))) == (number, type(number))


LARGEST = Decimal(int(sys.float_info.max))


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        (LARGEST, True),
        (LARGEST.copy_negate(), True),
        (Decimal(int(LARGEST) + 1), False),
        (Decimal(-int(LARGEST) - 1), False),
        (Decimal("1E+308"), True),
        (Decimal("1E+309"), False),
        (Decimal("0E+309"), False),
        (Decimal("1E-1074"), True),
        (Decimal("1E-1075"), False),
        (Decimal("NaN"), False),
        (Decimal("sNaN"), False),
        (Decimal("-Infinity"), False),
    ],
)
def test_an_amount_is_finite_and_within_the_range_of_a_double(value: Decimal, is_one: bool):
    assert is_amount(value) is is_one


@pytest.mark.parametrize(
    ("written", "dollars"), [(" 7.50 ", "7.50"), (7, "7"), (0.1, "0.1"), (Decimal("1E+2"), "1E+2")]
)
def test_an_amount_is_read_as_it_was_written(written: object, dollars: str):
    assert str(parse_usd(written, "min_usd")) == dollars


@pytest.mark.parametrize(
    "amount", [True, None, "", "seven", [7], -1, "-0.01", "nan", "1E+400", float("inf"), 1j]
)
def test_what_is_not_an_amount_is_refused_by_its_name(amount: object):
    with pytest.raises(ValueError, match="^min_usd=") as refused:
        parse_usd(amount, "min_usd")
    what_to_do = 'is not an amount in dollars: use a finite number, 0 or more, such as 25 or "7.50".'
    assert str(refused.value) == f"min_usd={amount!r} {what_to_do}"


def test_a_long_value_is_cut_in_the_error_and_a_huge_one_is_named():
    with pytest.raises(ValueError, match=r"^min_usd='x{56}\.\.\. is not an amount"):
        parse_usd("x" * 59, "min_usd")
    with pytest.raises(ValueError, match=r"^min_usd='x{58}' is not an amount"):
        parse_usd("x" * 58, "min_usd")
    with pytest.raises(ValueError, match="^min_usd=a huge int is not an amount"):
        parse_usd(-(10**5000), "min_usd")


@pytest.mark.parametrize(
    ("amount", "dollars"),
    [
        (Fraction(25), "25"),
        (Fraction(15, 2), "7.5"),
        (Fraction(1, 3), "0.3333333333333333333333333334"),
        (Fraction(1, 10**30), "1E-30"),
    ],
)
def test_a_fraction_is_exact_or_rounded_up(amount: Fraction, dollars: str):
    assert parse_usd(amount, "min_usd") == Decimal(dollars)


@pytest.mark.parametrize(
    ("kind", "given", "dollars"),
    [
        ("int64", 25, "25"),
        ("uint8", 5, "5"),
        ("float16", 0.1, "0.1"),
        ("float32", 0.1, "0.1"),
        ("float64", 0.5, "0.5"),
        ("longdouble", "0.1", "0.1"),
        ("str_", "7.50", "7.50"),
    ],
)
def test_a_numpy_number_is_read_as_it_is_printed(kind: str, given: object, dollars: str):
    assert parse_usd(numpy_scalar(kind, given), "min_usd") == Decimal(dollars)


@pytest.mark.parametrize(
    ("kind", "given"),
    [("int64", -1), ("float64", "nan"), ("float32", "inf"), ("bool_", True), ("complex128", 5)],
)
def test_a_numpy_value_that_is_not_an_amount_is_refused(kind: str, given: object):
    with pytest.raises(ValueError, match="is not an amount in dollars"):
        parse_usd(numpy_scalar(kind, given), "min_usd")


def test_a_number_from_a_pandas_series_is_an_amount():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    assert parse_usd(pandas.Series([7, 25]).max(), "min_usd") == 25
    with pytest.raises(ValueError, match="is not an amount in dollars"):
        parse_usd(pandas.NA, "min_usd")


@pytest.mark.parametrize("deferrable", [False, True])
def test_another_tasks_fraction_is_a_threshold_in_each_mode(deferrable: bool, sandbox: Sandbox):
    check_threshold(Fraction(15, 2), deferrable)


@pytest.mark.parametrize("deferrable", [False, True])
def test_another_tasks_numpy_number_is_a_threshold_in_each_mode(deferrable: bool, sandbox: Sandbox):
    check_threshold(numpy_scalar("float32", 7.5), deferrable)


def check_threshold(min_usd: Any, deferrable: bool) -> None:
    gate = BalanceSensor(task_id="gate", min_usd=1, deferrable=deferrable)
    # As Airflow does when it has pulled the other task's output.
    gate.min_usd = min_usd
    assert gate.execute({})["balance_usd"] == 100
    gate.min_usd = min_usd * 100
    gate.timeout = 0
    if deferrable:
        with pytest.raises(TaskDeferred) as deferred:
            gate.execute({})
        assert Decimal(deferred.value.trigger.serialize()[1]["min_usd"]) == 750
    else:
        with pytest.raises(Exception, match=r"\$650.00 short of \$750.00"):
            gate.execute({})


def numpy_scalar(kind: str, given: object) -> Any:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    return getattr(numpy, kind)(given)
