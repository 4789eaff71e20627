"""The with block of a reservation: the tasks that belong to it, and how they are linked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from airflow.providers.common.compat.sdk import XComArg


def gate_of(release: Any) -> Any:
    """
    Return the gate whose credits a task releases.

    :raises ValueError: if the DAG has no such gate, or one index of a mapped group would release for all.
    """
    gate = release.dag.task_dict.get(release.gate_task_id)
    if gate is None:
        raise ValueError(
            f"DAG {release.dag_id!r} has no task {release.gate_task_id!r}: set gate_task_id to the id of the "
            "gate, with the ids of its task groups."
        )
    group_id = _mapped_group_id(release)
    if group_id not in (None, _mapped_group_id(gate)):
        raise ValueError(
            f"Task {release.task_id!r} is in mapped task group {group_id!r} and gate {gate.task_id!r} is "
            "not, so the first index that ends would release what the others still spend: create both in the "
            "group, or both outside it."
        )
    return gate


def paid_for(release: Any) -> set[str]:
    """Return the ids of all tasks of a DAG that are between a gate and its release."""
    found: set[str] = set()
    for each in release.dag.tasks:
        gate = isinstance(each, type(release)) and release.dag.task_dict.get(each.gate_task_id)
        if gate:
            behind = gate.get_flat_relative_ids(upstream=False)
            found |= behind & each.get_flat_relative_ids(upstream=True)
    return found


class Block:
    """
    The with block of a reservation.

    Airflow links to the gate only the tasks of the block that have nothing upstream. So a task that takes the
    output of another one would run without the gate. Here, each task of the block is linked.

    The tasks that are created in the block or linked in it belong to it. A task in front of the gate does
    not, nor does a task whose output one of them takes.

    :param release: the ``ReleaseCreditsOperator`` whose block begins.
    """

    def __init__(self, release: Any, gate: Any) -> None:
        self._release = release
        self._gate = gate
        self._dag = release.dag
        self._task_ids = set(self._dag.task_ids)
        self._links = self._all_links()

    def link(self, added: Iterable[Any]) -> list[str]:
        """
        Link each task of the block behind the gate and in front of the release.

        :param added: tasks that were added to Airflow's own context of this block.
        :return: a warning for each task that may run although the gate does not open.
        :raises ValueError: if the block has no task, or one of its tasks cannot be linked.
        """
        task_ids = self._find_tasks(added)
        self._check_places(task_ids)
        unlinked = task_ids - self._relatives({self._gate.task_id})
        for task_id in sorted(unlinked - self._relatives(unlinked)):
            self._gate.set_downstream(self._dag.get_task(task_id))
        unlinked = task_ids - self._relatives({self._release.task_id}, upstream=True)
        for task_id in sorted(unlinked - self._relatives(unlinked, upstream=True)):
            self._release.set_upstream(self._dag.get_task(task_id))
        tasks = [self._dag.get_task(task_id) for task_id in sorted(task_ids)]
        for task in tasks:
            # A teardown without a setup runs whatever has happened.
            if task.is_teardown and not _setups(task):
                self._gate.set_downstream(task)
        self._check_trigger_rules(tasks)
        return list(self._warnings(tasks))

    def _find_tasks(self, added: Iterable[Any]) -> set[str]:
        for task in added:
            if not task.has_dag():
                task.dag = self._dag
        created = set(self._dag.task_ids) - self._task_ids
        linked = self._find_linked() - self._relatives({self._gate.task_id}, upstream=True)
        found = created | linked | {task.task_id for task in added}
        found -= {self._gate.task_id, self._release.task_id}
        if not found:
            raise ValueError(
                f"The with block of {self._release.task_id!r} has no task, so nothing would spend what gate "
                f"{self._gate.task_id!r} reserves: create the tasks that spend it inside the block."
            )
        return found

    def _find_linked(self) -> set[str]:
        """Return the tasks that a new link of the block leads to, or comes from."""
        found = set()
        for upstream, downstream in self._all_links() - self._links:
            if self._release.task_id == upstream or self._gate.task_id == downstream:
                continue
            found |= self._tasks_of(downstream)
            if upstream not in _inputs(self._node(downstream)):
                found |= self._tasks_of(upstream)
        return found

    def _all_links(self) -> set[tuple[str, str]]:
        """Return the ids of all pairs of tasks that are linked, and of the groups that were linked."""
        links = {(task.task_id, each) for task in self._dag.tasks for each in task.downstream_task_ids}
        for group_id, group in self._groups().items():
            links |= {(each, group_id) for each in group.upstream_task_ids | group.upstream_group_ids}
            links |= {(group_id, each) for each in group.downstream_task_ids}
        return links

    def _groups(self) -> dict[str, Any]:
        # Not the DAG's task_group_dict, which Airflow computes once: here, the DAG is not complete.
        groups: dict[str, Any] = self._dag.task_group.get_task_group_dict()
        return groups

    def _node(self, node_id: str) -> Any:
        return self._dag.task_dict.get(node_id) or self._groups()[node_id]

    def _tasks_of(self, node_id: str) -> set[str]:
        if node_id in self._dag.task_dict:
            return {node_id}
        group = self._groups()[node_id]
        return {task.task_id for task in self._dag.tasks if group.has_task(task)}

    def _relatives(self, task_ids: set[str], *, upstream: bool = False) -> set[str]:
        """Return the ids of all tasks downstream, or upstream, of any of these tasks."""
        found: set[str] = set()
        to_visit = list(task_ids)
        while to_visit:
            direct = self._dag.get_task(to_visit.pop()).get_direct_relative_ids(upstream)
            to_visit += direct - found
            found |= direct
        return found

    def _check_places(self, task_ids: set[str]) -> None:
        early = task_ids & self._relatives({self._gate.task_id}, upstream=True)
        if early:
            raise ValueError(
                f"Task {min(early)!r} is in the with block of {self._release.task_id!r} and in front of its "
                f"gate {self._gate.task_id!r}: create it before the block."
            )
        late = task_ids & self._relatives({self._release.task_id})
        if late:
            raise ValueError(
                f"Task {min(late)!r} is in the with block of {self._release.task_id!r} and runs after it: "
                "create it after the block, or remove the link between the two."
            )

    def _check_trigger_rules(self, tasks: list[Any]) -> None:
        for task in tasks:
            follows_gate = task.task_id in self._gate.downstream_task_ids
            if follows_gate and not task.is_teardown and task.trigger_rule != "all_success":
                raise ValueError(
                    f"Task {task.task_id!r} has trigger_rule={_rule(task)!r} and is the first behind gate "
                    f"{self._gate.task_id!r}, where Airflow accepts only 'all_success': give the rule to an "
                    "EmptyOperator in front of the gate instead."
                )

    def _warnings(self, tasks: list[Any]) -> Iterator[str]:
        """Warn of tasks that run although the gate is shut; Airflow keeps all others behind a setup."""
        behind = self._relatives({self._gate.task_id}) | {self._gate.task_id}
        for task in tasks:
            if task.trigger_rule == "always":
                yield (
                    f"Task {task.task_id!r} has trigger_rule='always', so it runs even if gate "
                    f"{self._gate.task_id!r} does not open: use another rule, or, if it spends no credits, "
                    "create it after the with block."
                )
            elsewhere = sorted(_setups(task) - behind) if task.is_teardown else []
            if elsewhere:
                yield (
                    f"Task {task.task_id!r} is the teardown of {elsewhere[0]!r}, so it runs even if gate "
                    f"{self._gate.task_id!r} does not open: create both in the with block, or, if it spends "
                    "no credits, create it after the block."
                )


def _mapped_group_id(task: Any) -> str | None:
    group = task.get_closest_mapped_task_group()
    return None if group is None else str(group.group_id)


def _setups(task: Any) -> set[str]:
    return {each.task_id for each in task.upstream_list if each.is_setup}


def _rule(task: Any) -> str:
    return str(getattr(task.trigger_rule, "value", task.trigger_rule))


def _inputs(node: Any) -> set[str]:
    """Return the ids of the tasks whose output a task, or a mapped group, takes."""
    sources = [node] if hasattr(node, "iter_mapped_dependencies") else []
    values = []
    if hasattr(node, "template_fields"):
        sources += node.iter_mapped_task_groups()
        partial = getattr(node, "partial_kwargs", None)
        values = [
            getattr(node, name, None) if partial is None else partial.get(name)
            for name in node.template_fields
        ]
    taken = {task.task_id for task, _ in XComArg.iter_xcom_references(values)}
    return taken.union(task.task_id for source in sources for task in source.iter_mapped_dependencies())
