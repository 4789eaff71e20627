"""What can go wrong with reservations, in addition to what can go wrong with You.com."""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_youcom.exceptions import (
    YouComError,
    YouComRefusedError,
    YouComUnavailableError,
)


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
