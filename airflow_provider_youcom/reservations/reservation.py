"""The values that the ledger returns: notes, reservations and decisions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from airflow_provider_youcom.available import AvailableCredits
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.reservations import rule
from airflow_provider_youcom.reservations._amounts import balance_to_units, units_to_usd
from airflow_provider_youcom.reservations.claim import Attempt, Claim, Gate


@dataclass(frozen=True)
class AccountNote:
    """
    What the ledger held for one account when the note was made.

    :param counter: how many times reservations had ended.
    :param reserved: how much was reserved, in hundred-thousandths of a cent; ended reservations that still
        counted are included.
    :param reserved_runs: how many runs had reserved it.
    :param runs: how much stood for each run, by ``Gate.run_key``, in hundred-thousandths of a cent.
    :param attempts: the ids of the attempts whose reservations stood.
    """

    counter: int = 0
    reserved: int = 0
    reserved_runs: int = 0
    runs: Mapping[str, int] = field(default_factory=dict)
    attempts: frozenset[str] = frozenset()

    @property
    def reserved_usd(self) -> Decimal:
        """How much was reserved, in dollars."""
        return units_to_usd(self.reserved)

    def reserved_for_run_usd(self, gate: Gate) -> Decimal:
        """
        Return how much stood for the run of a gate, in dollars.

        :param gate: any gate of the run.
        """
        return units_to_usd(self.runs.get(gate.run_key, 0))


@dataclass(frozen=True)
class Note:
    """
    What was reserved before You.com was asked.

    It covers all accounts, since the answer of You.com tells which account it is about.

    :param time: the database's time, in microseconds since 1970 in UTC.
    :param accounts: the accounts in the ledger, by You.com's ``data.id``.
    """

    time: int
    accounts: Mapping[str, AccountNote]

    def of(self, account_id: str) -> AccountNote:
        """
        Return the note of one account. If the ledger does not know it, nothing is reserved in it.

        :param account_id: You.com's ``data.id``.
        """
        return self.accounts.get(account_id, AccountNote())

    def could_open(self, claim: Claim, balance: AccountBalance) -> bool:
        """
        Return whether a decision could open the gate. If not, the ledger need not be asked.

        So a thousand gates that wait together send one query, and ask for a decision only if it may help.

        :param claim: what the gate wants to reserve.
        :param balance: You.com's answer, from after this note.
        """
        account = self.of(balance.account_id)
        available = balance_to_units(balance.balance_cents) - account.reserved
        return claim.attempt.id in account.attempts or available >= claim.amount

    def available(self, balance: AccountBalance, gate: Gate | None = None) -> AvailableCredits:
        """
        Return what is available to someone who has nothing reserved.

        :param balance: You.com's answer, from after this note.
        :param gate: the gate that asks, if any; ``own_run_usd`` is about its run. Default: None.
        """
        account = self.of(balance.account_id)
        return AvailableCredits(
            balance,
            available_usd=units_to_usd(balance_to_units(balance.balance_cents) - account.reserved),
            reserved_usd=account.reserved_usd,
            reserved_runs=account.reserved_runs,
            own_run_usd=account.reserved_for_run_usd(gate) if gate else Decimal(0),
        )


@dataclass(frozen=True)
class Reservation:
    """
    An amount that is reserved for one attempt: one row of the ledger.

    :param id: the id of the decision that made it.
    :param account_id: You.com's ``data.id``.
    :param attempt: who has reserved.
    :param task_ids: the tasks behind the gate.
    :param amount_usd: how much, in dollars.
    :param settle_seconds: how late You.com may post a charge, in seconds.
    :param reserved_at: when it was made, by the ledger's clock.
    :param expires_at: when it expires, by the ledger's clock.
    :param ended_at: when it ended, or None while it stands.
    :param end_reason: why it ended, or None while it stands.
    :param ended_by: who ended it, or None while it stands.
    :param counts_until: until when it counts after its end, or None while it stands.
    """

    id: str
    account_id: str
    attempt: Attempt
    task_ids: tuple[str, ...]
    amount_usd: Decimal
    settle_seconds: float
    reserved_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    end_reason: rule.EndReason | None = None
    ended_by: str | None = None
    counts_until: datetime | None = None

    @property
    def gate(self) -> Gate:
        """The gate that has reserved."""
        return self.attempt.gate

    @property
    def stands(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None


@dataclass(frozen=True)
class Decision:
    """
    The ledger's answer to an attempt that wants to reserve.

    :param outcome: whether it may open, and if not, why.
    :param reservation: what stands for the attempt; None unless the outcome is open.
    :param available: what was available to this attempt.
    """

    outcome: rule.Outcome
    reservation: Reservation | None
    available: AvailableCredits


def new_decision_id() -> str:
    """Return a new id for ``Ledger.decide``; keep it to call that again if the answer is lost."""
    return uuid.uuid4().hex
