"""
Watch a balance for an asset, and fire when it crosses a line.

It shares the poll of the gates on the same connection and interval (Airflow 3.3 and later).
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_youcom._templates import is_template
from airflow_provider_youcom.crossing import Event, Line, Memory
from airflow_provider_youcom.money import plain_text
from airflow_provider_youcom.triggers._poll import SHORTEST_PAUSE
from airflow_provider_youcom.triggers._polling_trigger import PollingTrigger

if TYPE_CHECKING:
    from airflow_provider_youcom.triggers._check import Check


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class BalanceEventTrigger(PollingTrigger):
    """
    Fire an event for an asset when the balance crosses a line. For an ``AssetWatcher`` (Airflow 3).

    It fires once, and again only after the balance has come back by ``rearm_usd``. Each event is a dict:

    - ``kind``: ``"above"`` or ``"below"``; ``"unknown"`` after ``blind_after`` without a balance; ``"known"``
      when the balance is known again and has not crossed the line.
    - ``happened_at``: when it happened, in ISO 8601 and UTC. If a crash repeats an event, both have the same
      time.
    - ``reason``: what happened, in one sentence.
    - ``balance``: the reading, as ``AccountBalance.to_json`` returns it; None if it is unknown.
    - ``line_usd`` and ``youcom_conn_id``: the line and the connection.

    :param youcom_conn_id: the connection. Templates are not rendered, since a watcher belongs to no run.
    :param above_usd: the line in dollars, a number or a str: fire when the balance reaches it.
    :param below_usd: the line in dollars, a number or a str: fire when the balance falls below it. Set
        exactly one of the two.
    :param rearm_usd: how far the balance must come back, in dollars. Default: 5 % of the line.
    :param at_start: what to do if the balance is beyond the line when the watcher first checks:
        ``"fire"`` (default with ``below_usd``) or ``"remember"`` (default with ``above_usd``), which waits
        until the balance has come back.
    :param poke_interval: seconds between two checks, or a timedelta; at least 1. Default: 60.
    :param blind_after: seconds without a balance, or a timedelta, after which to fire an event of the kind
        ``"unknown"``. Default: 1 hour.
    :raises TypeError: if an option is not valid, and on Airflow 2, which has no watchers.
    """

    youcom_conn_id: Any = "youcom_default"
    above_usd: Any = None
    below_usd: Any = None
    rearm_usd: Any = None
    at_start: Any = None
    poke_interval: Any = 60.0
    blind_after: Any = 3600.0

    def __post_init__(self) -> None:
        # Always a TypeError: the triggerer survives no other exception of a constructor, if it ever gets
        # arguments that are not valid.
        super().__init__()  # type: ignore[no-untyped-call]
        self._last_problem = ""
        if BaseEventTrigger is BaseTrigger:
            raise TypeError("BalanceEventTrigger needs Airflow 3 or later: Airflow 2 has no asset watchers.")
        try:
            self._check_and_normalize()
        except ValueError as error:
            raise TypeError(f"BalanceEventTrigger: {error}") from None

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Check]
    ) -> AsyncGenerator[TriggerEvent, None]:
        """
        Fire an event for each crossing, without end.

        :param shared_stream: checks from ``open_shared_stream``.
        """
        memory = stored = await self._recall()
        repeat = memory.unsaved
        async for check in self._without_end(shared_stream):
            reading = check.reading
            if repeat:
                yield self._fire(repeat)
                repeat = None
                continue
            before, memory = memory, self._line.observe(memory, reading, datetime.now(UTC))
            if memory.unknown_since and not before.unknown_since:
                self.log.warning("The balance is unknown: %s", reading)
            # Airflow saves an event some time after it was yielded, and does not tell when. So it is stored
            # first, and dropped at the next check: if the triggerer is killed in between, it is fired again.
            stored = await self._store(memory, stored)
            if memory.unsaved:
                yield self._fire(memory.unsaved)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll for this watcher alone, on Airflow below 3.3."""
        async with (
            aclosing(self._poll_alone()) as checks,
            aclosing(self.filter_shared_stream(checks)) as events,
        ):
            async for event in events:
                yield event

    def _check_and_normalize(self) -> None:
        """Convert each option to a fixed JSON form, since Airflow compares triggers by their arguments."""
        conn_id = self.youcom_conn_id
        if not isinstance(conn_id, str) or not conn_id or is_template(conn_id):
            raise ValueError(
                f"youcom_conn_id={conn_id!r} is not the name of a connection: use a str; templates are not "
                "rendered here, since a watcher belongs to no run."
            )
        self.poke_interval = _seconds(self.poke_interval, "poke_interval", at_least=SHORTEST_PAUSE)
        self.blind_after = _seconds(self.blind_after, "blind_after", at_least=0.0)
        self._line = line = Line.from_options(
            above_usd=self.above_usd,
            below_usd=self.below_usd,
            rearm_usd=self.rearm_usd,
            at_start=self.at_start,
            blind_after=self.blind_after,
        )
        self.above_usd = self.below_usd = None
        setattr(self, f"{line.direction}_usd", plain_text(line.line_usd))
        self.rearm_usd = plain_text(line.rearm_usd)
        self.at_start = line.at_start

    async def _without_end(self, checks: AsyncIterator[Check]) -> AsyncIterator[Check]:
        """Yield checks without end; if the shared poll ends, poll alone."""
        while True:
            try:
                async for check in checks:
                    yield check
            except Exception:
                self.log.exception("The shared poll of this watcher failed; it goes on with its own")
            await asyncio.sleep(self.poke_interval)
            checks = self._poll_alone()

    def _fire(self, event: Event) -> TriggerEvent:
        return TriggerEvent({**event, "youcom_conn_id": self.youcom_conn_id})

    async def _recall(self) -> Memory:
        """Return the memory that an earlier triggerer stored, or an empty one."""
        store = getattr(self, "asset_state_store", None)
        if store is None:
            # Airflow below 3.3 has none.
            return Memory()
        try:
            stored = await store.aget(self._storage_key)
            return Memory() if stored is None else Memory.from_json(stored)
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the watcher goes on
            self._cannot_store(error)
            return Memory()

    async def _store(self, memory: Memory, stored: Memory) -> Memory:
        """Store the memory if it has changed, and return what is stored now."""
        store = getattr(self, "asset_state_store", None)
        if store is None or memory == stored:
            return stored
        try:
            await store.aset(self._storage_key, memory.to_json())
        except Exception as error:  # noqa: BLE001 - as above; the next check tries again
            self._cannot_store(error)
            return stored
        return memory

    def _cannot_store(self, error: Exception) -> None:
        problem = f"{type(error).__name__}: {error}"
        if problem == self._last_problem:
            return
        self._last_problem = problem
        self.log.warning(
            "Airflow does not keep the state of this watcher (%s), so a restart of the triggerer may repeat "
            "its last event, or miss a crossing; if two assets have equal watchers, change one.",
            problem,
        )

    @property
    def _storage_key(self) -> str:
        line = self._line
        return f"youcom {self.youcom_conn_id} {line.direction} {plain_text(line.line_usd)}"


def _seconds(value: object, name: str, at_least: float) -> float:
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    # NaN fails this comparison too. The upper bound is what a timedelta can hold.
    if not at_least <= seconds <= timedelta.max.total_seconds() / 2:
        raise ValueError(f"{name}={repr(value)[:60]} is not a duration: use {at_least:g} seconds or more.")
    return seconds
