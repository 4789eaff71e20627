from __future__ import annotations

from decimal import Decimal
from email.utils import formatdate

import pytest

from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComRefusedError, YouComUnavailableError
from airflow_provider_youcom.sandbox import Fault, Sandbox

pytestmark = pytest.mark.on_the_ends


def client(sandbox: Sandbox, **options: object) -> BillingClient:
    return BillingClient(sandbox.api_key, sandbox.base_url, **options)  # type: ignore[arg-type]


def test_the_balance_is_what_the_account_holds(sandbox: Sandbox):
    sandbox.set_balance("7189.245")
    balance = client(sandbox).get_balance()
    assert balance.balance_cents == Decimal("718924.5")
    assert balance.account_id == sandbox.accounts[sandbox.api_key].account_id


def test_a_warm_client_keeps_its_connection(sandbox: Sandbox):
    warm = client(sandbox)
    for _ in range(3):
        warm.get_balance()
    assert sandbox.request_count == 3
    assert sandbox.connection_count == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again_within_the_call(sandbox: Sandbox, status: int):
    sandbox.inject(Fault(status=status), times=2)
    assert client(sandbox).get_balance().balance_cents == 10_000
    assert sandbox.request_count == 3


def test_a_lasting_failure_is_unavailable_after_the_retries(sandbox: Sandbox):
    sandbox.inject(Fault(status=503, body='{"detail": "Maintenance"}'), times=None)
    with pytest.raises(YouComUnavailableError, match='HTTP 503, "Maintenance"') as caught:
        client(sandbox, retries=1).get_balance()
    assert (caught.value.status_code, caught.value.detail) == (503, "Maintenance")
    assert sandbox.request_count == 2


def test_no_retries_means_one_request(sandbox: Sandbox):
    sandbox.inject(Fault(status=503), times=None)
    with pytest.raises(YouComUnavailableError):
        client(sandbox, retries=0).get_balance()
    assert sandbox.request_count == 1


def test_a_short_retry_after_is_waited_for_within_the_call(sandbox: Sandbox):
    sandbox.inject(Fault(status=429, headers={"Retry-After": "1"}))
    assert client(sandbox).get_balance().balance_cents == 10_000


@pytest.mark.parametrize("retry_after", ["3600", formatdate(usegmt=True, timeval=4102444800)])
def test_a_long_retry_after_is_left_to_the_caller(sandbox: Sandbox, retry_after: str):
    sandbox.inject(Fault(status=429, headers={"Retry-After": retry_after}))
    with pytest.raises(YouComUnavailableError, match=r"\(HTTP 429\) and asks to wait \d+ s; this") as caught:
        client(sandbox).get_balance()
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 3000
    assert sandbox.request_count == 1


@pytest.mark.parametrize("retry_after", ["soon", "-5", "", "9" * 400])
def test_an_invalid_retry_after_is_ignored(sandbox: Sandbox, retry_after: str):
    sandbox.inject(Fault(status=503, headers={"Retry-After": retry_after}), times=None)
    with pytest.raises(YouComUnavailableError):
        client(sandbox, timeout=3).get_balance()


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "check the connection"),
        (401, "create a key at https://you.com/platform"),
        (402, "top up the account"),
        (403, "give the key the billing scope"),
        (404, "check that the Base URL is You.com's"),
        (418, "check the connection"),
    ],
)
def test_a_refusal_names_the_key_and_the_remedy_and_is_not_tried_again(
    sandbox: Sandbox, status: int, remedy: str
):
    sandbox.inject(Fault(status=status), times=None)
    with pytest.raises(YouComRefusedError, match=remedy) as caught:
        client(sandbox, conn_name="connection 'research'").get_balance()
    assert "connection 'research'" in str(caught.value)
    assert caught.value.status_code == status
    assert sandbox.request_count == 1


def test_a_wrong_key_and_a_missing_scope_are_refused_in_you_coms_words(sandbox: Sandbox):
    with pytest.raises(YouComRefusedError, match='HTTP 401, "Invalid or missing API key"'):
        BillingClient("another-key", sandbox.base_url).get_balance()
    sandbox.accounts[sandbox.api_key].has_billing_scope = False
    with pytest.raises(YouComRefusedError, match='HTTP 403, "API key lacks scope'):
        client(sandbox).get_balance()


def test_you_coms_words_never_repeat_the_key(sandbox: Sandbox):
    sandbox.inject(Fault(status=401, body='{"detail": "sandbox-key is\\nnot known"}'))
    with pytest.raises(YouComRefusedError) as caught:
        client(sandbox).get_balance()
    assert caught.value.detail == "*** is not known"


@pytest.mark.parametrize("cut", ["before", "inside"])
def test_an_answer_cut_short_is_unavailable(sandbox: Sandbox, cut: str):
    sandbox.inject(Fault(cut=cut), times=None)  # type: ignore[arg-type]
    with pytest.raises(YouComUnavailableError, match="the connection was cut"):
        client(sandbox, retries=0).get_balance()


def test_a_client_whose_call_ran_out_of_time_can_be_asked_again(sandbox: Sandbox):
    asked = client(sandbox, timeout=1)
    sandbox.inject(Fault(drip=0.2))
    with pytest.raises(YouComUnavailableError, match="nothing complete within 1 s"):
        asked.get_balance()
    assert asked.get_balance().balance_cents == 10_000


def test_a_port_on_which_nobody_listens_is_unavailable(sandbox: Sandbox):
    sandbox.stop()
    with pytest.raises(YouComUnavailableError, match="the connection was refused"):
        client(sandbox, retries=0).get_balance()


def test_a_host_that_cannot_exist_is_refused_because_waiting_does_not_help():
    with pytest.raises(YouComRefusedError, match="is not a URL"):
        BillingClient("key", "https://a..b", retries=0).get_balance()


def test_a_missing_ca_file_is_refused_because_waiting_does_not_help(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(YouComRefusedError, match="The CA file for https://api.you.com cannot be read"):
        BillingClient("key", retries=0).get_balance()
