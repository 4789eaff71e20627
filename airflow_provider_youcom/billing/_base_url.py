"""Check the address that the key is sent to."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from airflow_provider_youcom.billing import DEFAULT_BASE_URL
from airflow_provider_youcom.exceptions import YouComRefusedError

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOSTNAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")
_DEFAULT_PORTS = {"https": 443, "http": 80}


def check_base_url(base_url: str, conn_name: str) -> str:
    """
    Return a base URL in its plain form: scheme, host, port and path, without a slash at the end.

    :param base_url: as the user wrote it.
    :param conn_name: how errors name the connection.
    :raises YouComRefusedError: if the key must not be sent there.
    """
    problem = _problem_with(base_url)
    if problem:
        raise YouComRefusedError(
            f"The Base URL of {conn_name} {problem}; set it to {DEFAULT_BASE_URL}, or leave it empty."
        )
    return base_url.rstrip("/")


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """
    Return the scheme, host and port that a URL leads to.

    :param url: a complete URL.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)


def plain_http(base_url: str) -> str | None:
    """
    Return the address without TLS, or None if the key must not be sent there without TLS.

    :param base_url: an https address that ``check_base_url`` returned.
    """
    without_tls = f"http{base_url.removeprefix('https')}"
    return without_tls if _problem_with(without_tls) is None else None


def _problem_with(base_url: str) -> str | None:
    parts = _split(base_url)
    if parts is None or not _is_host(parts.hostname or ""):
        return "is not a URL"
    if parts.username is not None or parts.query or parts.fragment:
        return "contains more than a scheme, a host, a port and a path"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return None
    return "must start with https://, since the API key is sent there (http:// only for this machine)"


def _split(base_url: str) -> SplitResult | None:
    if not base_url.isascii() or not base_url.isprintable() or set(base_url) & set(' \\"<>^`{|}'):
        return None
    try:
        parts = urlsplit(base_url)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


def _is_host(host: str) -> bool:
    # "https" is what is left of a slip such as "https:/api.you.com" or "https://https://api.you.com".
    return host not in _DEFAULT_PORTS and (_is_ip_address(host) or bool(_HOSTNAME.fullmatch(host)))


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip_address(host) and ipaddress.ip_address(host).is_loopback)
