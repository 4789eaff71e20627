"""The sensor: wait until the account holds enough, or fail or skip."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_youcom import _metrics
from airflow_provider_youcom.exceptions import YouComError, YouComUnavailableError
from airflow_provider_youcom.gate import Action, OnShortfall, OnUnavailable, Verdict, judge
from airflow_provider_youcom.links import TopUpCreditsLink
from airflow_provider_youcom.sensors import _deferral, _reservation
from airflow_provider_youcom.sensors._options import check_options, check_start
from airflow_provider_youcom.sensors._outcome import conclude, failure

if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction

    from airflow.providers.common.compat.sdk import Context, XComArg
    from airflow.sdk.definitions.param import DagParam

    from airflow_provider_youcom.gate import Reading
    from airflow_provider_youcom.hooks.youcom import YouComHook
    from airflow_provider_youcom.operators.release import ReleaseCreditsOperator


class BalanceSensor(BaseSensorOperator):
    """
    Hold a pipeline until a You.com account can pay for it.

    The reading that opened the gate is the task's return value. Airflow's own sensor arguments keep their
    meaning, with one exception: ``soft_fail`` skips a timeout and a shortfall, but no other failure.

    With ``reserve``, the gate opens and reserves ``min_usd`` atomically, as soon as that much is *available*:
    the balance, minus what others have reserved. Without it, two gates can open on the same balance.

    :param min_usd: the least that the account must hold, in dollars: a number, a str, or another task's
        output; templated.
    :param youcom_conn_id: the connection; templated. Default: ``youcom_default``.
    :param on_shortfall: what to do when the account holds less: ``"wait"`` (default) until ``timeout``,
        ``"fail"`` without retries, or ``"skip"``, which skips the downstream tasks too.
    :param on_unavailable: what to do when You.com does not answer: ``"wait"`` (default), ``"fail"``, which
        Airflow retries if ``retries`` is set, or ``"pass"``, which opens without knowing the balance.
    :param deferrable: wait in the triggerer, without a worker. Default: Airflow's
        ``[operators] default_deferrable``.
    :param start_from_trigger: start in the triggerer, without a worker; needs ``deferrable``. Where Airflow
        cannot do that (3.1, 3.2, mapped tasks, templates below 3.3), the task starts on a worker as usual.
    :param end_from_trigger: end in the triggerer, without a worker, if the gate opens or is skipped; needs
        ``deferrable``.
    :param reserve: reserve ``min_usd`` for the tasks behind the gate: see ``reservation``. The connection
        must name a ledger. Default: False.
    :param reserve_for: after how long the reservation expires if nothing else ends it; a timedelta, or
        seconds. Default: 1 day.
    :raises ValueError: if an option is not valid, or two contradict each other.
    """

    template_fields: Sequence[str] = ("youcom_conn_id", "min_usd")
    operator_extra_links = (TopUpCreditsLink(),)
    spends_nothing = True
    ui_color = "#e8e4fb"

    def __init__(
        self,
        *,
        min_usd: int | float | str | Decimal | Fraction | XComArg | DagParam,
        youcom_conn_id: str | XComArg | DagParam = "youcom_default",
        on_shortfall: OnShortfall = "wait",
        on_unavailable: OnUnavailable = "wait",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        reserve: bool = False,
        reserve_for: timedelta | float = timedelta(days=1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.min_usd = min_usd
        self.youcom_conn_id = youcom_conn_id
        self.on_shortfall = on_shortfall
        self.on_unavailable = on_unavailable
        self.deferrable = deferrable
        self.end_from_trigger = end_from_trigger
        self.reserve = reserve
        self.reserve_for = reserve_for
        # Airflow reads this from the instance, and for mapped tasks from the class, where it stays False.
        self.start_from_trigger = start_from_trigger
        self._last_reason: str | None = None
        check_options(self)
        # A mapped gate is constructed on the worker where it starts. Airflow's own decorator reads this mark.
        if start_from_trigger and not getattr(self, "_BaseOperator__from_mapped", False):
            check_start(self)
            self.start_trigger_args = _deferral.start_trigger_args(self)

    def reservation(self) -> ReleaseCreditsOperator:
        """
        Return the teardown that releases what this gate has reserved, the same one at each call.

        The tasks that spend the credits go into its ``with`` block::

            with gate.reservation():
                research() >> summarize()

        :raises ValueError: if the gate does not reserve.
        """
        if not self.reserve:
            raise ValueError(f"Gate {self.task_id!r} has nothing to release: set reserve=True.")
        return _reservation.teardown_of(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the balance until the gate decides, in the sensor's mode."""
        if self.start_from_trigger:
            self.log.info("Airflow started this task on a worker, although start_from_trigger is on.")
        # Unwrapped: Airflow's guard against calls from outside a task rejects super().execute() on 2.11, and
        # on 3.x when a deferred task resumes.
        poke_until_done = inspect.unwrap(BaseSensorOperator.execute)
        try:
            verdict = poke_until_done(self, context)
        except AirflowSkipException:
            # Under soft_fail or never_fail, Airflow skips a sensor that times out.
            _metrics.increment_gates_skipped(self.youcom_conn_id)
            raise
        except AirflowSensorTimeout as timeout:
            raise failure(self, AirflowSensorTimeout(f"{timeout} Last seen: {self._last_reason}")) from None
        return conclude(self, verdict)

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Check the balance once, and return the verdict if it ends the wait."""
        verdict = self._check(context)
        if not verdict.keeps_waiting(self.silent_fail):
            return PokeReturnValue(True, verdict)
        _reservation.join_line(self, self._hook(), verdict, context)
        if self.deferrable:
            # Raises a BaseException, which Airflow's poke loop lets through.
            self._defer(context)
        return False

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """
        Return or raise what the wait in the triggerer led to.

        :param event: the verdict, a time-out, or something else. Then the task starts over on this worker:
            the triggerer could not render a template, or ``dag.test`` ran with ``end_from_trigger``.
        """
        if isinstance(event, dict) and event.get("action") == "time out":
            return self._time_out(context)
        if not isinstance(event, dict) or "reason" not in event:
            return self.execute(context)
        verdict = Verdict.from_event(event)
        self.log.log(verdict.log_level, verdict.log_line())
        if verdict.action is Action.OPEN and not self._holds(verdict, context):
            return self.execute(context)
        return conclude(self, verdict)

    def _time_out(self, context: Context) -> dict[str, Any]:
        """
        Check once more at the end of the wait in the triggerer. As in poke mode, the last check decides.

        :raises AirflowSensorTimeout: if the gate would still wait; it is not retried.
        :raises AirflowTaskTimeout: the same, if ``execution_timeout`` is shorter; Airflow retries it.
        """
        verdict = self._check(context)
        if not verdict.keeps_waiting(self.silent_fail):
            return conclude(self, verdict)
        seconds = _deferral.longest_wait(self).total_seconds()
        if seconds < self.timeout:
            _metrics.increment_gates_failed(self.youcom_conn_id)
            raise AirflowTaskTimeout(
                f"The execution_timeout of {seconds:g} s is over. Last seen: {verdict.reason}"
            )
        reason = f"The timeout of {seconds:g} s is over. Last seen: {verdict.reason}"
        raise failure(self, AirflowSensorTimeout(reason))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral, with the same outcome in every Airflow version."""
        if _deferral.has_timed_out(next_method, next_kwargs):
            return self._time_out(context)
        # Past BaseSensorOperator, whose soft_fail also skips a task whose trigger has failed.
        resume = super(BaseSensorOperator, self).resume_execution
        if next_method != "__fail__":
            return resume(next_method, next_kwargs, context)
        try:
            return resume(next_method, next_kwargs, context)
        except AirflowException as error:
            raise failure(self, error) from error

    def _check(self, context: Context) -> Verdict:
        verdict = judge(
            self._read(context),
            min_usd=self.min_usd,
            on_shortfall=self.on_shortfall,
            on_unavailable=self.on_unavailable,
        )
        self.log.log(verdict.log_level, verdict.log_line(self.silent_fail))
        if verdict.error is not None:
            _metrics.increment_checks_without_balance(self.youcom_conn_id)
        self._last_reason = verdict.reason
        return verdict

    def _read(self, context: Context) -> Reading:
        try:
            hook = self._hook()
            claim = _reservation.claim_of(self, context)
            return _reservation.reserve(hook, claim, context) if claim else hook.get_balance()
        except YouComError as error:
            return error

    def _holds(self, verdict: Verdict, context: Context) -> bool:
        """Return whether what this gate has to reserve is reserved."""
        if not self.reserve or _reservation.needs_nothing(self):
            return True
        return _reservation.stands(self._hook(), verdict.reservation_id, context)

    def _hook(self) -> YouComHook:
        from airflow_provider_youcom.hooks.youcom import YouComHook

        # A new hook for each check, since the key may have been rotated.
        return YouComHook(self.youcom_conn_id)

    def _defer(self, context: Context) -> None:
        try:
            claim = _reservation.claim_of(self, context)
        except YouComUnavailableError:
            # The check has logged it. The trigger needs the claim, so the gate waits on the worker for now.
            return
        if claim and self.end_from_trigger:
            # No worker sees it open.
            _reservation.warn_if_never_released(self)
        if claim:
            trigger = _deferral.reserving_trigger_of(self, _reservation.in_this_ledger(self._hook(), claim))
        else:
            trigger = _deferral.trigger_of(self)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=_deferral.longest_wait(self))
