"""An HTTP session that may hold the key: one origin, no redirects, bounded tries."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
import requests.auth
import urllib3

from airflow_provider_youcom import __version__
from airflow_provider_youcom.billing._adapter import DeadlineAdapter
from airflow_provider_youcom.billing._deadline import seconds_left
from airflow_provider_youcom.exceptions import PLATFORM_URL, YouComRefusedError

DEFAULT_BASE_URL = "https://api.you.com"
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

_KEY_HEADER = "X-API-Key"


def check_base_url(base_url: str, key_name: str) -> str:
    """
    Give a base URL in its plain form: scheme, host, port and path, with no slash at the end.

    :param base_url: as the user wrote it.
    :param key_name: whose base URL it is, for the error.
    :raises YouComRefusedError: if the key must not be sent there.
    """
    problem = _problem_with(base_url)
    if problem:
        raise YouComRefusedError(
            f"The Base URL of {key_name} {problem}; put {DEFAULT_BASE_URL} there, or leave it empty."
        )
    return base_url.rstrip("/")


def _problem_with(base_url: str) -> str | None:
    try:
        parts = urlsplit(base_url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return "is not a URL"
    if not base_url.isascii() or not base_url.isprintable() or " " in base_url or not parts.hostname:
        return "is not a URL"
    if parts.username is not None or parts.query or parts.fragment:
        return "holds more than a scheme, a host, a port and a path"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return None
    return "must start with https://, since the API key is sent there (http:// only for this machine)"


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False


def check_key(api_key: str, key_name: str) -> str:
    """
    Give a key without the white space around it.

    :param api_key: as the user wrote it.
    :param key_name: which key it is, for the error.
    :raises YouComRefusedError: if it is empty, or no header can carry it.
    """
    key = api_key.strip()
    if not key:
        raise YouComRefusedError(
            f"There is no API key: create one at {PLATFORM_URL} and make it the password of {key_name}."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise YouComRefusedError(
            f"The API key of {key_name} holds a character that no key has; "
            f"paste it again from {PLATFORM_URL}."
        )
    return key


class OneOriginSession(requests.Session):
    """
    Sends the key to one origin, follows no redirect, and tries again what may pass.

    :param api_key: a key that :func:`check_key` gave.
    :param base_url: an address that :func:`check_base_url` gave; its origin gets the key.
    :param timeout: seconds that a call may take in all.
    :param retries: how often a GET is tried again.
    """

    def __init__(self, api_key: str, base_url: str, timeout: float, retries: int) -> None:
        super().__init__()
        self.headers["User-Agent"] = f"airflow-provider-youcom/{__version__}"
        self.auth = _KeyForOneOrigin(api_key, base_url)
        # Plain HTTP is for this machine only, and a proxy is another one: it would be sent the key in plain.
        self.trust_env = urlsplit(base_url).scheme == "https"
        self._timeout = timeout
        adapter = DeadlineAdapter(max_retries=BoundedRetry.within(timeout, retries))
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request, with a timeout for the connect and for each read if the caller gives none."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = (min(5.0, self._timeout), min(10.0, self._timeout))
        return super().request(*args, **kwargs)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Follow no redirect."""
        # requests strips only Authorization when a redirect leaves the host, and would send our
        # header along: https://github.com/psf/requests/blob/main/src/requests/sessions.py
        return None


class _KeyForOneOrigin(requests.auth.AuthBase):
    def __init__(self, api_key: str, base_url: str) -> None:
        self._api_key = api_key
        self._origin = _origin(urlsplit(base_url))

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if _origin(urlsplit(request.url or "")) == self._origin:
            request.headers[_KEY_HEADER] = self._api_key
        return request


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


class BoundedRetry(urllib3.Retry):
    """Tries a GET again after a passing failure, but never waits longer than the call may still take."""

    @classmethod
    def within(cls, timeout: float, retries: int) -> BoundedRetry:
        """
        Make the rule for calls of so many seconds.

        :param timeout: seconds that a call may take in all.
        :param retries: how often it is tried again.
        """
        return cls(
            total=retries,
            redirect=0,
            other=0,
            allowed_methods={"GET"},
            status_forcelist=PASSING_STATUSES,
            backoff_factor=0.25,
            backoff_jitter=0.25,
            backoff_max=timeout / 4,
            raise_on_status=False,
        )

    def increment(self, *args: Any, **kwargs: Any) -> Any:
        """Go on to the next try, or give up where You.com asks for a longer wait than there is time."""
        response: urllib3.BaseHTTPResponse | None = kwargs.get("response")
        asked_for = self.get_retry_after(response) or 0.0 if response is not None else 0.0
        # A caller of the session's own methods has no deadline around it.
        if asked_for >= min(seconds_left() / 2, 2 * self.backoff_max):
            # Too long to wait for in this call; the caller hears of it, and may come back then.
            raise urllib3.exceptions.MaxRetryError(kwargs["_pool"], "", kwargs.get("error"))
        next_try = super().increment(*args, **kwargs)
        if response is not None:
            # urllib3 drains the body before it tries again, all of it, however long it is.
            response.close()
        return next_try

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """Give the seconds that You.com asks to wait, if it does, and if they can be read."""
        try:
            asked_for = super().get_retry_after(response)
            # urllib3 below 2.6 gives an int of any size.
            return None if asked_for is None else float(asked_for)
        except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
            return None

    def get_backoff_time(self) -> float:
        """Give the seconds to the next try."""
        return min(super().get_backoff_time(), seconds_left() / 2)
