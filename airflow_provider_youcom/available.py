"""What an account has available: the balance, minus what is reserved."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.money import format_usd, json_number


@dataclass(frozen=True)
class AvailableCredits:
    """
    A balance, and how much of it is available to an attempt that wants to reserve.

    What the attempt itself has already reserved is not subtracted.

    :param balance: You.com's answer.
    :param available_usd: the balance, minus what is reserved, in dollars; may be negative.
    :param reserved_usd: what others have reserved, in dollars.
    :param reserved_runs: how many runs have reserved that.
    :param own_run_usd: how much of it is for other tasks of the same run, in dollars.
    :param reservation_id: the reservation that now stands for this attempt; None if none does.
    """

    balance: AccountBalance
    available_usd: Decimal
    reserved_usd: Decimal
    reserved_runs: int
    own_run_usd: Decimal = Decimal(0)
    reservation_id: str | None = None

    def __str__(self) -> str:
        return (
            f"You.com account {self.balance.account_id} holds {format_usd(self.balance.balance_usd)}, "
            f"of which {self._reserved}"
        )

    @property
    def _reserved(self) -> str:
        if self.reserved_usd == 0:
            return "nothing is reserved"
        reserved = format_usd(self.reserved_usd, ROUND_CEILING)
        if self.own_run_usd == self.reserved_usd:
            return f"this run has reserved {reserved}"
        runs = "1 run has" if self.reserved_runs == 1 else f"{self.reserved_runs} runs have"
        own = format_usd(self.own_run_usd, ROUND_CEILING)
        return f"{runs} reserved {reserved}" + (f", {own} of it this run" if self.own_run_usd else "")

    def to_json(self) -> dict[str, Any]:
        """Return the balance and the two amounts as plain JSON, for XCom and events."""
        return {
            **self.balance.to_json(),
            "reserved_usd": json_number(self.reserved_usd),
            "available_usd": json_number(self.available_usd),
        }
