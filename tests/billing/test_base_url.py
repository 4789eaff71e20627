from __future__ import annotations

import pytest

from airflow_provider_youcom.billing._base_url import check_base_url, origin_of, plain_http
from airflow_provider_youcom.exceptions import YouComRefusedError

pytestmark = pytest.mark.on_the_ends


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.you.com",
        "https://api.you.com:8443/you",
        "https://api.you.com.",
        "https://internal_proxy/v1",
        "https://[2001:db8::1]:8443",
        "http://localhost:8765",
        "http://127.0.0.1:8765",
        "http://[::1]:8765",
    ],
)
def test_a_valid_base_url_loses_only_its_trailing_slash(base_url: str):
    assert check_base_url(base_url, "the key") == base_url
    assert check_base_url(f"{base_url}/", "the key") == base_url


@pytest.mark.parametrize(
    "base_url",
    [
        "https:/api.you.com",
        "https://https:/api.you.com",
        "https://https//api.you.com",
        "https://http:80/",
        "https:///api.you.com",
        "https://api..you.com",
        "https://-api.you.com",
        f"https://{'a' * 64}.you.com",
        f"https://{'a.' * 130}com",
        "https://api.you.com\\@elsewhere.example",
        "https://api.you.com@elsewhere.example",
        "https://key@api.you.com",
        "https://api.you.com:0",
        "https://api.you.com:99999",
        "https://api.you.com:port",
        "https://api.you.com?x=1",
        "https://api.you.com#x",
        "https://api.you.com ",
        "https://{{ host }}",
        "https://yöu.com",
        "http://api.you.com",
        "http://127.0.0.1.elsewhere.example",
        "ftp://api.you.com",
        "api.you.com",
        "",
    ],
)
def test_a_malformed_url_or_plain_http_to_another_machine_is_refused(base_url: str):
    with pytest.raises(YouComRefusedError, match="^The Base URL of the key ") as caught:
        check_base_url(base_url, "the key")
    assert str(caught.value).endswith("; set it to https://api.you.com, or leave it empty.")


@pytest.mark.parametrize(
    ("base_url", "without_tls"),
    [
        ("https://localhost:8765", "http://localhost:8765"),
        ("https://127.0.0.1:8765/you", "http://127.0.0.1:8765/you"),
        ("https://[::1]:8765", "http://[::1]:8765"),
        ("https://api.you.com", None),
        ("https://10.0.0.1:8765", None),
    ],
)
def test_only_this_machine_has_an_address_without_tls(base_url: str, without_tls: str | None):
    assert plain_http(base_url) == without_tls


def test_the_origin_has_the_default_port_of_its_scheme():
    assert origin_of("https://api.you.com/v1") == ("https", "api.you.com", 443)
    assert origin_of("http://LOCALHOST") == ("http", "localhost", 80)
