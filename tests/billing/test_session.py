from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
import requests

from airflow_provider_youcom import __version__
from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import (
    YouComError,
    YouComRefusedError,
    YouComResponseError,
    YouComUnavailableError,
)
from airflow_provider_youcom.sandbox import Fault, Sandbox

pytestmark = pytest.mark.on_the_ends


class Recorder:
    """A server that records the headers of each request."""

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


def test_the_session_accepts_only_what_can_be_searched_for_the_code_of_a_spending_cap(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    # With these packages, or on Python 3.14, requests accepts more.
    monkeypatch.setattr(requests.utils, "DEFAULT_ACCEPT_ENCODING", "gzip, deflate, br, zstd")
    BillingClient("key", recorder.url).session.get(recorder.url)
    assert recorder.headers[0]["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("retry_after", ["3600", "999999999"])
def test_a_session_never_sleeps_as_long_as_a_server_says(sandbox: Sandbox, retry_after: str):
    sandbox.inject(Fault(status=503, headers={"Retry-After": retry_after}), times=None)
    session = client(sandbox, timeout=10).session
    assert session.get(f"{sandbox.base_url}/v1/billing/account_balance").status_code == 503
    assert sandbox.request_count == 1


def test_the_request_names_the_provider_and_accepts_uncompressed_json(recorder: Recorder):
    with pytest.raises(YouComResponseError):
        BillingClient("sandbox-key", recorder.url).get_balance()
    sent = recorder.headers[0]
    assert sent["x-api-key"] == "sandbox-key"
    assert sent["user-agent"] == f"airflow-provider-youcom/{__version__}"
    assert (sent["accept"], sent["accept-encoding"]) == ("application/json", "identity")


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
def test_https_anywhere_and_http_on_this_machine_are_accepted(base_url: str):
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
        YouComRefusedError, match="^The Base URL of this connection .* set it to https://api.you.com"
    ):
        BillingClient("key", base_url)


def test_white_space_around_a_key_is_removed(sandbox: Sandbox):
    assert BillingClient(" sandbox-key\n", sandbox.base_url).get_balance().balance_cents == 10_000


@pytest.mark.parametrize("api_key", ["", "  \n"])
def test_the_error_for_a_missing_key_says_where_to_get_one(api_key: str):
    with pytest.raises(
        YouComRefusedError, match="There is no API key: create one at https://you.com/platform"
    ):
        BillingClient(api_key)


@pytest.mark.parametrize("api_key", ["two words", "se\ncret", "schlüssel", "se\x00cret"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(api_key: str):
    with pytest.raises(YouComError, match="copy it again") as caught:
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


@pytest.mark.parametrize(
    "proxy",
    [
        "http://",
        "http://:3128",
        "http:/127.0.0.1:3128",
        "ftp://127.0.0.1:1",
        "carrier-pigeon://127.0.0.1:1",
        "http://localhost:99999",
        "localhost:99999",
        "socks5h://localhost:99999",
        "http://word:secret@localhost:99999",
        "http://[::1]:99999",
        "http://localhost:-1",
        "http://localhost:port",
        "http://127.0.0.1:0",
        "https://127.0.0.1:0",
        "http://local host:3128",
        "http://[::1",
        "http://a..b:3128",
        f"http://{'a' * 64}:3128",
        "http://{{ proxy }}:3128",
        " ",
    ],
)
def test_the_error_for_an_unusable_proxy_names_the_proxy(proxy: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("https_proxy", proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(YouComRefusedError, match="The proxy that .* names .* correct HTTPS_PROXY") as caught:
        BillingClient("sandbox-key", "https://api.you.com", retries=0).get_balance()
    assert "secret" not in str(caught.value)


def test_a_proxy_that_is_named_with_https_and_speaks_plain_http_is_refused(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("https_proxy", recorder.url.replace("http:", "https:"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(YouComRefusedError, match="The proxy .* does not speak TLS; write http:// in front"):
        BillingClient("sandbox-key", "https://api.you.com", retries=0).get_balance()
    assert "sandbox-key" not in str(recorder.headers)


def test_a_proxy_is_never_sent_the_key_in_plain_text(
    sandbox: Sandbox, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", recorder.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert client(sandbox).get_balance().balance_cents == 10_000
    assert recorder.headers == []
