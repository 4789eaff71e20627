"""The operator: release what a gate has reserved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_CEILING
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_youcom._airflow import ask, holder_of, is_retried_soon, tasks_behind
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.ledger.questions import Runs, Tasks
from airflow_provider_youcom.ledger.rule import EndReason, teardown_reason
from airflow_provider_youcom.money import format_usd

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg
    from airflow.sdk.definitions.param import DagParam

    from airflow_provider_youcom.ledger.ledger import Ledger
    from airflow_provider_youcom.ledger.reservation import Reservation

_DONE = ("success", "skipped")
_FINISHED = ("success", "skipped", "failed", "upstream_failed", "removed")


class ReleaseCreditsOperator(BaseOperator):
    """
    Release what a gate has reserved, as the teardown of the gate.

    ``gate.reservation()`` creates it. Write it yourself for a mapped gate, which has no such method::

        release = ReleaseCreditsOperator(task_id="release", gate_task_id="gate")
        gate.as_setup() >> release.as_teardown()
        with release:
            research()

    In a mapped task group, it releases what the gate of the same index has reserved. Behind a mapped gate, it
    releases what all indexes of the gate have reserved.

    If the ledger does not answer, it does not fail: what it could not release ends with the run.

    :param gate_task_id: the task id of the gate, with the ids of its task groups.
    :param youcom_conn_id: the gate's connection; templated. Default: ``youcom_default``.
    """

    template_fields: Sequence[str] = ("youcom_conn_id",)
    ui_color = "#e8e4fb"
    spends_nothing = True

    def __init__(
        self,
        *,
        gate_task_id: str,
        youcom_conn_id: str | XComArg | DagParam = "youcom_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gate_task_id = gate_task_id
        self.youcom_conn_id = youcom_conn_id

    def execute(self, context: Context) -> None:
        """
        Release what the gate has reserved in this run, and log it.

        :param context: Airflow's context.
        :raises AirflowFailException: if the DAG has no such gate.
        """
        from airflow_provider_youcom.hooks.youcom import YouComHook

        if not self.dag.has_task(self.gate_task_id):
            raise AirflowFailException(
                f"DAG {self.dag_id!r} has no task {self.gate_task_id!r}: set gate_task_id to the id of the "
                "gate, with the ids of its task groups."
            )
        try:
            self._release(YouComHook(self.youcom_conn_id).ledger, context["ti"])
        except YouComError as error:
            self.log.warning("Nothing was released; what this gate reserved ends with the run: %s", error)

    def _release(self, ledger: Ledger, task_instance: Any) -> None:
        # Read first: what a gate that was cleared meanwhile reserves anew is not this teardown's to end.
        gate = self._gate_of(task_instance)
        standing = self._of_this_index(ledger.standing(**gate), task_instance)
        if not standing:
            self._report_none(self._of_this_index(ledger.history(**gate), task_instance))
            return
        behind = self._tasks_behind()
        unfinished = self._unfinished_elsewhere(behind, task_instance.run_id)
        if unfinished:
            self.log.warning(
                "Nothing was released, since %s is behind gate %s, not in front of this teardown, and not "
                "finished: put it into the with block of the reservation. The reservation ends with the run.",
                " and ".join(unfinished),
                self.gate_task_id,
            )
            return
        reason = self._reason(behind, task_instance.run_id)
        for reservation in ledger.end([each.id for each in standing], reason, by=self.task_id):
            self._report(reservation)
        ledger.purge()

    def _gate_of(self, task_instance: Any) -> dict[str, Any]:
        """Return the name that the gate has in the ledger, with all of its indexes."""
        own = holder_of(task_instance)
        return {
            "deployment": own.deployment,
            "dag_id": own.dag_id,
            "run_id": own.run_id,
            "task_id": self.gate_task_id,
        }

    def _of_this_index(self, reservations: list[Reservation], task_instance: Any) -> list[Reservation]:
        if task_instance.map_index < 0:
            return reservations
        return [each for each in reservations if each.holder.map_index in (task_instance.map_index, -1)]

    def _unfinished_elsewhere(self, behind: list[Any], run_id: str) -> list[str]:
        """Return the unfinished tasks behind the gate that this teardown does not wait for."""
        teardown = self.dag.get_task(self.task_id)
        waited_for = {task.task_id for task in teardown.get_flat_relatives(upstream=True)}
        others = [task.task_id for task in behind if task.task_id not in waited_for]
        return [
            task_id
            for task_id in others
            if self._how_many(run_id, [task_id]) > self._how_many(run_id, [task_id], _FINISHED)
        ]

    def _reason(self, behind: list[Any], run_id: str) -> EndReason:
        task_ids = [task.task_id for task in behind]
        return teardown_reason(
            run_is_running=ask(Runs(self.dag_id, (run_id,), ("running",))) == 1,
            all_done=self._how_many(run_id, task_ids) == self._how_many(run_id, task_ids, _DONE),
            any_is_retried_soon=any(is_retried_soon(task) for task in behind),
        )

    def _tasks_behind(self) -> list[Any]:
        """Return the tasks behind the gate, without those that run after this teardown."""
        teardown = self.dag.get_task(self.task_id)
        later = {task.task_id for task in teardown.get_flat_relatives(upstream=False)}
        behind = tasks_behind(self.dag.get_task(self.gate_task_id))
        return [task for task in behind if task.task_id not in later]

    def _how_many(self, run_id: str, task_ids: Sequence[str], states: tuple[str, ...] | None = None) -> int:
        return ask(Tasks(self.dag_id, run_id, tuple(task_ids), states))

    def _report_none(self, ended: list[Reservation]) -> None:
        """Report why no reservation stands: usually because the gate did not open."""
        newest = {each.holder.map_index: each for each in reversed(ended)}
        expired = [each for each in newest.values() if each.end_reason is EndReason.EXPIRED]
        if not expired:
            self.log.info("Gate %s has nothing reserved in this run.", self.gate_task_id)
        for reservation in expired:
            self._warn_of_expiry(reservation)

    def _report(self, reservation: Reservation) -> None:
        ended_at = reservation.ended_at or reservation.expires_at
        if ended_at >= reservation.expires_at:
            self._warn_of_expiry(reservation)
            return
        amount = format_usd(reservation.amount_usd, ROUND_CEILING)
        seconds = round((ended_at - reservation.reserved_at).total_seconds())
        self.log.info("Released %s after %s.", amount, timedelta(seconds=seconds))

    def _warn_of_expiry(self, reservation: Reservation) -> None:
        self.log.warning(
            "The reservation of %s expired at %s, before this teardown: set reserve_for of gate %s to a "
            "longer time.",
            format_usd(reservation.amount_usd, ROUND_CEILING),
            reservation.expires_at,
            self.gate_task_id,
        )
