"""The operator: release what a gate has reserved."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_CEILING
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator

from airflow_provider_youcom._airflow import LEDGER_ID_KEY, ask, holder_of, is_retried_soon, tasks_behind
from airflow_provider_youcom.exceptions import YouComError, YouComUnavailableError
from airflow_provider_youcom.ledger.questions import Runs, Tasks
from airflow_provider_youcom.ledger.rule import EndReason, teardown_reason
from airflow_provider_youcom.money import format_usd
from airflow_provider_youcom.operators._block import Block, gate_of, paid_for

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

    If the ledger does not answer, it tries five more times, one minute apart, unless ``retries`` and
    ``retry_delay`` say otherwise. After that, it does not fail: what it could not release ends with the run.

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
        super().__init__(**{"retries": 5, "retry_delay": timedelta(minutes=1), **kwargs})
        self.gate_task_id = gate_task_id
        self.youcom_conn_id = youcom_conn_id
        self._blocks: list[Block] = []

    def as_teardown(self, **kwargs: Any) -> Any:
        """
        Make this task a teardown, as Airflow does.

        :raises ValueError: if this task cannot release for its gate.
        """
        if self.has_dag() and self.dag.has_task(self.gate_task_id):  # type: ignore[no-untyped-call]
            gate_of(self)
        return super().as_teardown(**kwargs)

    def __enter__(self) -> Any:
        """
        Begin the block of the tasks that spend what the gate has reserved.

        :raises ValueError: if the DAG has no such gate, or this task cannot release for it.
        """
        gate = gate_of(self)
        self.as_teardown(setups=gate)
        self._blocks.append(Block(self, gate))
        self._context = super().__enter__()  # type: ignore[no-untyped-call]
        return self._context

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        """
        Link each task of the block behind the gate and in front of this task.

        :raises ValueError: if the block has no task, or one of its tasks cannot be linked.
        """
        block = self._blocks.pop()
        # Airflow would link some of them, and the wrong ones too. It still links blocks to one another.
        added = self._context.context_map.pop(self, [])
        super().__exit__(exc_type, exc_val, exc_tb)  # type: ignore[no-untyped-call]
        if exc_type is not None:
            return
        block_ends_in = sys._getframe(1)
        for warning in block.link(added):
            warnings.warn_explicit(
                warning, UserWarning, block_ends_in.f_code.co_filename, block_ends_in.f_lineno
            )

    def execute(self, context: Context) -> None:
        """
        Release what the gate has reserved in this run, and log it.

        :param context: Airflow's context.
        :raises AirflowFailException: if the DAG has no such gate, or this task cannot release for it.
        """
        from airflow_provider_youcom.hooks.youcom import YouComHook

        try:
            gate_of(self)
        except ValueError as error:
            raise AirflowFailException(str(error)) from None
        try:
            ledger = YouComHook(self.youcom_conn_id).ledger
            ledger.check_id(self._ledger_of_gate(context["ti"]))
            self._release(ledger, context["ti"])
        except YouComUnavailableError as error:
            if context["ti"].try_number <= context["ti"].max_tries:
                # Airflow tries again, after a failover for example.
                raise
            self.log.warning("Nothing was released; what this gate reserved ends with the run: %s", error)
        except YouComError as error:
            raise AirflowFailException(f"Nothing was released: {error}") from error

    def _ledger_of_gate(self, task_instance: Any) -> str:
        """Return the id of the ledger in which the gate has reserved; an empty string if it is not known."""
        pulled = task_instance.xcom_pull(task_ids=self.gate_task_id, key=LEDGER_ID_KEY)
        # A mapped gate has one for each index, on Airflow 2.11 in a lazy sequence. A gate that ended in the
        # triggerer has it in quotation marks.
        ids = [pulled] if pulled is None or isinstance(pulled, str) else pulled
        return next((str(each).strip('"') for each in ids if each), "")

    def _release(self, ledger: Ledger, task_instance: Any) -> None:
        # Read first: what a gate that was cleared meanwhile reserves anew is not this teardown's to end.
        gate = self._gate_of(task_instance)
        standing = self._of_this_index(ledger.standing(**gate), task_instance)
        if not standing:
            self._report_none(self._of_this_index(ledger.history(**gate), task_instance))
            return
        behind = self._tasks_behind()
        unfinished = self._unfinished_elsewhere(behind, task_instance)
        if unfinished:
            self.log.warning(
                "Nothing was released, since %s is behind gate %s, not in front of this teardown, and not "
                "finished: put it into the with block of the reservation. The reservation ends with the run.",
                " and ".join(unfinished),
                self.gate_task_id,
            )
            return
        reason = self._reason(behind, task_instance)
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

    def _unfinished_elsewhere(self, behind: list[Any], task_instance: Any) -> list[str]:
        """Return the unfinished tasks behind the gate that this teardown does not wait for."""
        teardown = self.dag.get_task(self.task_id)
        waited_for = {task.task_id for task in teardown.get_flat_relatives(upstream=True)}
        others = [task for task in behind if task.task_id not in waited_for]
        return [task.task_id for task in others if not self._all_are([task], _FINISHED, task_instance)]

    def _reason(self, behind: list[Any], task_instance: Any) -> EndReason:
        run = Runs(self.dag_id, (task_instance.run_id,), ("running",))
        return teardown_reason(
            run_is_running=ask(run) == 1,
            all_done=self._all_are(behind, _DONE, task_instance),
            any_is_retried_soon=any(is_retried_soon(task) for task in behind),
        )

    def _tasks_behind(self) -> list[Any]:
        """Return the tasks behind the gate, without those after this teardown, or of another gate."""
        teardown: Any = self.dag.get_task(self.task_id)
        others = paid_for(teardown) - teardown.get_flat_relative_ids(upstream=True)
        others |= teardown.get_flat_relative_ids(upstream=False)
        behind = tasks_behind(self.dag.get_task(self.gate_task_id))
        return [task for task in behind if task.task_id not in others]

    def _all_are(self, tasks: list[Any], states: tuple[str, ...], task_instance: Any) -> bool:
        """Return whether all tasks are in one of these states; in a mapped group, those of this index."""
        group = self.get_closest_mapped_task_group()
        in_group = [task for task in tasks if group and task.get_closest_mapped_task_group() is group]
        own = tuple(task.task_id for task in in_group)
        others = tuple(task.task_id for task in tasks if task.task_id not in own)
        run = (self.dag_id, task_instance.run_id)
        questions = [
            (
                Tasks(*run, own, map_index=task_instance.map_index),
                Tasks(*run, own, states, task_instance.map_index),
            ),
            (Tasks(*run, others), Tasks(*run, others, states)),
        ]
        return all(ask(of_all) == ask(of_these) for of_all, of_these in questions)

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
