"""
The errors of You.com and the ledger, grouped by whether waiting helps or someone must act.

None of these derives from AirflowException: ``soft_fail`` turns every AirflowException into a skip, and a
revoked key must fail the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

# Where keys are created and credits are bought.
PLATFORM_URL = "https://you.com/platform"

# Version 0.1.0 reads only the "type" of an error, and knows only these three.
_TYPES_OF_0_1_0 = ("YouComUnavailableError", "YouComRefusedError", "YouComResponseError")


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

    def to_json(self) -> dict[str, Any]:
        """Return the error as plain JSON, to send it from the triggerer to a worker."""
        types = [kind.__name__ for kind in type(self).__mro__ if issubclass(kind, YouComError)]
        return {
            # A gate does the same about the last of them as about any other error: this attempt fails.
            "type": next((name for name in types if name in _TYPES_OF_0_1_0), _TYPES_OF_0_1_0[-1]),
            "types": types,
            "message": str(self),
            **self._fields(),
        }

    @classmethod
    def from_json(cls, sent: Mapping[str, Any]) -> YouComError:
        """
        Return the error that ``to_json`` wrote, in this version or another.

        :param sent: what ``to_json`` returned. Of its classes, the most specific one that this version knows
            is taken.
        """
        names = sent.get("types") or [sent.get("type")]
        kind = next((known for name in names if (known := _class_named(name))), YouComError)
        return kind(sent["message"], **kind._read_fields(sent))

    def _fields(self) -> dict[str, Any]:
        return {"status_code": self.status_code, "detail": self.detail}

    @classmethod
    def _read_fields(cls, sent: Mapping[str, Any]) -> dict[str, Any]:
        return {"status_code": sent.get("status_code"), "detail": sent.get("detail")}


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

    def _fields(self) -> dict[str, Any]:
        return {**super()._fields(), "retry_after": self.retry_after}

    @classmethod
    def _read_fields(cls, sent: Mapping[str, Any]) -> dict[str, Any]:
        return {**super()._read_fields(sent), "retry_after": sent.get("retry_after")}


class YouComRefusedError(YouComError):
    """You.com refused the request, or the connection cannot be used: someone must act."""


class YouComSpendCapError(YouComRefusedError):
    """
    The API key has reached its spending cap: someone must raise the cap, or use another key.

    The account may hold plenty.
    """


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

    def _fields(self) -> dict[str, Any]:
        return {**super()._fields(), "missing_usd": str(self.missing_usd)}

    @classmethod
    def _read_fields(cls, sent: Mapping[str, Any]) -> dict[str, Any]:
        return {"missing_usd": Decimal(sent["missing_usd"])}


def _class_named(name: str | None) -> type[YouComError] | None:
    kind = globals().get(name or "")
    return kind if isinstance(kind, type) and issubclass(kind, YouComError) else None
