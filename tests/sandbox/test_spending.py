"""A key's spending cap: at the cap You.com refuses the key, whatever the account holds."""

from __future__ import annotations

from decimal import Decimal

import pytest
import requests

from airflow_provider_youcom.sandbox import BALANCE_PATH, RESEARCH_PATH, Fault, Sandbox

pytestmark = pytest.mark.only_in_test


def ask(sandbox: Sandbox, key: str | None = None) -> requests.Response:
    headers = {"X-API-Key": key or sandbox.api_key}
    return requests.get(sandbox.base_url + BALANCE_PATH, headers=headers, timeout=60)


def research(sandbox: Sandbox, key: str | None = None) -> requests.Response:
    return requests.post(
        sandbox.base_url + RESEARCH_PATH,
        json={"input": "tides", "research_effort": "deep"},
        headers={"X-API-Key": key or sandbox.api_key},
        timeout=60,
    )


def is_refused_at_its_cap(answer: requests.Response) -> bool:
    return (
        answer.status_code == 429
        and answer.json()["code"] == "spend_cap_exceeded"
        and isinstance(answer.json()["detail"], str)
        and "Retry-After" not in answer.headers
    )


def test_at_its_cap_a_key_is_refused_although_the_account_holds_plenty():
    with Sandbox(100, spending_cap_usd="0.20") as sandbox:
        assert [research(sandbox).status_code for _ in range(2)] == [200, 200]
        assert is_refused_at_its_cap(research(sandbox))
        assert is_refused_at_its_cap(ask(sandbox))
        assert not sandbox.spend("0.01")
        assert (sandbox.balance_usd(), sandbox.spent_usd()) == (Decimal("99.8"), Decimal("0.2"))
        assert sandbox.refused_count == 2


def test_a_charge_that_would_pass_the_cap_is_refused_and_a_smaller_one_is_not(sandbox: Sandbox):
    sandbox.set_spending_cap(10)
    assert not sandbox.spend("10.01")
    assert ask(sandbox).status_code == 200
    assert sandbox.spend("9.99")
    assert is_refused_at_its_cap(research(sandbox))
    assert ask(sandbox).status_code == 200
    assert sandbox.spend("0.01")
    assert is_refused_at_its_cap(ask(sandbox))


def test_a_cap_that_is_raised_or_removed_lets_the_key_spend_again(sandbox: Sandbox):
    sandbox.spend(5)
    sandbox.set_spending_cap(5)
    assert is_refused_at_its_cap(ask(sandbox))
    sandbox.set_spending_cap("5.50")
    assert ask(sandbox).status_code == 200
    assert sandbox.spend("0.5")
    sandbox.set_spending_cap(None)
    assert sandbox.spend(90)
    assert ask(sandbox).status_code == 200


def test_neither_a_top_up_nor_a_new_balance_changes_what_a_key_may_spend(sandbox: Sandbox):
    sandbox.set_spending_cap(1)
    sandbox.spend(1)
    sandbox.top_up(1000)
    assert is_refused_at_its_cap(ask(sandbox))
    sandbox.set_balance(1000)
    assert is_refused_at_its_cap(ask(sandbox))


def test_a_cap_of_nothing_refuses_each_request(sandbox: Sandbox):
    sandbox.set_spending_cap(0)
    assert is_refused_at_its_cap(ask(sandbox))
    assert not sandbox.spend(0)


def test_a_cap_is_of_one_key_also_if_another_pays_from_the_same_account(sandbox: Sandbox):
    sandbox.accounts["second-key"] = sandbox.accounts[sandbox.api_key]
    sandbox.set_spending_cap(0)
    assert is_refused_at_its_cap(research(sandbox))
    assert research(sandbox, "second-key").status_code == 200
    assert sandbox.balance_usd() == Decimal("99.9")
    assert [sandbox.spent_usd(), sandbox.spent_usd("second-key")] == [0, Decimal("0.1")]


def test_a_key_without_the_scope_is_told_so_first_and_an_empty_account_last(sandbox: Sandbox):
    sandbox.set_spending_cap(1)
    sandbox.set_balance("0.5")
    sandbox.spend("0.5")
    assert research(sandbox).status_code == 402
    sandbox.set_spending_cap("0.5")
    assert is_refused_at_its_cap(research(sandbox))
    sandbox.accounts[sandbox.api_key].has_billing_scope = False
    assert ask(sandbox).status_code == 403


def test_a_fault_can_change_how_the_cap_is_told(sandbox: Sandbox):
    sandbox.set_spending_cap(0)
    sandbox.inject(Fault(body='{"error": {"code": "spend_cap_exceeded"}}'))
    assert (ask(sandbox).status_code, ask(sandbox).json()["code"]) == (429, "spend_cap_exceeded")


def test_it_is_set_raised_seen_and_removed_over_http(sandbox: Sandbox):
    def control(command: str, **request: object) -> requests.Response:
        return requests.post(f"{sandbox.base_url}/sandbox/{command}", json=request, timeout=60)

    def account() -> tuple[str, str | None]:
        (state,) = requests.get(f"{sandbox.base_url}/sandbox", timeout=60).json()["accounts"]
        return state["spent"], state["spending_cap"]

    assert account() == ("$0.00", None)
    assert control("spending-cap", usd="5").json()["accounts"][0]["spending_cap"] == "$5.00"
    assert control("spend", usd=5).status_code == 200
    assert account() == ("$5.00", "$5.00")
    assert is_refused_at_its_cap(control("spend", usd="0.01"))
    control("spending-cap", usd=6)
    assert control("spend", usd="0.01").status_code == 200
    control("spending-cap", usd=None, api_key=sandbox.api_key)
    assert account() == ("$5.01", None)
    assert control("spending-cap").status_code == 400
    assert control("spending-cap", usd="much").status_code == 400


@pytest.mark.parametrize("cap", [-1, "nan", True, 10**13, "much"])
def test_a_cap_that_is_not_an_amount_is_refused(cap: object, sandbox: Sandbox):
    with pytest.raises(ValueError, match="usd"):
        sandbox.set_spending_cap(cap)
    with pytest.raises(ValueError, match="usd"):
        Sandbox(spending_cap_usd=cap)
