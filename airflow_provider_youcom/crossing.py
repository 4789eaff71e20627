"""The rule of a watcher: when a balance crosses a line, and when an unknown balance is an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal, get_args

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.gate import Reading
from airflow_provider_youcom.money import (
    format_usd,
    is_amount,
    json_number,
    multiply_usd,
    parse_usd,
    plain_text,
    subtract_usd,
)

Direction = Literal["above", "below"]
AtStart = Literal["fire", "remember"]
Event = Mapping[str, Any]

_AT_START: dict[Direction, AtStart] = {"above": "remember", "below": "fire"}
_REARM_SHARE = Decimal("0.05")
_CENTS_PER_USD = Decimal(100)


@dataclass(frozen=True)
class Memory:
    """
    What a watcher remembers from one check to the next.

    :param armed: whether the next crossing fires an event; None until the balance is known for the first
        time.
    :param unknown_since: when the checks began to fail; None while the balance is known.
    :param told_unknown: whether an event has reported that the balance is unknown.
    :param unsaved: the event of the last check, if there was one. A crash may have lost it, so a watcher that
        starts with it fires it again.
    """

    armed: bool | None = None
    unknown_since: datetime | None = None
    told_unknown: bool = False
    unsaved: Event | None = None

    def after_clock_change(self, change: timedelta) -> Memory:
        """
        Return the memory after the clock was set, which does not change how long the balance is unknown.

        :param change: by how much the clock went forward; negative if it went back.
        """
        return replace(self, unknown_since=self.unknown_since and self.unknown_since + change)

    def to_json(self) -> dict[str, Any]:
        """Return the memory as plain JSON."""
        return {
            "armed": self.armed,
            "unknown_since": self.unknown_since and self.unknown_since.isoformat(),
            "told_unknown": self.told_unknown,
            "unsaved": self.unsaved and dict(self.unsaved),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Memory:
        """
        Return the memory that ``to_json`` wrote.

        :param stored: what ``to_json`` returned.
        """
        since = stored["unknown_since"]
        unsaved = stored["unsaved"]
        return cls(
            armed=stored["armed"],
            unknown_since=since and datetime.fromisoformat(since).astimezone(UTC),
            told_unknown=stored["told_unknown"],
            unsaved=unsaved and {**unsaved, "id": str(unsaved["id"])},
        )


@dataclass(frozen=True)
class Line:
    """
    A line, and the side of it that the watcher waits for.

    ``"above"`` includes the line itself, at which a gate with this ``min_usd`` opens. ``"below"`` does not.

    :param youcom_conn_id: the connection.
    :param direction: the side: ``"above"`` or ``"below"``.
    :param line_usd: the line, in dollars.
    :param rearm_usd: how far the balance must come back before the next crossing is an event, in dollars.
    :param at_start: what to do if the balance is beyond the line at the first reading: ``"fire"`` an event,
        or ``"remember"`` it and wait until the balance has come back.
    :param blind_after: seconds without a balance after which to fire an event.
    """

    youcom_conn_id: str
    direction: Direction
    line_usd: Decimal
    rearm_usd: Decimal
    at_start: AtStart
    blind_after: float

    @classmethod
    def from_options(
        cls,
        *,
        youcom_conn_id: str,
        above_usd: object,
        below_usd: object,
        rearm_usd: object,
        at_start: object,
        blind_after: float,
    ) -> Line:
        """
        Return the line for the options of a watcher.

        :param youcom_conn_id: the connection.
        :param above_usd: the line in dollars, a number or a str; or None.
        :param below_usd: the line in dollars, a number or a str; or None. Exactly one of the two is set.
        :param rearm_usd: dollars, a number or a str; None means 5 % of the line.
        :param at_start: see ``Line``; None means ``"fire"`` for ``below_usd``, and
            ``"remember"`` for ``above_usd``.
        :param blind_after: see ``Line``.
        :raises ValueError: if an option is not valid.
        """
        if (above_usd is None) == (below_usd is None):
            raise ValueError(f"above_usd={above_usd!r} and below_usd={below_usd!r}: set exactly one of them.")
        direction: Direction = "below" if above_usd is None else "above"
        line_usd = parse_usd(below_usd if above_usd is None else above_usd, f"{direction}_usd")
        if line_usd == 0:
            raise ValueError(f"{direction}_usd={line_usd} is not a line to watch: use an amount above 0.")
        if not _is_possible(line_usd):
            raise ValueError(f"{direction}_usd={line_usd:.6g} is not a balance: use a smaller amount.")
        return cls(
            youcom_conn_id=youcom_conn_id,
            direction=direction,
            line_usd=line_usd,
            rearm_usd=_parse_rearm(rearm_usd, direction, line_usd),
            at_start=_parse_at_start(at_start, direction),
            blind_after=blind_after,
        )

    @property
    def name(self) -> str:
        """The connection, the direction and the line, for example ``youcom_default below 25``."""
        return f"{self.youcom_conn_id} {self.direction} {plain_text(self.line_usd)}"

    def observe(self, memory: Memory, reading: Reading, now: datetime) -> Memory:
        """
        Return the memory after a reading. Its ``unsaved`` is the event to fire, if there is one.

        :param memory: the memory before the reading.
        :param reading: a balance, or an error if there was no balance.
        :param now: the time, with a time zone.
        """
        if isinstance(reading, AccountBalance):
            return self._observe_balance(memory, reading)
        # A clock that was ahead when the checks began to fail may have been set right since.
        since = min(memory.unknown_since or now, now)
        blind = replace(memory, unknown_since=since, unsaved=None)
        if memory.told_unknown or now - since < timedelta(seconds=self.blind_after):
            return blind
        reason = f"The balance has been unknown since {since:%Y-%m-%d %H:%M:%S %Z}: {reading}"
        return replace(blind, told_unknown=True, unsaved=self._event("unknown", since, reason))

    def _observe_balance(self, memory: Memory, balance: AccountBalance) -> Memory:
        beyond = self._is_beyond(balance.balance_usd)
        armed = not beyond and (memory.armed is not False or self._has_come_back(balance.balance_usd))
        return Memory(armed=armed, unsaved=self._event_of(memory, balance, beyond))

    def _event_of(self, memory: Memory, balance: AccountBalance, beyond: bool) -> Event | None:
        # Never two at once: Airflow starts one run for two events of an asset in the same second.
        if beyond and self._fires(memory):
            return self._crossing(balance)
        if memory.told_unknown:
            return self._event(
                "known", balance.checked_at, f"The balance is known again. {balance}.", balance
            )
        return None

    def _fires(self, memory: Memory) -> bool:
        return self.at_start == "fire" if memory.armed is None else memory.armed

    def _is_beyond(self, balance_usd: Decimal) -> bool:
        return (balance_usd < self.line_usd) == (self.direction == "below")

    def _has_come_back(self, balance_usd: Decimal) -> bool:
        # The balance is not beyond the line here.
        return subtract_usd(balance_usd, self.line_usd).copy_abs() >= self.rearm_usd

    def _crossing(self, balance: AccountBalance) -> Event:
        line = format_usd(self.line_usd, ROUND_CEILING)
        crossed = f"has {'fallen below' if self.direction == 'below' else 'reached'} the line of {line}"
        holds = f"You.com account {balance.account_id} holds {format_usd(balance.balance_usd)}"
        return self._event(self.direction, balance.checked_at, f"{holds} and {crossed}.", balance)

    def _event(
        self, kind: str, happened_at: datetime, reason: str, balance: AccountBalance | None = None
    ) -> Event:
        return {
            "id": f"{self.name} {kind} {happened_at.isoformat()}",
            "kind": kind,
            "line_usd": json_number(self.line_usd),
            "happened_at": happened_at.isoformat(),
            "reason": reason,
            "balance": balance and balance.to_json(),
            "youcom_conn_id": self.youcom_conn_id,
        }


def _parse_rearm(rearm_usd: object, direction: Direction, line_usd: Decimal) -> Decimal:
    default_usd = multiply_usd(line_usd, _REARM_SHARE)
    parsed = parse_usd(default_usd if rearm_usd is None else rearm_usd, "rearm_usd")
    if direction == "above" and parsed > line_usd:
        raise ValueError(
            f"rearm_usd={plain_text(parsed)} is more than above_usd={plain_text(line_usd)}, so that the "
            "watcher would fire again only after a negative balance: use a smaller amount."
        )
    if direction == "below" and not _is_possible(subtract_usd(line_usd, parsed.copy_negate())):
        raise ValueError(
            f"rearm_usd={parsed:.6g} above below_usd={line_usd:.6g} is more than an account can hold, so "
            "that the watcher would never fire again: use a smaller amount."
        )
    return parsed


def _is_possible(balance_usd: Decimal) -> bool:
    # You.com tells a balance in cents.
    return is_amount(multiply_usd(balance_usd, _CENTS_PER_USD))


def _parse_at_start(at_start: object, direction: Direction) -> AtStart:
    if at_start is None:
        return _AT_START[direction]
    for choice in get_args(AtStart):
        if at_start == choice:
            return choice  # type: ignore[no-any-return]
    raise ValueError(f'at_start={at_start!r} is not known: use "fire" or "remember".')
