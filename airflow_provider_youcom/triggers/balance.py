"""
The trigger: wait without a worker.

From Airflow 3.3 on, all gates with the same connection and interval share one poll; below, each gate polls
for itself. ``open_shared_stream`` is the poll, ``filter_shared_stream`` applies the rule of one gate, and
``run`` does both.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Hashable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_youcom import _metrics
from airflow_provider_youcom._templates import is_template
from airflow_provider_youcom.gate import Action, Reading, Verdict, judge
from airflow_provider_youcom.triggers._polling_trigger import PollingTrigger
from airflow_provider_youcom.triggers._sigterm import ended_by_sigterm

if TYPE_CHECKING:
    from airflow_provider_youcom.triggers._check import Check

NOT_RENDERED = {"action": "render on the worker"}
TIMED_OUT = {"action": "time out"}


@dataclasses.dataclass(eq=False, repr=False)
class BalanceTrigger(PollingTrigger):
    """
    Fire once, when the gate decides. The event is the verdict.

    The constructor neither converts nor checks its arguments: an exception there stops the whole triggerer,
    and with ``start_from_trigger`` templates are not rendered yet.

    :param youcom_conn_id: the connection.
    :param min_usd: the least that the account must hold, in dollars, as a string.
    :param on_shortfall: see ``CreditGate``.
    :param on_unavailable: see ``CreditGate``.
    :param poke_interval: seconds between two checks; at least 1.
    :param exponential_backoff: double the interval after each check; the gate then polls for itself.
    :param max_wait: the longest of these intervals, in seconds.
    :param silent_fail: go on waiting after an answer that cannot be read.
    :param end_from_trigger: end the task here, without a worker, when it succeeds or is skipped.
    :param do_xcom_push: whether a task that ends here pushes its reading.
    :param looked_at: when a worker checked the balance before it deferred, in seconds since the epoch. The
        next check is one interval later. Default: None, and the first check is made at once.
    :param ends_at: when the wait ends, in seconds since the epoch, for ``dag.test`` and the like, which drop
        the timeout of a deferral. Default: None, and only Airflow's timeout ends the wait.
    """

    youcom_conn_id: str = "youcom_default"
    min_usd: str = "0"
    on_shortfall: Any = "wait"
    on_unavailable: Any = "wait"
    poke_interval: float = 60.0
    exponential_backoff: bool = False
    max_wait: float | None = None
    silent_fail: bool = False
    end_from_trigger: bool = False
    do_xcom_push: bool = True
    looked_at: float | None = None
    ends_at: float | None = None

    # BaseEventTrigger turns this off for asset watchers, which have no queue. This trigger serves tasks.
    supports_triggerer_queue = True

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def shared_stream_key(self) -> Hashable | None:
        """Return the key of the poll to share; None with exponential backoff or templates."""
        if self.exponential_backoff or self._is_template():
            return None
        return super().shared_stream_key()

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Check]) -> AsyncIterator[TriggerEvent]:
        """
        Apply this gate's rule to each check, and log the result.

        :param shared_stream: checks from ``open_shared_stream``.
        """
        if self._is_template():
            # Below Airflow 3.3, only a worker renders the templates of start_from_trigger.
            yield TriggerEvent(NOT_RENDERED)
            return
        async for check in shared_stream:
            verdict = judge(
                await self._read(check),
                min_usd=self.min_usd,
                on_shortfall=self.on_shortfall,
                on_unavailable=self.on_unavailable,
            )
            self.log.log(verdict.log_level, self._log_line(verdict, check))
            if verdict.keeps_waiting(self.silent_fail):
                self._go_on_waiting(check)
                continue
            yield self._event(verdict)
            return

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """
        Render templates as a worker does; if that fails, leave them to a worker.

        The triggerer's own environment renders an undefined name as an empty string, and does not know the
        macros and filters of a DAG: a gate could open at a threshold that nobody wrote.

        :param context: Airflow's context.
        :param jinja_env: Jinja's environment.
        """
        from jinja2 import StrictUndefined

        environment = jinja_env or self.get_template_env()
        environment.undefined = StrictUndefined
        written = {name: getattr(self, name) for name in self.template_fields}
        try:
            super().render_template_fields(context, environment)
        except Exception as error:  # noqa: BLE001 - a worker raises it again, in the task's log
            self.log.info("A worker will render this gate's templates (%s)", type(error).__name__)
            vars(self).update(written)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll for this gate alone: below Airflow 3.3, in ``dag.test``, and with exponential backoff."""
        with ended_by_sigterm():
            event = await self._wait()
        yield event

    async def _read(self, check: Check) -> Reading:
        return check.reading

    def _go_on_waiting(self, check: Check) -> None:
        """Do what this gate has to do before it waits for the next check."""

    def _log_line(self, verdict: Verdict, check: Check) -> str:
        """Return the line for the log. It says when the next check is, if that is later than an interval."""
        line = verdict.log_line(self.silent_fail)
        if check.next_in_seconds is None or not verdict.keeps_waiting(self.silent_fail):
            return line
        # When the wait is over, a worker checks once more.
        wait_ends_in = float("inf") if self.ends_at is None else max(0.0, self.ends_at - time.time())
        return f"{line} The next check is in {min(check.next_in_seconds, wait_ends_in):.0f} s."

    async def _wait(self) -> TriggerEvent:
        seconds = None if self.ends_at is None else self.ends_at - time.time()
        checks = self._poll_alone()
        try:
            async with asyncio.timeout(seconds), aclosing(checks):
                return await anext(self.filter_shared_stream(checks))
        except TimeoutError:
            return TriggerEvent(TIMED_OUT)

    def _is_template(self) -> bool:
        return any(is_template(value) for value in (self.min_usd, self.youcom_conn_id))

    def _xcoms(self, verdict: Verdict) -> dict[str, Any]:
        return {"return_value": verdict.xcom}

    def _event(self, verdict: Verdict) -> TriggerEvent:
        if self.end_from_trigger and verdict.action is Action.OPEN:
            from airflow.triggers.base import TaskSuccessEvent

            _metrics.increment_gates_opened(self.youcom_conn_id)
            return TaskSuccessEvent(xcoms=self._xcoms(verdict) if self.do_xcom_push else None)
        if self.end_from_trigger and verdict.action is Action.SKIP:
            from airflow.triggers.base import TaskSkippedEvent

            _metrics.increment_gates_skipped(self.youcom_conn_id)
            return TaskSkippedEvent()
        return TriggerEvent(verdict.to_event())
