"""Turn the errors of requests and the system into errors that say what to do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
import requests.utils
import urllib3

from airflow_provider_youcom.billing._base_url import plain_http
from airflow_provider_youcom.exceptions import YouComError, YouComRefusedError, YouComUnavailableError


def as_youcom_error(error: Exception, base_url: str) -> YouComError:
    """
    Return the error that says what happened and what to do.

    :param error: what requests or the system raised.
    :param base_url: the address that was called.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return YouComRefusedError(
                f"The certificate of {base_url} cannot be trusted ({cause.verify_message}); "
                "replace it, or set REQUESTS_CA_BUNDLE to the file of the CA that signed it."
            )
    if any(isinstance(cause, _UNUSABLE_PROXY) for cause in causes) or _names_impossible_proxy(base_url):
        return YouComRefusedError(
            f"The proxy that the environment names for {base_url} cannot be used; "
            "correct HTTPS_PROXY or ALL_PROXY, or unset it (a socks5:// proxy needs PySocks)."
        )
    if any(_is_no_tls(cause) for cause in causes):
        return _no_tls(base_url, any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes))
    if type(error) is OSError or any(_is_about_a_ca_file(cause) for cause in causes):
        # requests raises a plain OSError for a CA file that does not exist. Network errors have their own
        # classes.
        return YouComRefusedError(
            f"The CA file for {base_url} cannot be read; "
            "set REQUESTS_CA_BUNDLE to an existing PEM file, or unset it."
        )
    return no_answer(base_url, _in_words(causes))


def no_answer(base_url: str, why: str) -> YouComUnavailableError:
    """
    Return the error for a call that got no answer.

    :param base_url: the address that was called.
    :param why: the reason, in a few words.
    """
    return YouComUnavailableError(
        f"You.com did not answer at {base_url}: {why}; "
        "this usually passes, and if it does not, check the network between Airflow and You.com."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error of requests and all its causes, down to the error of the system."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]


def _no_tls(base_url: str, is_proxy: bool) -> YouComRefusedError:
    if is_proxy:
        return YouComRefusedError(
            f"The proxy that the environment names for {base_url} does not speak TLS; "
            "write http:// in front of its address in HTTPS_PROXY or ALL_PROXY."
        )
    without_tls = plain_http(base_url)
    if without_tls:
        return YouComRefusedError(
            f"The server at {base_url} does not speak TLS; make {without_tls} the Base URL of the connection."
        )
    return YouComRefusedError(
        f"The server at {base_url} does not speak TLS, and the API key is sent through TLS only; correct the "
        "host and the port of the Base URL, or look for a proxy or firewall that answers in its place."
    )


def _is_no_tls(cause: BaseException) -> bool:
    # Not by the reason: Python does not know that of OpenSSL 3.2 and later on every version.
    return isinstance(cause, ssl.SSLError) and any(words in str(cause) for words in _NO_TLS)


def _names_impossible_proxy(base_url: str) -> bool:
    """Return whether the environment names a proxy whose host or port cannot exist."""
    # requests 2.32 with urllib3 2.6 takes port 0 for the default port, and tries a host with a space in it.
    if not base_url.startswith("https:"):
        return False
    proxy = requests.utils.select_proxy(base_url, requests.utils.get_environ_proxies(base_url)) or ""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return parts.port == 0 or " " in (parts.hostname or "")
    except ValueError:
        return True


def _is_about_a_ca_file(cause: BaseException) -> bool:
    # The parts of OpenSSL that read certificates from files.
    return isinstance(cause, ssl.SSLError) and cause.library in ("X509", "PEM")


def _in_words(causes: list[BaseException]) -> str:
    for kind, words in _WORDS.items():
        if any(isinstance(cause, kind) for cause in causes):
            return words
    return "the connection failed"


_UNUSABLE_PROXY = (
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidSchema,
    # The base URL has been checked, so the URL that cannot be parsed is the proxy's.
    urllib3.exceptions.LocationValueError,
    urllib3.exceptions.ProxySchemeUnknown,
    urllib3.exceptions.ProxySchemeUnsupported,
)
# OpenSSL's words for an answer that is not TLS at all.
_NO_TLS = ("wrong version number", "record layer failure")
_WORDS: dict[type[BaseException], str] = {
    requests.exceptions.ProxyError: "the proxy did not let the request through",
    socket.gaierror: "its name could not be resolved",
    ConnectionRefusedError: "the connection was refused",
    requests.exceptions.ConnectTimeout: "the connection could not be made in time",
    ssl.SSLError: "the TLS handshake failed",
    requests.exceptions.ReadTimeout: "it fell silent",
    TimeoutError: "it fell silent",
    urllib3.exceptions.ReadTimeoutError: "it fell silent",
    ConnectionResetError: "the connection was cut",
    urllib3.exceptions.ProtocolError: "the connection was cut",
}
