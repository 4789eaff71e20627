"""
The errors of You.com and the ledger, grouped by whether waiting helps or someone must act.

None of these derives from AirflowException: ``soft_fail`` turns every AirflowException into a skip, and a
revoked key must fail the task.
"""

from __future__ import annotations

from decimal import Decimal

# Where keys are created and credits are bought.
PLATFORM_URL = "https://you.com/platform"


class YouComError(Exception):
    """
    Something went wrong with You.com.

    :param message: what happened, what was expected and what to do next, in one sentence.
    :param status_code: the HTTP status of You.com's answer, if there was one.
    :param detail: You.com's own words, if there were any; never contains the API key.
    """

    def __init__(self, message: str, *, status_code: int | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.detail = detail


class YouComUnavailableError(YouComError):
    """
    You.com did not answer, or answered that it is unavailable: waiting helps.

    :param retry_after: the seconds that You.com asked to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        detail: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status_code=status_code, detail=detail)
        self.retry_after = retry_after


class YouComRefusedError(YouComError):
    """You.com refused the request, or the connection cannot be used: someone must act."""


class YouComConnectionNotFoundError(YouComRefusedError):
    """
    Airflow does not find the connection.

    Airflow also reports this if a secrets backend or its own API did not answer.
    """


class YouComResponseError(YouComError):
    """You.com answered 200, but not with an account balance: waiting does not help."""


class YouComLedgerUnavailableError(YouComUnavailableError):
    """The ledger did not answer in time, so what is reserved is unknown; waiting helps."""


class YouComLedgerRefusedError(YouComRefusedError):
    """The ledger's database, its tables or its rights cannot be used as they are; someone must act."""


class YouComShortfallError(YouComError):
    """
    Not enough credits are available, so nothing was reserved.

    :param message: what was needed, what is available and what to do next, in one sentence.
    :param missing_usd: how much is missing, in dollars.
    """

    def __init__(self, message: str, *, missing_usd: Decimal) -> None:
        super().__init__(message)
        self.missing_usd = missing_usd
