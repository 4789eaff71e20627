"""The HTTP session that holds the key: one origin, no redirects, bounded retries."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
import requests.auth
import urllib3

from airflow_provider_youcom import __version__
from airflow_provider_youcom.billing._base_url import origin_of
from airflow_provider_youcom.billing._bounds import BoundedAdapter, TimeLeft, seconds_left
from airflow_provider_youcom.billing._look_ahead import look_ahead, whole
from airflow_provider_youcom.billing._spend_cap import names_spend_cap

PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

_KEY_HEADER = "X-API-Key"


class OneOriginSession(requests.Session):
    """
    A session that sends the key to one origin, follows no redirects, and retries temporary failures.

    :param api_key: a key that ``check_api_key`` returned.
    :param base_url: an address that ``check_base_url`` returned; only its origin is sent the key.
    :param timeout: the most seconds that one call may take.
    :param retries: how many times a GET is retried.
    """

    def __init__(self, api_key: str, base_url: str, timeout: float, retries: int) -> None:
        super().__init__()
        self.headers["User-Agent"] = f"airflow-provider-youcom/{__version__}"
        # In these, a body can be searched for the code of a spending cap.
        self.headers["Accept-Encoding"] = "gzip, deflate"
        self.auth = _KeyForOneOrigin(api_key, base_url)
        # Plain HTTP is for this machine only: a proxy on another machine would see the key.
        self.trust_env = urlsplit(base_url).scheme == "https"
        adapter = _Adapter(max_retries=BoundedRetry.within(timeout, retries))
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request, with a timeout for the connect and each read if the caller sets none."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = TimeLeft()
        return super().request(*args, **kwargs)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Follow no redirect."""
        # requests strips only Authorization when a redirect leaves the host, and would send our
        # header along: https://github.com/psf/requests/blob/main/src/requests/sessions.py
        return None

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A session of YouComHook cannot be copied or pickled, since it holds the API key; "
            "copy the hook instead, or create a new one where you need it."
        )


class _KeyForOneOrigin(requests.auth.AuthBase):
    def __init__(self, api_key: str, base_url: str) -> None:
        self._api_key = api_key
        self._origin = origin_of(base_url)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin_of(request.url or "") == self._origin:
            request.headers[_KEY_HEADER] = self._api_key
        return request


class _Adapter(BoundedAdapter):
    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        response = super().build_response(req, resp)
        response.raw = whole(resp)
        return response


class BoundedRetry(urllib3.Retry):
    """
    Retries a GET after a temporary failure, but never waits longer than the call may still take.

    It does not retry after an answer that a key has reached its spending cap, which does not pass.
    """

    @classmethod
    def within(cls, timeout: float, retries: int) -> BoundedRetry:
        """
        Return the rule for calls with a timeout.

        :param timeout: the most seconds that one call may take.
        :param retries: how many times it is retried.
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
        """Return the rule for the next try; give up if You.com asks to wait longer than the call allows."""
        response: urllib3.BaseHTTPResponse | None = kwargs.get("response")
        asked_for = self.get_retry_after(response) or 0.0 if response is not None else 0.0
        # A caller of the session's own methods is not inside a bounded call.
        if asked_for >= min(seconds_left() / 2, 2 * self.backoff_max):
            # Too long for this call; the error tells the caller when to try again.
            raise urllib3.exceptions.MaxRetryError(kwargs["_pool"], "", kwargs.get("error"))
        next_try = super().increment(*args, **kwargs)
        if response is None:
            return next_try
        if response.status == 429 and names_spend_cap(look_ahead(response)):
            # No further try helps, and urllib3 returns this response.
            raise urllib3.exceptions.MaxRetryError(kwargs["_pool"], "")
        # urllib3 would read the whole body before it tries again, however long it is.
        response.close()
        return next_try

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """Return the seconds that You.com asks to wait, or None if it sends no number that can be read."""
        try:
            asked_for = super().get_retry_after(response)
            # urllib3 below 2.6 returns an int of any size.
            return None if asked_for is None else float(asked_for)
        except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
            return None

    def get_backoff_time(self) -> float:
        """Return the seconds until the next try."""
        return min(super().get_backoff_time(), seconds_left() / 2)
