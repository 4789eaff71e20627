from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from decimal import Decimal
from email.utils import formatdate

import pytest

from airflow_provider_youcom import __version__
from airflow_provider_youcom.client import BillingClient
from airflow_provider_youcom.exceptions import (
    YouComError,
    YouComRefusedError,
    YouComResponseError,
    YouComUnavailableError,
)
from airflow_provider_youcom.sandbox import Fault, Sandbox


class Recorder:
    """A server that keeps the headers of what it is asked."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.connects: list[str] = []
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                recorder.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def do_CONNECT(self) -> None:
                recorder.connects.append(self.path)
                recorder.headers.append(dict(self.headers.items()))
                self.send_error(403)

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.server.shutdown()
    recorder.server.server_close()


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


def test_a_failure_that_stays_is_unavailable_after_the_retries(sandbox: Sandbox):
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
    with pytest.raises(YouComUnavailableError, match=r"try again in \d+ s, as it asks") as caught:
        client(sandbox).get_balance()
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 3000
    assert sandbox.request_count == 1


@pytest.mark.parametrize("retry_after", ["soon", "-5", "", "9" * 400])
def test_a_retry_after_that_says_nothing_is_ignored(sandbox: Sandbox, retry_after: str):
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
        client(sandbox, key_name="connection 'research'").get_balance()
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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_the_key_goes_nowhere(sandbox: Sandbox, recorder: Recorder, status: int):
    sandbox.inject(Fault(status=status, headers={"Location": recorder.url}))
    with pytest.raises(YouComRefusedError, match="redirects"):
        client(sandbox).get_balance()
    sandbox.inject(Fault(status=status, headers={"Location": recorder.url}))
    asked = client(sandbox).session.get(f"{sandbox.base_url}/v1/billing/account_balance")
    assert asked.status_code == status
    assert recorder.headers == []


def test_the_session_sends_the_key_to_its_own_origin_only(sandbox: Sandbox, recorder: Recorder):
    session = client(sandbox).session
    assert session.get(f"{sandbox.base_url}/v1/billing/account_balance").status_code == 200
    assert session.get(recorder.url).status_code == 200
    assert "x-api-key" not in recorder.headers[0]
    assert "sandbox-key" not in str(recorder.headers)


def test_the_request_says_who_asks_and_wants_plain_json(recorder: Recorder):
    with pytest.raises(YouComResponseError):
        BillingClient("sandbox-key", recorder.url).get_balance()
    sent = recorder.headers[0]
    assert sent["x-api-key"] == "sandbox-key"
    assert sent["user-agent"] == f"airflow-provider-youcom/{__version__}"
    assert (sent["accept"], sent["accept-encoding"]) == ("application/json", "identity")


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


def test_nobody_listening_is_unavailable(sandbox: Sandbox):
    sandbox.stop()
    with pytest.raises(YouComUnavailableError, match="the connection was refused"):
        client(sandbox, retries=0).get_balance()


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.you.com",
        "https://api.you.com:8443/gateway/",
        "http://127.0.0.1:1",
        "http://localhost",
        "http://[::1]:5",
    ],
)
def test_https_anywhere_and_http_on_this_machine_are_fit_for_a_key(base_url: str):
    assert BillingClient("key", base_url).base_url == base_url.rstrip("/")


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.you.com",
        "ftp://api.you.com",
        "http://api.you.com",
        "http://127.0.0.1.evil.example",
        "https://user:word@api.you.com",
        "https://api.you.com?x=1",
        "https://api.you.com#x",
        "https://api.you.com:99999",
        "https://a b",
        "https://",
    ],
)
def test_any_other_base_url_is_refused_before_the_key_is_sent(base_url: str):
    with pytest.raises(
        YouComRefusedError, match="^The Base URL of the API key .* put https://api.you.com there"
    ):
        BillingClient("key", base_url)


def test_a_host_that_cannot_exist_is_refused_as_waiting_will_not_make_it():
    with pytest.raises(YouComRefusedError, match="names no host that can exist"):
        BillingClient("key", "https://a..b", retries=0).get_balance()


def test_a_ca_file_that_is_not_there_is_refused_as_waiting_will_not_bring_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(YouComRefusedError, match="The CA file for https://api.you.com cannot be read"):
        BillingClient("key", retries=0).get_balance()


def test_a_key_is_taken_without_the_white_space_around_it(sandbox: Sandbox):
    assert BillingClient(" sandbox-key\n", sandbox.base_url).get_balance().balance_cents == 10_000


@pytest.mark.parametrize("api_key", ["", "  \n"])
def test_no_key_says_where_to_get_one(api_key: str):
    with pytest.raises(
        YouComRefusedError, match="There is no API key: create one at https://you.com/platform"
    ):
        BillingClient(api_key)


@pytest.mark.parametrize("api_key", ["two words", "se\ncret", "schlüssel", "se\x00cret"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(api_key: str):
    with pytest.raises(YouComError, match="paste it again") as caught:
        BillingClient(api_key)
    assert api_key not in str(caught.value)


def test_a_proxy_is_used_as_requests_users_expect(recorder: Recorder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("https_proxy", recorder.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(YouComUnavailableError, match="the proxy did not let the request through"):
        BillingClient("sandbox-key", "https://api.you.com", retries=0).get_balance()
    assert recorder.connects == ["api.you.com:443"]
    assert "sandbox-key" not in str(recorder.headers)


def test_a_proxy_is_never_sent_the_key_in_plain(
    sandbox: Sandbox, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", recorder.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert client(sandbox).get_balance().balance_cents == 10_000
    assert recorder.headers == []
