"""The values that the ledger takes and returns: who reserves, how much, and what became of it."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.reservations import rule
from airflow_provider_youcom.reservations._amounts import (
    balance_to_units,
    need_to_units,
    seconds_to_microseconds,
    units_to_usd,
)


@dataclass(frozen=True)
class Gate:
    """
    The name of a gate, the same for all of its attempts.

    Code outside of Airflow, such as a script, is a gate too: ``Gate("", "", "host:pid", "what it does")``.

    :param deployment: an id of this Airflow deployment; two of them run the same DAGs under the same run
        ids.
    :param dag_id: the DAG.
    :param run_id: its run.
    :param task_id: the task.
    :param map_index: its index, if it is mapped; default -1.
    """

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @property
    def key(self) -> str:
        """A digest of the whole name: a database's index does not hold names of any length."""
        return _digest(self.deployment, self.dag_id, self.run_id, self.task_id, self.map_index)

    @property
    def run_key(self) -> str:
        """A digest of the run's name, to tell one run's reservations from another's."""
        return _digest(self.deployment, self.dag_id, self.run_id)


@dataclass(frozen=True)
class Attempt:
    """
    One try of a gate. At most one reservation stands for it.

    On Airflow 3, ``id`` and ``order`` are both the task instance's own id: each retry and each clear
    renews it, and it sorts by time. On 2.11, ``id`` is a digest of deployment, ``dag_run.id``, task id, map
    index and try number, and ``order`` is ``f"{dag_run.id:020d}-{try_number:010d}"``, which sorts before
    every id of Airflow 3. Where one task reserves several times, add something unique to ``id`` for each
    and leave ``order`` as it is.

    :param gate: whose try it is.
    :param id: unique among all attempts of all deployments.
    :param order: sorts the attempts of this gate by age, the oldest first; compared by code point.
    """

    gate: Gate
    id: str
    order: str


@dataclass(frozen=True)
class Claim:
    """
    What an attempt wants to set aside.

    :param attempt: who wants it.
    :param amount_usd: how much, in dollars, above 0; digits beyond a hundred-thousandth of a cent are
        rounded up.
    :param settle_seconds: how late You.com may post a charge, in seconds; default 60.
    :param reserve_for_seconds: after how long the reservation expires, in seconds; default one day.
    :param task_ids: the tasks behind the gate, without our own gates and teardowns.
    :raises ValueError: if an amount or a duration is out of range.
    """

    attempt: Attempt
    amount_usd: Decimal
    settle_seconds: float = rule.DEFAULT_SETTLE_SECONDS
    reserve_for_seconds: float = rule.DEFAULT_RESERVE_FOR_SECONDS
    task_ids: tuple[str, ...] = ()
    amount: int = field(init=False, repr=False)
    settle: int = field(init=False, repr=False)
    reserve_for: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        exact = {
            "amount": need_to_units(self.amount_usd),
            "settle": seconds_to_microseconds(self.settle_seconds, "settle_seconds", least=0),
            "reserve_for": seconds_to_microseconds(self.reserve_for_seconds, "reserve_for", least=1),
        }
        for name, value in exact.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class AccountNote:
    """
    What the ledger held for one account when the note was made.

    :param counter: how often reservations had ended.
    :param reserved: what counted against a reading, in hundred-thousandths of a cent.
    :param runs: what stood for each run, by :attr:`Gate.run_key`, in hundred-thousandths of a cent.
    :param attempts: the ids of the attempts whose reservations stood.
    """

    counter: int = 0
    reserved: int = 0
    runs: Mapping[str, int] = field(default_factory=dict)
    attempts: frozenset[str] = frozenset()

    @property
    def reserved_usd(self) -> Decimal:
        """What counted against a reading, in dollars."""
        return units_to_usd(self.reserved)

    def reserved_for_run_usd(self, gate: Gate) -> Decimal:
        """
        Return what stood for a gate's own run, in dollars.

        :param gate: any gate of the run.
        """
        return units_to_usd(self.runs.get(gate.run_key, 0))


@dataclass(frozen=True)
class Note:
    """
    What must be known before You.com is asked, of all accounts, since the account is in its answer.

    :param time: the database's time, in microseconds since 1970 in UTC.
    :param accounts: the accounts that the ledger knows, by You.com's ``data.id``.
    """

    time: int
    accounts: Mapping[str, AccountNote]

    def of(self, account_id: str) -> AccountNote:
        """
        Return the note of one account; nothing is reserved in one that the ledger does not know.

        :param account_id: You.com's ``data.id``.
        """
        return self.accounts.get(account_id, AccountNote())

    def could_open(self, claim: Claim, balance: AccountBalance) -> bool:
        """
        Return whether it is worth deciding: if not, the ledger would answer that it is short.

        Thus a thousand gates that wait together send one query, and decide only when it may help.

        :param claim: what the gate wants.
        :param balance: You.com's answer after this note.
        """
        account = self.of(balance.account_id)
        available = balance_to_units(balance.balance_cents) - account.reserved
        return claim.attempt.id in account.attempts or available >= claim.amount


@dataclass(frozen=True)
class Reservation:
    """
    An amount set aside for one attempt: one row of the ledger.

    :param id: the id of the decision that made it.
    :param account_id: You.com's ``data.id``.
    :param attempt: whose it is.
    :param task_ids: the tasks behind the gate.
    :param amount_usd: how much, in dollars.
    :param settle_seconds: how late You.com may post a charge, in seconds.
    :param reserved_at: since when it stands, by the ledger's clock.
    :param expires_at: when it expires, by the ledger's clock.
    :param ended_at: when it ended, or None while it stands.
    :param end_reason: why it ended, or None while it stands.
    :param ended_by: who ended it, or None while it stands.
    :param counts_until: until when it counts against a reading after its end, or None while it stands.
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
        """The gate whose attempt it is."""
        return self.attempt.gate

    @property
    def stands(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None


@dataclass(frozen=True)
class Decision:
    """
    The ledger's answer to an attempt that wants to reserve.

    ``available_usd``, ``reserved_usd`` and ``reserved_runs`` describe what was there for this attempt: they
    leave its own reservation out.

    :param outcome: what the gate is told.
    :param reservation: what stands for the attempt; None unless the outcome is open.
    :param available_usd: the reading, minus all that counts against it, in dollars.
    :param reserved_usd: all that counts against the reading, in dollars.
    :param reserved_runs: how many runs that is reserved by.
    :param own_run_usd: how much of it stands for other gates and attempts of the same run, in dollars.
    :param missing_usd: how much more is needed, in dollars; 0 if nothing is.
    """

    outcome: rule.Outcome
    reservation: Reservation | None
    available_usd: Decimal
    reserved_usd: Decimal
    reserved_runs: int
    own_run_usd: Decimal
    missing_usd: Decimal


def new_decision_id() -> str:
    """Return an id for one call of :meth:`Ledger.decide`; make it before, to ask again under it."""
    return uuid.uuid4().hex


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
