"""The values of the line: the places of the gates that wait, in order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from itertools import accumulate

from airflow_provider_youcom.ledger import line_rule
from airflow_provider_youcom.ledger._amounts import units_to_usd, within_bounds
from airflow_provider_youcom.ledger.claim import Holder


@dataclass(frozen=True)
class Place:
    """
    The place of one gate that waits.

    :param account_id: You.com's ``data.id``.
    :param holder: the gate.
    :param number: rises with each gate that joins; a smaller one is in front.
    :param joined_at: since when the gate waits, by the ledger's clock.
    :param amount_units: what the gate needs, in hundred-thousandths of a cent.
    :param opened_before: the total of all that had been reserved when the gate's count began, in that unit.
    :param patience: how many times its amount others may reserve before it is held.
    :param is_held: whether its amount is held, so that gates that joined later leave it alone.
    """

    account_id: str
    holder: Holder
    number: int
    joined_at: datetime
    amount_units: int
    opened_before: int
    patience: int
    is_held: bool

    @property
    def amount_usd(self) -> Decimal:
        """What the gate needs, in dollars."""
        return units_to_usd(self.amount_units)

    def after(self, opened_units: int, paid_units: int) -> Place:
        """
        Return this place after others have opened.

        :param opened_units: the total of all that has ever been reserved.
        :param paid_units: what has just been reserved.
        """
        patience = line_rule.patience_after(self, paid_units)
        place = self if patience == self.patience else replace(self, patience=patience)
        is_held = line_rule.is_held(place, opened_units)
        return place if is_held == place.is_held else replace(place, is_held=is_held)


@dataclass(frozen=True)
class Held:
    """
    What is held for gates that joined earlier than a holder.

    :param units: how much, in hundred-thousandths of a cent.
    :param gates: for how many gates.
    :param first: the first of these gates; None if nothing is held.
    """

    units: int = 0
    gates: int = 0
    first: Holder | None = None

    @property
    def usd(self) -> Decimal:
        """How much, in dollars."""
        return units_to_usd(self.units)

    @property
    def whom(self) -> str:
        """How a sentence names these gates; empty if nothing is held."""
        if self.first is None:
            return ""
        others = self.gates - 1
        return f"{self.first.run_name} and {others} more in line" if others else self.first.run_name


NOTHING_HELD = Held()


@dataclass(frozen=True)
class AccountLine:
    """
    The gates that wait in one account when the note was made.

    :param places: one for each gate, the first in line first.
    :param opened_units: the total of all that has ever been reserved.
    :param best_units: the most that has been available since the last opening.
    :param moved_at: when that rose or something opened, in microseconds since 1970 in UTC.
    :param opened_at: when something last opened, in microseconds since 1970 in UTC.
    :param late: the numbers of the places of gates whose check is overdue, by ``Holder.key``. Nothing is held
        for them until they check again.
    """

    places: tuple[Place, ...] = ()
    opened_units: int = 0
    best_units: int = 0
    moved_at: int = 0
    opened_at: int = 0
    late: Mapping[str, int] = field(default_factory=dict)

    def of(self, holder: Holder) -> Place | None:
        """Return the place of a gate, or None if it is not in line."""
        index = self._indexes.get(holder.key)
        return None if index is None else self.places[index]

    def position(self, holder: Holder) -> int | None:
        """Return 1 for the gate that is first in line, and so on; None for one that is not in line."""
        index = self._indexes.get(holder.key)
        return None if index is None else index + 1

    def held_before(self, holder: Holder, run_since: int | None) -> Held:
        """
        Return what a holder leaves alone: what is held for gates that joined earlier.

        :param holder: who wants to reserve.
        :param run_since: see ``line_rule.bound``.
        """
        place = self.of(holder)
        number = place.number if place else self.late.get(holder.key)
        end = line_rule.bound(number, run_since)
        count = bisect_left(self._held, end, key=lambda held: held.number)
        return Held(self._sums[count - 1], count, self._held[0].holder) if count else NOTHING_HELD

    @property
    def needed_usd(self) -> Decimal:
        """What all these gates need, in dollars."""
        return units_to_usd(sum(place.amount_units for place in self.places))

    def has_come_in(self, available_units: int) -> bool:
        """Return whether more is available than at any time since the last opening, while gates wait."""
        return bool(self.places) and within_bounds(available_units) > self.best_units

    def held_in_vain(self, available_units: int, now: int, hold_us: int) -> list[Place]:
        """
        Return the places whose hold ends now.

        :param available_units: the reading, minus every reservation that counts.
        :param now: the time of the note.
        :param hold_us: how long nothing may move.
        """
        moved_at = now if self.has_come_in(available_units) else self.moved_at
        if not line_rule.has_lasted(now, moved_at, self.opened_at, hold_us):
            return []
        return line_rule.held_in_vain(self._held, available_units)

    def after(self, opened_units: int, opened: Holder | None, paid_units: int) -> AccountLine:
        """
        Return the line after a decision.

        :param opened_units: the total after it, or one from before, since it never falls.
        :param opened: who has opened, if anybody.
        :param paid_units: what has just been reserved; 0 if nothing was.
        """
        opened_units = max(opened_units, self.opened_units)
        if opened_units == self.opened_units and opened is None:
            return self
        places = tuple(
            place.after(opened_units, paid_units) for place in self.places if place.holder != opened
        )
        return replace(self, places=places, opened_units=opened_units)

    @cached_property
    def _indexes(self) -> dict[str, int]:
        return {place.holder.key: index for index, place in enumerate(self.places)}

    @cached_property
    def _held(self) -> list[Place]:
        return [place for place in self.places if place.is_held]

    @cached_property
    def _sums(self) -> list[int]:
        return list(accumulate(place.amount_units for place in self._held))
