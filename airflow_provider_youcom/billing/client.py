"""The one HTTP client: ask You.com for the balance, bounded in time and size, with the key kept close."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from typing import NoReturn

import pendulum
import requests
import urllib3

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.billing._deadline import Deadline, DeadlineExceededError
from airflow_provider_youcom.billing._masking import holds_key, mask_key
from airflow_provider_youcom.billing._session import (
    DEFAULT_BASE_URL,
    PASSING_STATUSES,
    BoundedRetry,
    OneOriginSession,
    check_base_url,
    check_key,
)
from airflow_provider_youcom.exceptions import (
    PLATFORM_URL,
    YouComError,
    YouComRefusedError,
    YouComResponseError,
    YouComUnavailableError,
)

DEFAULT_TIMEOUT = 30.0
DEFAULT_RETRIES = 2
BALANCE_PATH = "/v1/billing/account_balance"

# The contract's answer is some 150 bytes.
_LARGEST_BODY = 64 * 1024
_LONGEST_DETAIL = 200
_REMEDIES = {
    401: f"create a key at {PLATFORM_URL} and put it there",
    402: f"top up the account at {PLATFORM_URL}",
    403: f"give the key the billing scope at {PLATFORM_URL}, or put one there that has it",
    404: "check that the Base URL is You.com's",
}


class BillingClient:
    """
    You.com's billing API.

    :param api_key: sent to the base URL's origin, and to nobody else.
    :param base_url: where the API is; https, unless it is on this machine.
    :param timeout: seconds that one call may take in all, retries included; default 30.
    :param retries: how often a call is tried again within that time; default 2.
    :param key_name: how errors name the key, so that its owner knows which one they mean.
    :raises YouComRefusedError: if the key or the base URL cannot be used.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = DEFAULT_BASE_URL,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        key_name: str = "the API key",
    ) -> None:
        self.base_url = check_base_url(base_url, key_name)
        self.timeout = timeout
        self.key_name = key_name
        self._api_key = check_key(api_key, key_name)
        self.session = OneOriginSession(self._api_key, self.base_url, timeout, retries)

    def get_balance(self) -> AccountBalance:
        """
        Ask what the account holds.

        :raises YouComUnavailableError: if there is no answer, or one that says to come back later.
        :raises YouComRefusedError: if the answer is no.
        :raises YouComResponseError: if the answer is not the contract's.
        """
        checked_at = pendulum.now("UTC")
        problem: YouComError
        try:
            return Deadline[AccountBalance](self.timeout).run(lambda: self._exchange(checked_at))
        except YouComError as error:
            # Without the frames that held the answer: some reports of errors show all variables in them, and
            # a server may repeat the key in what it says.
            problem = error.with_traceback(None)
        except DeadlineExceededError:
            # Its thread may still hold a connection of this session; a later call gets fresh ones.
            self.session.close()
            problem = self._no_answer(f"nothing complete within {self.timeout:g} s")
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            problem = self._transport_error(error)
        # Not raised where it was caught: an error of requests holds the request, and so the key, and would
        # go along as the context of ours to whatever reports errors.
        raise problem

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def _exchange(self, checked_at: pendulum.DateTime) -> AccountBalance:
        # Plain bytes only: a small compressed body can unpack to any size.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        with self.session.get(self.base_url + BALANCE_PATH, headers=headers, stream=True) as response:
            if response.status_code != 200:
                self._raise_for_status(response)
            if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
                raise YouComResponseError(
                    f"You.com answered 200 with a compressed body, which was not asked for; "
                    f"check what stands between Airflow and {self.base_url}.",
                    status_code=200,
                )
            body = _read_body(response)
        if len(body) > _LARGEST_BODY:
            raise YouComResponseError(
                f"You.com answered 200 with more than {_LARGEST_BODY // 1024} KiB, which is no account "
                f"balance; check that {self.base_url} is You.com's.",
                status_code=200,
            )
        balance = AccountBalance.from_response(body, checked_at)
        if holds_key(balance.account_id, self._api_key):
            raise YouComResponseError(
                "You.com answered 200 with something that is not an account balance: data.id holds the API "
                f"key, which must not be shown; check that {self.base_url} is You.com's.",
                status_code=200,
            )
        return balance

    def _raise_for_status(self, response: requests.Response) -> NoReturn:
        status = response.status_code
        detail = _read_detail(response, self._api_key)
        said = f"HTTP {status}" + (f', "{detail}"' if detail else "")
        if status in PASSING_STATUSES or status < 200 or status >= 500:
            retry_after = _retry_after(response)
            when = f"in {retry_after:.0f} s, as it asks" if retry_after else "later"
            raise YouComUnavailableError(
                f"You.com gave no balance ({said}); this usually passes, so try again {when}.",
                status_code=status,
                detail=detail,
                retry_after=retry_after,
            )
        if 200 < status < 300:
            raise YouComResponseError(
                f"You.com answered {said} where its contract has only 200; "
                f"check that {self.base_url} is You.com's.",
                status_code=status,
                detail=detail,
            )
        if response.is_redirect:
            raise YouComRefusedError(
                f"{self.base_url} redirects ({said}), and the key is not sent on to another place; "
                f"put the address that it leads to in the Base URL of {self.key_name}, if it is You.com's.",
                status_code=status,
                detail=detail,
            )
        remedy = _REMEDIES.get(status, f"check the connection, and {PLATFORM_URL}")
        raise YouComRefusedError(
            f"You.com refused {self.key_name} ({said}); {remedy}.", status_code=status, detail=detail
        )

    def _transport_error(self, error: Exception) -> YouComError:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return YouComRefusedError(
                    f"The certificate of {self.base_url} cannot be trusted ({cause.verify_message}); "
                    "have it mended, or name the CA that signed it in REQUESTS_CA_BUNDLE."
                )
        if any(isinstance(cause, _UNUSABLE_PROXY) for cause in causes):
            return YouComRefusedError(
                f"The proxy that the environment names for {self.base_url} cannot be used; "
                "correct HTTPS_PROXY or ALL_PROXY, or unset it (a socks5:// proxy needs PySocks)."
            )
        if isinstance(error, (requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError)):
            return YouComRefusedError(
                f"The Base URL of {self.key_name} names no host that can exist; "
                f"put {DEFAULT_BASE_URL} there, or leave it empty."
            )
        if type(error) is OSError or any(_is_about_a_ca_file(cause) for cause in causes):
            # A plain OSError is not of the network, whose errors have classes of their own: requests says so
            # of a CA file that is not there.
            return YouComRefusedError(
                f"The CA file for {self.base_url} cannot be read; "
                "name one that exists in REQUESTS_CA_BUNDLE, or unset it."
            )
        return self._no_answer(_in_words(causes))

    def _no_answer(self, why: str) -> YouComUnavailableError:
        return YouComUnavailableError(
            f"You.com gave no answer at {self.base_url}: {why}; "
            "this usually passes, and if it does not, check the network between Airflow and You.com."
        )


def _retry_after(response: requests.Response) -> float | None:
    return BoundedRetry().get_retry_after(response.raw)


def _read_body(response: requests.Response) -> bytes:
    """Read at most one byte more than the largest body, which tells that there is more."""
    body = b""
    # One read may give less; and only the read that gives nothing notices a body cut short.
    while len(body) <= _LARGEST_BODY:
        chunk = response.raw.read(_LARGEST_BODY + 1 - len(body), decode_content=False)
        if not chunk:
            break
        body += chunk
    return body


def _read_detail(response: requests.Response, api_key: str) -> str | None:
    try:
        document = json.loads(_read_body(response)[:_LARGEST_BODY])
    except (ValueError, RecursionError, OSError, urllib3.exceptions.HTTPError):
        return None
    detail = document.get("detail") if isinstance(document, dict) else None
    if not isinstance(detail, str):
        return None
    one_line = "".join(c if c.isprintable() else " " for c in mask_key(detail, api_key))
    return one_line.strip()[:_LONGEST_DETAIL] or None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error of requests down to what the system said."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]


def _is_about_a_ca_file(cause: BaseException) -> bool:
    # OpenSSL's name for the part of it that reads certificates from files.
    return isinstance(cause, ssl.SSLError) and cause.library in ("X509", "PEM")


def _in_words(causes: list[BaseException]) -> str:
    for kind, words in _WORDS.items():
        if any(isinstance(cause, kind) for cause in causes):
            return words
    return "the connection failed"


_UNUSABLE_PROXY = (
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidSchema,
    urllib3.exceptions.ProxySchemeUnknown,
    urllib3.exceptions.ProxySchemeUnsupported,
)
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
