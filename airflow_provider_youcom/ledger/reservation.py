"""The values that the ledger returns: notes, reservations and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from airflow_provider_youcom.balance import AccountBalance, AvailableCredits
from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger._amounts import balance_to_units, units_to_usd, usd_to_units
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.place import NOTHING_HELD, AccountLine, Held


@dataclass(frozen=True)
class AccountNote:
    """
    What the ledger held for one account when the note was made.

    :param counter: how many times reservations had ended.
    :param reserved_units: how much was reserved, in hundred-thousandths of a cent; ended reservations that
        still counted are included.
    :param reserved_runs: how many runs had reserved it.
    :param runs: how much stood for each run, by ``Holder.run_key``, in hundred-thousandths of a cent.
    :param attempts: the ids of the attempts whose reservations stood.
    :param has_expired: whether one of them had expired, which the next decision ends.
    :param runs_since: for each run, the newest place in line when its oldest standing reservation was made.
    :param line: the gates that waited.
    """

    counter: int = 0
    reserved_units: int = 0
    reserved_runs: int = 0
    runs: Mapping[str, int] = field(default_factory=dict)
    attempts: frozenset[str] = frozenset()
    has_expired: bool = False
    runs_since: Mapping[str, int] = field(default_factory=dict)
    line: AccountLine = field(default_factory=AccountLine)

    @property
    def reserved_usd(self) -> Decimal:
        """How much was reserved, in dollars."""
        return units_to_usd(self.reserved_units)

    def reserved_for_run_usd(self, holder: Holder) -> Decimal:
        """
        Return how much stood for the run of a holder, in dollars.

        :param holder: any holder of the run.
        """
        return units_to_usd(self.runs.get(holder.run_key, 0))

    def held_before(self, holder: Holder) -> Held:
        """
        Return what a holder leaves alone: what is held for gates that joined the line earlier.

        :param holder: who wants to reserve.
        """
        run_since = self.runs_since.get(holder.run_key) if holder.is_task else None
        return self.line.held_before(holder, run_since)


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

    def needs_decision(self, claim: Claim, balance: AccountBalance) -> bool:
        """
        Return whether to ask for a decision: it could open the gate, or has to end what has expired.

        So a thousand gates that wait together send one query, and ask for a decision only if it may help.

        :param claim: what the gate wants to reserve.
        :param balance: You.com's answer, from after this note.
        """
        account = self.of(balance.account_id)
        available_units = balance_to_units(balance.balance_cents) - account.reserved_units
        available_units -= account.held_before(claim.attempt.holder).units
        could_open = claim.attempt.id in account.attempts or available_units >= claim.needed_units
        return could_open or account.has_expired

    def available(self, balance: AccountBalance, holder: Holder | None = None) -> AvailableCredits:
        """
        Return what is available to someone who has reserved nothing.

        :param balance: You.com's answer, from after this note.
        :param holder: who asks, if anybody; ``own_run_usd`` is about its run. Default: None.
        """
        account = self.of(balance.account_id)
        held = account.held_before(holder) if holder else NOTHING_HELD
        return AvailableCredits(
            balance,
            available_usd=units_to_usd(balance_to_units(balance.balance_cents) - account.reserved_units),
            reserved_usd=account.reserved_usd,
            reserved_runs=account.reserved_runs,
            own_run_usd=account.reserved_for_run_usd(holder) if holder else Decimal(0),
            held_usd=held.usd,
            held_for=held.whom,
            place=account.line.position(holder) if holder else None,
        )

    def after(self, decision: Decision) -> Note:
        """
        Return this note with what a decision has found and reserved since.

        A thousand gates that wait together share one note. Once some of them have reserved, it tells the
        others what is left, without a question to the ledger.

        :param decision: a decision that was made with this note.
        """
        available, reservation = decision.available, decision.reservation
        account = self.of(available.balance.account_id)
        reserved_units = usd_to_units(available.reserved_usd)
        runs, paid_units = dict(account.runs), 0
        if reservation is not None:
            own_units = usd_to_units(reservation.amount_usd)
            reserved_units += own_units
            if reservation.attempt.id not in account.attempts:
                run_key = reservation.holder.run_key
                runs[run_key] = runs.get(run_key, 0) + own_units
                paid_units = own_units
        changed = replace(
            account,
            reserved_units=max(account.reserved_units, reserved_units),
            reserved_runs=max(account.reserved_runs, available.reserved_runs + (reservation is not None)),
            runs=runs,
            has_expired=False,
            line=account.line.after(
                decision.opened_units, reservation.holder if reservation else None, paid_units
            ),
        )
        return replace(self, accounts={**self.accounts, available.balance.account_id: changed})


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
    def holder(self) -> Holder:
        """Who has reserved."""
        return self.attempt.holder

    @property
    def stands(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None


@dataclass(frozen=True)
class Decision:
    """
    The ledger's answer to an attempt that wants to reserve.

    :param available: what was available to this attempt.
    :param reservation: what stands for the attempt; None if not enough was available.
    :param opened_units: the total of all that has ever been reserved in the account, in hundred-thousandths
        of a cent.
    """

    available: AvailableCredits
    reservation: Reservation | None
    opened_units: int = 0
