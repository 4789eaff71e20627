"""
Watch a balance for an asset, and fire when it crosses a line.

It shares the poll of the gates on the same connection and interval (Airflow 3.3 and later).
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import numbers
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_youcom._templates import is_template
from airflow_provider_youcom.crossing import Line
from airflow_provider_youcom.money import plain_text
from airflow_provider_youcom.triggers._poll import SHORTEST_PAUSE
from airflow_provider_youcom.triggers._polling_trigger import PollingTrigger
from airflow_provider_youcom.triggers._state_store import StateStore
from airflow_provider_youcom.triggers._watcher_memory import WatcherMemory

if TYPE_CHECKING:
    from airflow_provider_youcom.triggers._check import Check


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class BalanceEventTrigger(PollingTrigger):
    """
    Fire an event for an asset when the balance crosses a line. For an ``AssetWatcher`` (Airflow 3).

    It fires once, and again only after the balance has come back by ``rearm_usd``. Each event is a dict:

    - ``id``: what tells this event from all others. If a crash repeats an event, both have the same id.
    - ``kind``: ``"above"`` or ``"below"``; ``"unknown"`` after ``blind_after`` without a balance; ``"known"``
      when the balance is known again and has not crossed the line.
    - ``happened_at``: when it happened, in ISO 8601 and UTC.
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
        store = StateStore(
            # Airflow below 3.3 has none.
            getattr(self, "asset_state_store", None),
            f"youcom {self._line.name}",
            self.log,
        )
        memory = WatcherMemory(self._line, store, self.log)
        await memory.recall()
        async for check in self._without_end(shared_stream):
            if event := await memory.observe(check.reading):
                yield TriggerEvent(dict(event))

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
        if not isinstance(conn_id, str) or not conn_id.strip() or is_template(conn_id):
            raise ValueError(
                f"youcom_conn_id={conn_id!r} is not the name of a connection: use a str; templates are not "
                "rendered here, since a watcher belongs to no run."
            )
        self.poke_interval = _seconds(self.poke_interval, "poke_interval", at_least=SHORTEST_PAUSE)
        self.blind_after = _seconds(self.blind_after, "blind_after", at_least=0.0)
        self._line = line = Line.from_options(
            youcom_conn_id=conn_id,
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


def _seconds(value: object, name: str, at_least: float) -> float:
    seconds = _to_seconds(value)
    # NaN fails this comparison too. The upper bound is what a timedelta can hold.
    if not at_least <= seconds <= timedelta.max.total_seconds() / 2:
        raise ValueError(f"{name}={repr(value)[:60]} is not a duration: use {at_least:g} seconds or more.")
    return seconds


def _to_seconds(value: object) -> float:
    with suppress(ValueError, OverflowError):
        match value:
            case bool():
                return math.nan
            case timedelta():
                return value.total_seconds()
            case str() | Decimal() | numbers.Real():
                return float(value)
    return math.nan
