"""The HTTP client of You.com's billing API."""

from __future__ import annotations

import json
from typing import NoReturn

import pendulum
import requests
import urllib3

from airflow_provider_youcom._masking import holds_key, mask_key, no_key_in_errors
from airflow_provider_youcom._off_the_loop import run_off_the_loop
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.billing import (
    DEFAULT_BASE_URL,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_SECONDS,
    _transport_errors,
)
from airflow_provider_youcom.billing._answer import read_balance
from airflow_provider_youcom.billing._api_key import check_api_key
from airflow_provider_youcom.billing._base_url import check_base_url
from airflow_provider_youcom.billing._bounds import (
    LARGEST_BODY,
    LARGEST_CALL,
    CallTooLargeError,
    CallTooLongError,
    bounded_call,
)
from airflow_provider_youcom.billing._look_ahead import look_ahead
from airflow_provider_youcom.billing._session import PASSING_STATUSES, BoundedRetry, OneOriginSession
from airflow_provider_youcom.billing._spend_cap import names_spend_cap
from airflow_provider_youcom.exceptions import (
    PLATFORM_URL,
    YouComRefusedError,
    YouComResponseError,
    YouComSpendCapError,
    YouComUnavailableError,
)

BALANCE_PATH = "/v1/billing/account_balance"

_LONGEST_DETAIL = 200
_REMEDIES = {
    401: f"create a key at {PLATFORM_URL} and use it instead",
    402: f"top up the account at {PLATFORM_URL}",
    403: f"give the key the billing scope at {PLATFORM_URL}, or use a key that has it",
    404: "check that the Base URL is You.com's",
}


class BillingClient:
    """
    You.com's billing API.

    :param api_key: the API key; sent to the base URL's origin only.
    :param base_url: the address of the API; https, unless it is on this machine.
    :param timeout: the most seconds that one call may take, retries included; default 30. A name lookup that
        hangs, and a name with several dead addresses, can take longer.
    :param retries: how many times a call is retried within that time; default 2.
    :param conn_name: how errors name the connection; default ``this connection``.
    :raises YouComRefusedError: if the key or the base URL cannot be used.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = DEFAULT_BASE_URL,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        retries: int = DEFAULT_RETRIES,
        conn_name: str = "this connection",
    ) -> None:
        self.base_url = check_base_url(base_url, conn_name)
        self.timeout = timeout
        self.conn_name = conn_name
        self._api_key = check_api_key(api_key, conn_name)
        self.session = OneOriginSession(self._api_key, self.base_url, timeout, retries)

    def get_balance(self) -> AccountBalance:
        """
        Return what the account holds.

        :raises YouComUnavailableError: if You.com does not answer, or answers that it is unavailable.
        :raises YouComRefusedError: if You.com refuses the request.
        :raises YouComResponseError: if the answer is not an account balance.
        """
        with no_key_in_errors():
            try:
                with bounded_call(self.timeout):
                    return self._ask()
            except CallTooLongError:
                raise self._too_late() from None
            except CallTooLargeError:
                why = f"its answer had more than {LARGEST_CALL // 1024} KiB"
                raise _transport_errors.no_answer(self.base_url, why) from None
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise _transport_errors.as_youcom_error(error, self.base_url) from None

    async def aget_balance(self) -> AccountBalance:
        """
        Return what the account holds, without blocking the event loop.

        This raises the same errors as ``get_balance``.
        """
        try:
            return await run_off_the_loop(self.get_balance, self.timeout)
        except TimeoutError:
            raise self._too_late() from None

    def _too_late(self) -> YouComUnavailableError:
        return _transport_errors.no_answer(self.base_url, f"nothing complete within {self.timeout:g} s")

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def _ask(self) -> AccountBalance:
        checked_at = pendulum.now("UTC")
        # Plain bytes only: a small compressed body can unpack to any size.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        with self.session.get(self.base_url + BALANCE_PATH, headers=headers, stream=True) as response:
            if response.status_code != 200:
                self._raise_for_status(response)
            if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
                raise YouComResponseError(
                    "You.com answered 200 with a compressed body, which was not asked for; "
                    f"check for a proxy between Airflow and {self.base_url}.",
                    status_code=200,
                )
            body = _read_body(response)
        if len(body) > LARGEST_BODY:
            raise YouComResponseError(
                f"You.com answered 200 with more than {LARGEST_BODY // 1024} KiB, which is not an account "
                f"balance; check that {self.base_url} is You.com's.",
                status_code=200,
            )
        balance = read_balance(body, checked_at)
        if holds_key(balance.account_id, self._api_key):
            raise YouComResponseError(
                "You.com answered 200 with an account id that holds the API key, which must not be shown; "
                f"check that {self.base_url} is You.com's.",
                status_code=200,
            )
        return balance

    def _raise_for_status(self, response: requests.Response) -> NoReturn:
        status = response.status_code
        body = look_ahead(response.raw)
        detail = _detail_in(body, self._api_key)
        said = f"HTTP {status}" + (f', "{detail}"' if detail else "")
        if status == 429 and names_spend_cap(body):
            raise YouComSpendCapError(
                f"You.com refused {self.conn_name} ({said}): the key has reached its spending cap, although "
                f"the account may hold plenty; raise the cap at {PLATFORM_URL}, or use another key.",
                status_code=status,
                detail=detail,
            )
        if status in PASSING_STATUSES or status < 200 or status >= 500:
            retry_after = BoundedRetry().get_retry_after(response.raw)
            asks = f" and asks to wait {retry_after:.0f} s" if retry_after else ""
            raise YouComUnavailableError(
                f"You.com returned no balance ({said}){asks}; this usually passes, so try again later.",
                status_code=status,
                detail=detail,
                retry_after=retry_after,
            )
        if 200 < status < 300:
            raise YouComResponseError(
                f"You.com answered {said}, but a balance comes with HTTP 200 only; "
                f"check that {self.base_url} is You.com's.",
                status_code=status,
                detail=detail,
            )
        if response.is_redirect:
            raise YouComRefusedError(
                f"{self.base_url} redirects ({said}), and the API key is not sent to another address; "
                f"if the new address is You.com's, make it the Base URL of {self.conn_name}.",
                status_code=status,
                detail=detail,
            )
        raise YouComRefusedError(
            f"You.com refused {self.conn_name} ({said}); {self._remedy(status)}.",
            status_code=status,
            detail=detail,
        )

    def _remedy(self, status: int) -> str:
        if status == 404 and "/v1" in self.base_url:
            return "remove /v1 and what follows it from the Base URL, since the provider adds the path"
        return _REMEDIES.get(status, f"check the connection, and {PLATFORM_URL}")


def _read_body(response: requests.Response) -> bytes:
    """Return the body, or one byte more than the largest body, which tells that there is more."""
    body = b""
    # A read may return less than there is, and only the read that returns nothing notices a body cut short.
    while len(body) <= LARGEST_BODY:
        chunk = response.raw.read(LARGEST_BODY + 1 - len(body), decode_content=False)
        if not chunk:
            break
        body += chunk
    return body


def _detail_in(body: bytes, api_key: str) -> str | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    detail = document.get("detail") if isinstance(document, dict) else None
    if not isinstance(detail, str):
        return None
    one_line = "".join(c if c.isprintable() else " " for c in mask_key(detail, api_key))
    return one_line.strip()[:_LONGEST_DETAIL] or None
