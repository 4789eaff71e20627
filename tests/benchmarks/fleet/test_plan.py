"""The account is topped up as often as the runs need, and the ideal schedule is right."""

from __future__ import annotations

from decimal import Decimal

import pytest

from benchmarks.fleet.plan import Plan, ideal_ends

pytestmark = pytest.mark.only_in_test


def test_the_ideal_schedule_starts_each_run_once_the_account_can_pay_for_it():
    costs_usd = [Decimal(15)] * 7
    assert ideal_ends(costs_usd, Decimal(45), 10, 2) == [2, 2, 2, 12, 12, 12, 22]


def test_the_ideal_schedule_starts_the_cheapest_run_first():
    costs_usd = [Decimal(90), Decimal(5), Decimal(40)]
    assert ideal_ends(costs_usd, Decimal(45), 10, 2) == [2, 2, 22]


def test_the_account_is_topped_up_until_it_can_pay_for_all_runs():
    assert (
        Plan(runs=100, payments=3, payment_usd=Decimal(5), top_up_usd=Decimal(45)).top_ups("fleet_reserving")
        == 34
    )


def test_a_large_run_joins_first_in_the_arm_with_mixed_sizes():
    plan = Plan(runs=2, payments=3, payment_usd=Decimal(5), large_run_usd=Decimal(120), top_up_seconds=20)
    assert plan.costs_usd("fleet_mixed") == [120, 15, 15]
    assert plan.large_payment_usd == 40
    assert (plan.top_ups("fleet_mixed"), plan.last_top_up("fleet_mixed")) == (4, 60)
