"""
The wait, without a worker.

Every gate on one connection and interval shares one poll (Airflow 3.3 and later; below, each has its own):
``open_shared_stream`` looks, ``filter_shared_stream`` is one gate's rule, and ``run`` is the two joined.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Hashable
from contextlib import aclosing
from typing import Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_youcom._templates import is_template
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComUnavailableError,
)
from airflow_provider_youcom.gate import Action, Reading, Verdict, judge

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 1.0
LONGEST_BACKOFF = 300.0
NOT_RENDERED = {"action": "ask the worker"}


class BalanceTrigger(BaseEventTrigger):
    """
    Fires once, when the gate decides; the event is the verdict.

    Nothing is converted or checked here: the triggerer dies of an exception in a constructor, and with
    ``start_from_trigger`` the values are not rendered yet.

    :param youcom_conn_id: the connection.
    :param min_usd: the least that the account must hold, in dollars, as a string.
    :param on_shortfall: see ``CreditGate``.
    :param on_unavailable: see ``CreditGate``.
    :param poke_interval: seconds between two looks; at least 1.
    :param exponential_backoff: wait twice as long after each look; such a gate polls for itself.
    :param max_wait: the longest of these waits, in seconds.
    :param silent_fail: go on waiting after an answer that cannot be read.
    :param end_from_trigger: end the task here, without a worker, when it succeeds or is skipped.
    :param do_xcom_push: whether a task that ends here pushes its reading.
    :param looked_at: when a worker looked before it deferred, in seconds since the epoch: the next look is
        one interval later. By default no worker has looked, and the first look is at once.
    """

    # BaseEventTrigger turns it off for asset watchers, which have no queue; this one serves tasks.
    supports_triggerer_queue = True

    def __init__(
        self,
        youcom_conn_id: str = "youcom_default",
        min_usd: str = "0",
        on_shortfall: Any = "wait",
        on_unavailable: Any = "wait",
        poke_interval: float = 60.0,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        silent_fail: bool = False,
        end_from_trigger: bool = False,
        do_xcom_push: bool = True,
        looked_at: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.youcom_conn_id = youcom_conn_id
        self.min_usd = min_usd
        self.on_shortfall = on_shortfall
        self.on_unavailable = on_unavailable
        self.poke_interval = poke_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.silent_fail = silent_fail
        self.end_from_trigger = end_from_trigger
        self.do_xcom_push = do_xcom_push
        self.looked_at = looked_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give the class path and the keyword arguments that make this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "youcom_conn_id": self.youcom_conn_id,
                "min_usd": self.min_usd,
                "on_shortfall": self.on_shortfall,
                "on_unavailable": self.on_unavailable,
                "poke_interval": self.poke_interval,
                "exponential_backoff": self.exponential_backoff,
                "max_wait": self.max_wait,
                "silent_fail": self.silent_fail,
                "end_from_trigger": self.end_from_trigger,
                "do_xcom_push": self.do_xcom_push,
                "looked_at": self.looked_at,
            },
        )

    def shared_stream_key(self) -> Hashable | None:
        """Name the poll that this gate shares; none while its waits grow, or its values are not rendered."""
        if self.exponential_backoff or self._is_template():
            return None
        return (type(self).__name__, str(self.youcom_conn_id), str(self.poke_interval))

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Reading]:
        """
        Look at the balance, over and over; for as long as anyone listens.

        An error is a reading too. Raising it would hand one exception object to every gate, and end all.

        :param kwargs: what :meth:`serialize` gave for one of the gates.
        """
        clock = asyncio.get_running_loop().time
        looks = failures = 0
        found = False
        if kwargs["looked_at"] is not None:
            looks, found = 1, True
            await asyncio.sleep(_rest_of_the_pause(kwargs, time.time()))
        while True:
            started = clock()
            reading = await _look(kwargs["youcom_conn_id"])
            found = found or isinstance(reading, AccountBalance)
            if found and isinstance(reading, YouComConnectionNotFoundError):
                reading = _gone_for_now(kwargs["youcom_conn_id"])
            looks += 1
            failures = failures + 1 if isinstance(reading, YouComUnavailableError) else 0
            yield reading
            await asyncio.sleep(max(0.0, _pause(kwargs, reading, looks, failures) - (clock() - started)))

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Reading]
    ) -> AsyncIterator[TriggerEvent]:
        """
        Judge each reading by this gate's rule, and say in its log why it still waits.

        :param shared_stream: readings from :meth:`open_shared_stream`.
        """
        if self._is_template():
            # Below Airflow 3.3 nothing renders what start_from_trigger hands over; the worker does.
            yield TriggerEvent(NOT_RENDERED)
            return
        async for reading in shared_stream:
            verdict = judge(
                reading,
                min_usd=self.min_usd,
                on_shortfall=self.on_shortfall,
                on_unavailable=self.on_unavailable,
            )
            self.log.log(verdict.log_level, verdict.log_line)
            if verdict.keeps_waiting(self.silent_fail):
                continue
            yield self._event(verdict)
            return

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """
        Render as a worker would, or leave the templates as they are, for a worker to render them.

        The triggerer's own environment makes nothing of what is undefined, and does not know a DAG's macros
        and filters: a gate could open at a threshold of 0 that nobody wrote.

        :param context: Airflow's context.
        :param jinja_env: Jinja's environment.
        """
        from jinja2 import StrictUndefined

        environment = jinja_env or self.get_template_env()
        environment.undefined = StrictUndefined
        written = {name: getattr(self, name) for name in self.template_fields}
        try:
            super().render_template_fields(context, environment)
        except Exception as error:  # noqa: BLE001 - whatever a filter or a macro raises, the worker will say
            self.log.info("A worker renders this gate's templates (%s)", type(error).__name__)
            vars(self).update(written)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll for this gate alone: below Airflow 3.3, in ``dag.test``, and with exponential backoff."""
        async with aclosing(self.open_shared_stream(self.serialize()[1])) as readings:  # type: ignore[type-var]
            async for event in self.filter_shared_stream(readings):
                yield event

    def _is_template(self) -> bool:
        return any(is_template(value) for value in (self.min_usd, self.youcom_conn_id))

    def _event(self, verdict: Verdict) -> TriggerEvent:
        if self.end_from_trigger and verdict.action is Action.OPEN:
            from airflow.triggers.base import TaskSuccessEvent

            return TaskSuccessEvent(xcoms={"return_value": verdict.xcom} if self.do_xcom_push else None)
        if self.end_from_trigger and verdict.action is Action.SKIP:
            from airflow.triggers.base import TaskSkippedEvent

            return TaskSkippedEvent()
        return TriggerEvent(verdict.to_event())


async def _look(youcom_conn_id: str) -> Reading:
    from airflow_provider_youcom.hooks.youcom import YouComHook

    try:
        return await YouComHook(youcom_conn_id).aget_balance()
    except YouComError as error:
        return error
    except Exception as error:
        # Airflow could not give the connection, say; it is the same for every gate, and may pass.
        log.exception("The balance could not be looked at")
        return YouComUnavailableError(
            f"Airflow could not look at the balance ({type(error).__name__}); "
            "the log of one of the gates on this connection says more."
        )


def _gone_for_now(youcom_conn_id: str) -> YouComUnavailableError:
    return YouComUnavailableError(
        f"Airflow does not find connection {youcom_conn_id!r}, which it found before; this passes if a "
        "secrets backend did not answer, and if the connection was removed, add it again."
    )


def _rest_of_the_pause(kwargs: dict[str, Any], now: float) -> float:
    """Give the seconds to the look after the worker's."""
    # A gate that went on at once would also come back before Airflow 3's scheduler has noticed that it left,
    # and be taken for lost. The clock of the worker may be another one.
    pause = max(SHORTEST_PAUSE, float(kwargs["poke_interval"]))
    return min(pause, max(0.0, float(kwargs["looked_at"]) + pause - now))


def _pause(kwargs: dict[str, Any], reading: Reading, looks: int, failures: int) -> float:
    """Give the seconds to the next look."""
    pause = float(kwargs["poke_interval"])
    if kwargs["exponential_backoff"]:
        pause = max(SHORTEST_PAUSE, pause) * 2.0 ** min(looks - 1, 30)
        pause = min(pause, float(kwargs["max_wait"] or "inf"))
    pause = max(SHORTEST_PAUSE, pause)
    if not isinstance(reading, YouComUnavailableError):
        return pause
    backoff = pause * 2.0 ** min(failures - 1, 30)
    return max(pause, min(max(backoff, reading.retry_after or 0.0), LONGEST_BACKOFF))
