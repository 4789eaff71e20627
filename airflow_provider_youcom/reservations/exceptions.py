"""What can go wrong with reservations, beside what can go wrong with You.com."""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_youcom.exceptions import (
    YouComError,
    YouComRefusedError,
    YouComUnavailableError,
)


class YouComLedgerUnavailableError(YouComUnavailableError):
    """The ledger did not answer in time: what is reserved is unknown, and waiting helps."""


class YouComLedgerRefusedError(YouComRefusedError):
    """The ledger cannot be used as it is: its database, its schema or a right; someone must act."""


class YouComShortfallError(YouComError):
    """
    Not enough credits are available: nothing was reserved.

    :param message: what was needed, what is available and what to do next, in one sentence.
    :param missing_usd: what is missing, in dollars.
    """

    def __init__(self, message: str, *, missing_usd: Decimal) -> None:
        super().__init__(message)
        self.missing_usd = missing_usd
