"""What an account holds, what of it is available, and how both are shown and passed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, NoReturn

from airflow_provider_youcom.money import (
    cents_to_usd,
    describe_shortfall,
    format_usd,
    json_number,
    subtract_usd,
)

# What a gate returns if it opened without knowing the balance.
UNKNOWN_BALANCE = dict.fromkeys(("account_id", "balance_cents", "balance_usd", "checked_at"))

_SHORT_ID_LENGTH = 8


@dataclass(frozen=True)
class AccountBalance:
    """
    What a You.com account held when it was checked.

    To return it from a task, call ``to_json``.

    :param account_id: You.com's stable hash of the account, which is an organization's or one user's.
    :param balance_cents: remaining credits in cents, exact; may be negative.
    :param checked_at: when You.com was asked, in UTC.
    """

    account_id: str
    balance_cents: Decimal
    checked_at: datetime

    @property
    def balance_usd(self) -> Decimal:
        """Remaining credits in dollars, exact."""
        return cents_to_usd(self.balance_cents)

    @property
    def short_account_id(self) -> str:
        """The beginning of the account's id, for a line of the log."""
        if len(self.account_id) <= _SHORT_ID_LENGTH:
            return self.account_id
        return f"{self.account_id[:_SHORT_ID_LENGTH]}…"

    @property
    def sentence(self) -> str:
        """The balance as a sentence, for a line of the log."""
        return f"The balance is {format_usd(self.balance_usd)} (account {self.short_account_id})."

    def __str__(self) -> str:
        return f"You.com account {self.account_id}: {format_usd(self.balance_usd)} left"

    def to_json(self) -> dict[str, Any]:
        """Return the balance as plain JSON, for XCom and events."""
        return {
            "account_id": self.account_id,
            "balance_cents": json_number(self.balance_cents),
            "balance_usd": json_number(self.balance_usd),
            "checked_at": self.checked_at.isoformat(),
        }

    def serialize(self) -> NoReturn:
        """Refuse to become an XCom. Airflow calls this when a task returns the balance itself."""
        # Airflow would store it, and the task that reads it would fail: it reads back only the classes in
        # [core] allowed_deserialization_classes. Not a TypeError, which Airflow 2.11 replaces.
        raise ValueError("An AccountBalance cannot be an XCom: return balance.to_json() instead.")


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
    :param held_usd: how much of what is available is held for gates that joined the line earlier, in dollars.
    :param held_for: the run of the first of these gates, in words; empty if nothing is held.
    :param place: the place of this gate in line, 1 for the first; None if it is not in line.
    """

    balance: AccountBalance
    available_usd: Decimal
    reserved_usd: Decimal
    reserved_runs: int
    own_run_usd: Decimal = Decimal(0)
    reservation_id: str | None = None
    held_usd: Decimal = Decimal(0)
    held_for: str = ""
    place: int | None = None

    def describe_shortfall(self, needed_usd: Decimal) -> str:
        """
        Return in words why an amount cannot be reserved: it is not there, or it is held for others.

        :param needed_usd: the amount, in dollars.
        """
        if self.available_usd < needed_usd:
            return describe_shortfall(self.available_usd, needed_usd)
        return f"there is enough for {format_usd(needed_usd, ROUND_CEILING)}, but it is held for others"

    @property
    def not_held_usd(self) -> Decimal:
        """What is available and not held for a gate that joined the line earlier, in dollars."""
        return subtract_usd(self.available_usd, self.held_usd)

    @property
    def sentence(self) -> str:
        """The balance, what is reserved and the line in words, for a line of the log."""
        balance = self.balance
        return (
            f"The balance is {format_usd(balance.balance_usd)}, {self._reserved} "
            f"(account {balance.short_account_id}).{self._in_line}"
        )

    def __str__(self) -> str:
        balance_usd = format_usd(self.balance.balance_usd)
        return f"You.com account {self.balance.account_id} holds {balance_usd}, {self._reserved}"

    @property
    def _in_line(self) -> str:
        place = f"place {self.place} in line" if self.place else ""
        held = (
            f"{format_usd(self.held_usd, ROUND_CEILING)} is held for {self.held_for}" if self.held_for else ""
        )
        both = "; ".join(part for part in (place, held) if part)
        return f" {both[0].upper()}{both[1:]}." if both else ""

    @property
    def _reserved(self) -> str:
        has_reserved = self.reservation_id is not None
        if self.reserved_usd == 0:
            return "nothing else reserved" if has_reserved else "nothing reserved"
        reserved = format_usd(self.reserved_usd, ROUND_CEILING)
        one, many = ("had already", "had already") if has_reserved else ("has", "have")
        if self.own_run_usd == self.reserved_usd:
            return f"of which this run {one} reserved {reserved}"
        runs = f"1 run {one}" if self.reserved_runs == 1 else f"{self.reserved_runs} runs {many}"
        own = f", {format_usd(self.own_run_usd, ROUND_CEILING)} of it this run" if self.own_run_usd else ""
        return f"of which {runs} reserved {reserved}{own}"

    def to_json(self) -> dict[str, Any]:
        """Return the balance and the two amounts as plain JSON, for XCom and events."""
        return {
            **self.balance.to_json(),
            "reserved_usd": json_number(self.reserved_usd),
            "available_usd": json_number(self.available_usd),
        }


def balance_fall_usd(
    before: AccountBalance | Mapping[str, Any], after: AccountBalance | Mapping[str, Any]
) -> Decimal | None:
    """
    Return by how many dollars the balance fell between two readings of one account.

    This is not what a run has cost: others may have spent, too, and a top-up hides what was spent. Take the
    second reading after the connection's settle time, since You.com may post charges late.

    Return None if the balance rose, or if one of the readings has no balance.

    :param before: the first reading: a balance, or its JSON, such as the XCom of a gate.
    :param after: the second reading, likewise.
    :raises ValueError: if the readings are of two accounts.
    """
    (account_before, usd_before), (account_after, usd_after) = _read(before), _read(after)
    if usd_before is None or usd_after is None:
        return None
    if account_before != account_after:
        raise ValueError(
            f"These are the balances of two accounts, {account_before} and {account_after}: "
            "compare two readings of one account."
        )
    fall_usd = subtract_usd(usd_before, usd_after)
    return fall_usd if fall_usd >= 0 else None


def _read(reading: AccountBalance | Mapping[str, Any]) -> tuple[str, Decimal | None]:
    if isinstance(reading, AccountBalance):
        return reading.account_id, reading.balance_usd
    cents = reading["balance_cents"]
    return reading["account_id"], None if cents is None else cents_to_usd(Decimal(str(cents)))
