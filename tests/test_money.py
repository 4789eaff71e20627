"""Amounts that are neither an ``int`` nor a ``float``, as tasks compute them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_youcom.money import parse_usd
from airflow_provider_youcom.sandbox import Sandbox
from airflow_provider_youcom.sensors.balance import BalanceSensor

pytestmark = pytest.mark.on_the_ends


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
