"""The gate as a task: wait, fail or skip until the account holds enough."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_youcom._templates import is_reference, is_template
from airflow_provider_youcom.exceptions import YouComError, YouComRefusedError
from airflow_provider_youcom.gate import Action, OnShortfall, OnUnavailable, Verdict, check_policies, judge
from airflow_provider_youcom.links import TopUpCreditsLink
from airflow_provider_youcom.money import parse_usd
from airflow_provider_youcom.sensors._without_a_worker import check_end, check_start

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_youcom.gate import Reading

TRIGGER = "airflow_provider_youcom.triggers.balance.BalanceTrigger"


class BalanceSensor(BaseSensorOperator):
    """
    Holds a pipeline until a You.com account can pay for it.

    The reading that opened the gate is the task's return value. ``soft_fail``, ``never_fail``,
    ``silent_fail``, ``retries``, ``timeout``, ``exponential_backoff`` and ``max_wait`` mean what they mean
    for every sensor, in every mode; only a refused key is never a green skip under ``soft_fail``.

    A gate reserves nothing: two DAGs can pass on the same balance.

    :param min_usd: the least that the account must hold, in dollars: int, Decimal, str or float; templated,
        and may be another task's output.
    :param youcom_conn_id: the connection; templated. Default: ``youcom_default``.
    :param on_shortfall: what to do when the account holds less: ``"wait"`` (default) until ``timeout``,
        ``"fail"`` without retries, or ``"skip"``, and downstream tasks with it.
    :param on_unavailable: what to do when You.com does not say: ``"wait"`` (default), ``"fail"``, after
        which ``retries`` apply, or ``"pass"``, which opens without knowing the balance.
    :param deferrable: wait in the triggerer, without holding a worker. Default: Airflow's
        ``[operators] default_deferrable``.
    :param start_from_trigger: start in the triggerer, without a worker; needs ``deferrable``. Where Airflow
        cannot (3.1, 3.2, mapped tasks, templates below 3.3), the task starts on a worker as usual.
    :param end_from_trigger: succeed or be skipped in the triggerer, without a worker; needs ``deferrable``.
    :raises ValueError: if an option is not one of these, or two contradict each other.
    """

    template_fields: Sequence[str] = ("youcom_conn_id", "min_usd")
    operator_extra_links = (TopUpCreditsLink(),)
    ui_color = "#e8e4fb"

    def __init__(
        self,
        *,
        min_usd: int | float | str | Decimal | XComArg,
        youcom_conn_id: str | XComArg = "youcom_default",
        on_shortfall: OnShortfall = "wait",
        on_unavailable: OnUnavailable = "wait",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.min_usd = min_usd
        self.youcom_conn_id = youcom_conn_id
        self.on_shortfall = on_shortfall
        self.on_unavailable = on_unavailable
        self.deferrable = deferrable
        self.end_from_trigger = end_from_trigger
        # Airflow reads start_from_trigger; on the class it stays off, for mapped tasks look there.
        self.start_from_trigger = start_from_trigger
        self._last_reason: str | None = None
        self._check_options()
        # A mapped gate starts on a worker, and is made there. Airflow's own decorator looks at the same mark.
        if start_from_trigger and not getattr(self, "_BaseOperator__from_mapped", False):
            check_start(self)
            self.start_trigger_args = self._start_trigger_args()

    def execute(self, context: Context) -> Any:
        """
        Look at the balance once at least, and go on as the mode says.

        :param context: Airflow's context.
        """
        return self._wait(context)

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """
        Look at the balance, and do what the gate says.

        :param context: Airflow's context.
        """
        verdict = self._look()
        if self.deferrable and verdict.keeps_waiting(self.silent_fail):
            # A BaseException: Airflow's poke loop, which knows soft_fail and the rest, lets it through.
            self._defer()
        if verdict.action is Action.WAIT:
            return False
        return PokeReturnValue(True, self._settle(verdict))

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Go on after the wait in the triggerer.

        :param context: Airflow's context.
        :param event: the verdict; anything else asks to look here: a template that the triggerer could not
            render, or the bare state that ``dag.test`` hands over from ``end_from_trigger``.
        """
        if not isinstance(event, dict) or "reason" not in event:
            return self._wait(context)
        verdict = Verdict.from_event(event)
        self.log.log(verdict.log_level, verdict.log_line)
        return self._settle(verdict)

    def time_out(self, context: Context) -> Any:
        """
        Look once more when the wait in the triggerer is over; as in poke mode, the last look decides.

        :param context: Airflow's context.
        :raises AirflowSensorTimeout: if the gate would still wait; no retry.
        :raises AirflowTaskTimeout: the same, if it was the ``execution_timeout`` that came first; ``retries``
            apply.
        """
        verdict = self._look()
        if not verdict.keeps_waiting(self.silent_fail):
            return self._settle(verdict)
        seconds = self._longest_wait().total_seconds()
        if seconds < self.timeout:
            raise AirflowTaskTimeout(
                f"Waited for the execution_timeout of {seconds:g} s in vain. Last seen: {verdict.reason}"
            )
        raise AirflowSensorTimeout(f"Waited for {seconds:g} s in vain. Last seen: {verdict.reason}")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral, with the same outcome in every Airflow version.

        :param next_method: what to call, or Airflow's mark that the deferral failed.
        :param next_kwargs: the arguments for it.
        :param context: Airflow's context.
        """
        if _timed_out(next_method, next_kwargs):
            # Airflow 2.11 would retry, and 3.0 be red in spite of soft_fail.
            next_method, next_kwargs = "time_out", {}
        try:
            with self._red_when_refused():
                return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skip:
            if self.soft_fail and next_method == "__fail__" and skip.__cause__ is not None:
                # soft_fail is for a gate that stays shut. A triggerer that could not run it must be red.
                raise skip.__cause__ from None
            raise
        except (AirflowException, YouComError) as error:
            # Airflow knows never_fail here from 3.1 on, and for its own exceptions only.
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise

    def _wait(self, context: Context) -> Any:
        if self.start_from_trigger:
            self.log.info("This Airflow starts the task on a worker, although start_from_trigger is on.")
        # Without the guard around it: Airflow 2.11's takes a call through super() for one from outside, and
        # 3.x's one from a method that resumes a task.
        wait_as_airflow_does = inspect.unwrap(BaseSensorOperator.execute)
        try:
            with self._red_when_refused():
                return wait_as_airflow_does(self, context)
        except AirflowSensorTimeout as timeout:
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from timeout
            raise AirflowSensorTimeout(f"{timeout} Last seen: {self._last_reason}") from None

    def _look(self) -> Verdict:
        verdict = judge(
            self._read(),
            min_usd=self.min_usd,
            on_shortfall=self.on_shortfall,
            on_unavailable=self.on_unavailable,
        )
        self.log.log(verdict.log_level, verdict.log_line)
        self._last_reason = verdict.reason
        return verdict

    def _read(self) -> Reading:
        from airflow_provider_youcom.hooks.youcom import YouComHook

        # A new hook for each look: a key that was rotated meanwhile counts.
        try:
            return YouComHook(str(self.youcom_conn_id)).get_balance()
        except YouComError as error:
            return error

    def _settle(self, verdict: Verdict) -> dict[str, Any]:
        if verdict.action is Action.OPEN:
            return verdict.xcom
        if verdict.action is Action.SKIP:
            raise AirflowSkipException(verdict.reason)
        if verdict.action is Action.RETRY and verdict.error is not None:
            raise verdict.error
        raise AirflowFailException(verdict.reason) from verdict.error

    def _defer(self) -> None:
        from airflow_provider_youcom.triggers.balance import BalanceTrigger

        self.defer(
            trigger=BalanceTrigger(**self._trigger_kwargs(), looked_at=time.time()),
            method_name="execute_complete",
            timeout=self._longest_wait(),
        )

    def _trigger_kwargs(self) -> dict[str, Any]:
        return {
            "youcom_conn_id": self.youcom_conn_id,
            "min_usd": str(self.min_usd),
            "on_shortfall": self.on_shortfall,
            "on_unavailable": self.on_unavailable,
            "poke_interval": self.poke_interval,
            "exponential_backoff": self.exponential_backoff,
            "max_wait": self.max_wait.total_seconds() if self.max_wait else None,
            "silent_fail": self.silent_fail,
            "end_from_trigger": self.end_from_trigger,
            "do_xcom_push": self.do_xcom_push,
        }

    def _start_trigger_args(self) -> Any:
        from airflow.triggers.base import StartTriggerArgs

        return StartTriggerArgs(
            trigger_cls=TRIGGER,
            trigger_kwargs=self._trigger_kwargs(),
            next_method="execute_complete",
            timeout=self._longest_wait(),
        )

    def _longest_wait(self) -> timedelta:
        # Airflow 3 does not see to execution_timeout while a task is deferred.
        return min(timedelta(seconds=self.timeout), self.execution_timeout or timedelta.max)

    @contextmanager
    def _red_when_refused(self) -> Iterator[None]:
        try:
            yield
        except AirflowSkipException as skip:
            failure = skip.__cause__
            refusal = failure.__cause__ if failure is not None else None
            if self.soft_fail and isinstance(refusal, YouComRefusedError):
                raise AirflowFailException(str(refusal)) from refusal
            raise

    def _check_options(self) -> None:
        check_policies(self.on_shortfall, self.on_unavailable)
        if not is_template(self.min_usd) and not is_reference(self.min_usd):
            parse_usd(self.min_usd, "min_usd")
        if self.silent_fail and self.on_unavailable == "fail":
            raise ValueError(
                'silent_fail=True and on_unavailable="fail" contradict each other: '
                "drop silent_fail to fail when You.com does not answer, or on_unavailable to go on waiting."
            )
        if (self.start_from_trigger or self.end_from_trigger) and not self.deferrable:
            raise ValueError(
                "start_from_trigger and end_from_trigger need deferrable=True: "
                "add it, or drop them to wait on a worker."
            )
        if self.end_from_trigger:
            check_end(self)


def _timed_out(next_method: str, next_kwargs: dict[str, Any] | None) -> bool:
    return next_method == "__fail__" and "timeout" in str((next_kwargs or {}).get("error", "")).lower()
