"""
Every shape of a block: its tasks named ``pay…`` spend, its tasks named ``outside…`` stand outside.

A shape returns the tasks that each of its gates pays for, or None if each gate pays for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import (
    DAG,
    Label,
    TaskGroup,
    chain,
    cross_downstream,
    setup,
    task,
    task_group,
    teardown,
)

from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
from airflow_provider_youcom.sensors.balance import BalanceSensor

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:  # Airflow 2.11
    from airflow.operators.bash import BashOperator
    from airflow.operators.empty import EmptyOperator

START = datetime(2026, 1, 1)
CONNECTIONS = {"open": "youcom_open", "shut": "youcom_shut"}
SHAPES: dict[str, Callable[[], dict[str, list[str]] | None]] = {}
conn_id = CONNECTIONS["open"]


def shape(build: Callable[[], dict[str, list[str]] | None]) -> Callable[[], dict[str, list[str]] | None]:
    SHAPES[build.__name__] = build
    return build


def gate(task_id: str = "gate", **options: Any) -> BalanceSensor:
    return BalanceSensor(**{"task_id": task_id, "min_usd": 1, **_gate_options(), **options})


def _gate_options() -> dict[str, Any]:
    return {"youcom_conn_id": conn_id, "reserve": True, "on_shortfall": "skip"}


def empty(task_id: str, **options: Any) -> Any:
    return EmptyOperator(task_id=task_id, **options)


@task
def outside() -> list[int]:
    return [1, 2]


@task
def pay(what: Any = None) -> list[int]:
    return [1]


@task
def pay_both(first: Any, second: Any) -> None: ...


def pay_as(task_id: str, **options: Any) -> Any:
    return pay.override(task_id=task_id, **options)


@shape
def outside_input() -> None:
    q = outside()
    with gate().reservation():
        pay_as("pay_research")(q)
        pay_as("pay_summary")(q)


@shape
def a_root_beside_a_task_with_outside_input() -> None:
    q = outside()
    with gate().reservation():
        pay_as("pay_root")()
        pay_as("pay_with_input")(q)


@shape
def work_that_takes_the_output_of_work() -> None:
    q = outside()
    with gate().reservation():
        pay_as("pay_summary")(pay_as("pay_research")(q))


@shape
def a_mapped_task_over_outside_input() -> None:
    q = outside()
    with gate().reservation():
        pay.expand(what=q)


@shape
def a_mapped_task_over_values_beside_one_over_results() -> None:
    with gate().reservation():
        pay_as("pay_each").expand(what=pay_as("pay_first")())
        pay_as("pay_two").expand(what=[1, 2])


@shape
def a_classic_mapped_task() -> None:
    q = outside()
    with gate().reservation():
        empty("pay_classic")
        BashOperator.partial(task_id="pay_mapped").expand(bash_command=["true"])
        BashOperator.partial(task_id="pay_with_input", bash_command="true").expand_kwargs(
            q.map(lambda number: {"env": {"NUMBER": str(number)}})
        )
        pay_both.partial(first=q).expand(second=[1, 2])


@shape
def one_task_of_a_group_with_outside_input() -> None:
    q = outside()
    with gate().reservation(), TaskGroup("group"):
        pay_as("pay_with_input")(q)
        pay_as("pay_root")()


@shape
def a_group_in_a_group() -> None:
    q = outside()
    with gate().reservation(), TaskGroup("outer_group"):
        pay_as("pay_root")()
        with TaskGroup("inner_group"):
            pay_as("pay_with_input")(q) >> empty("pay_behind_it")
            empty("pay_inner_root")


@shape
def a_mapped_group_whose_tasks_take_its_argument() -> None:
    @task_group
    def each(what: int) -> None:
        pay_as("pay_first")(what)
        pay_as("pay_second")(what)
        empty("pay_third")

    with gate().reservation():
        each.expand(what=[1, 2])


@shape
def a_mapped_group_over_outside_input() -> None:
    @task_group
    def each(what: int) -> None:
        pay_as("pay_first")(what)
        with TaskGroup("nested"):
            pay_as("pay_second")(what)
        empty("pay_third")

    q = outside()
    with gate().reservation():
        each.expand(what=q)


@shape
def a_gate_in_a_mapped_group() -> None:
    @task_group
    def each(what: int) -> None:
        with gate().reservation():
            pay_as("pay_first")(what)
            pay_as("pay_second")(what)

    each.expand(what=[1, 2])


@shape
def a_block_in_a_mapped_group_of_a_gate_outside() -> None:
    opens = gate()

    @task_group
    def each(what: int) -> None:
        with opens.reservation():
            pay_as("pay_first")(what)
            pay_as("pay_second")(what)

    each.expand(what=[1, 2])


@shape
def a_chain_that_starts_before_the_block() -> None:
    q = empty("before")
    with gate().reservation():
        chain(q, empty("pay_first"), [empty("pay_second"), empty("pay_third")])


@shape
def a_chain_of_outputs() -> None:
    q = outside()
    with gate().reservation():
        first = pay_as("pay_first")(q)
        second = pay_as("pay_second")(first)
        chain(second, Label("then"), empty("pay_third"))


@shape
def a_setup_beside_a_root() -> None:
    @setup
    def pay_setup() -> None: ...

    with gate().reservation():
        pay_setup()
        pay_as("pay_root")()


@shape
def a_setup_and_its_teardown() -> None:
    @setup
    def pay_setup(what: Any) -> None: ...

    @teardown
    def pay_teardown() -> None: ...

    q = outside()
    with gate().reservation():
        begins, ends = pay_setup(q), pay_teardown()
        begins >> pay_as("pay_work")(q) >> ends
        begins >> ends


@shape
def a_setup_block_in_the_block() -> None:
    q = outside()
    with gate().reservation():
        begins, ends = empty("pay_setup").as_setup(), empty("pay_teardown")
        with ends.as_teardown(setups=begins):
            pay_as("pay_inside")(q)
        pay_as("pay_after")(q)
        empty("pay_root")


@shape
def a_teardown_without_a_setup() -> None:
    q = outside()
    with gate().reservation():
        pay_as("pay_work")(q) >> empty("pay_teardown").as_teardown()
        empty("pay_lonely_teardown").as_teardown()


@shape
def the_block_in_a_setup_block() -> None:
    begins, ends = empty("outside_setup").as_setup(), empty("ends")
    q = outside()
    with ends.as_teardown(setups=begins):
        with gate().reservation():
            pay_as("pay_with_input")(q)
            empty("pay_root")
        empty("outside_after")


@shape
def a_mapped_gate() -> None:
    q = outside()
    opens = BalanceSensor.partial(task_id="gate", **_gate_options()).expand(min_usd=[1, 2])
    release = ReleaseCreditsOperator(task_id="release", gate_task_id=opens.task_id, youcom_conn_id=conn_id)
    opens.as_setup() >> release.as_teardown()
    with release:
        pay_as("pay_with_input")(q)
        empty("pay_root")


@shape
def a_mapped_gate_that_is_not_made_a_setup() -> None:
    opens = BalanceSensor.partial(task_id="gate", **_gate_options()).expand(min_usd=[1, 2])
    with ReleaseCreditsOperator(task_id="release", gate_task_id=opens.task_id, youcom_conn_id=conn_id):
        pay()


@shape
def a_gate_in_a_mapped_group_released_outside() -> None:
    @task_group
    def each(what: int) -> None:
        gate(min_usd=what)

    each.expand(what=[1, 2])
    q = outside()
    prefix = DAG_GROUP[-1] + "." if DAG_GROUP else ""
    with ReleaseCreditsOperator(task_id="release", gate_task_id=f"{prefix}each.gate", youcom_conn_id=conn_id):
        pay_as("pay_with_input")(q)


@shape
def work_that_takes_the_same_output_as_min_usd() -> None:
    @task
    def outside_amount() -> int:
        return 1

    amount = outside_amount()
    with gate(min_usd=amount).reservation():
        pay_as("pay_with_amount")(amount)
        pay_as("pay_root")()


@shape
def tasks_made_before_and_linked_in_the_block() -> None:
    first, second, third = empty("pay_first"), empty("pay_second"), empty("pay_third")
    with gate().reservation():
        first >> second
        third >> pay_as("pay_fourth")()


@shape
def a_group_made_before_and_linked_in_the_block() -> None:
    q = outside()
    with TaskGroup("group") as group:
        empty("pay_first") >> empty("pay_second")
        pay_as("pay_with_input")(q)
        with TaskGroup("nested"):
            empty("pay_nested")
    with gate().reservation():
        empty("pay_third") >> group


@shape
def two_groups_made_before_and_linked_in_the_block() -> None:
    with TaskGroup("first_group") as first:
        empty("pay_first") >> empty("pay_second")
    with TaskGroup("second_group") as second:
        empty("pay_third") >> empty("pay_fourth")
    with gate().reservation():
        first >> Label("then") >> second


@shape
def a_group_made_before_and_followed_in_the_block() -> None:
    with TaskGroup("group") as group:
        empty("pay_first") >> empty("pay_second")
    with gate().reservation():
        group >> empty("pay_third")


@shape
def groups_made_between_two_blocks() -> None:
    opens = gate()
    with opens.reservation():
        empty("pay_first")
    with TaskGroup("first_group") as first:
        empty("pay_second") >> empty("pay_third")
    with TaskGroup("second_group") as second:
        empty("pay_fourth") >> empty("pay_fifth")
    with opens.reservation():
        first >> second


@shape
def tasks_added_to_the_context() -> None:
    q = outside()
    first, second = pay_as("pay_first")(q), empty("pay_second")
    with gate().reservation() as block:
        block.add_task(first)
        block.add_task(second)


@shape
def tasks_linked_to_the_gate_by_hand() -> None:
    before = empty("pay_before")
    opens = gate()
    with opens.reservation() as _:
        opens >> empty("pay_first")
        opens >> before
        empty("pay_second") >> opens.reservation()


@shape
def tasks_in_front_of_the_gate() -> None:
    first = empty("outside_first")
    opens = gate()
    first >> opens
    with opens.reservation():
        first >> empty("pay_first")


@shape
def a_branch() -> None:
    q = outside()

    @task.branch
    def pay_branch(what: Any) -> list[str]:
        return [taken.task_id, also_taken.operator.task_id]

    with gate().reservation():
        taken = empty("pay_taken")
        also_taken = pay_as("pay_also_taken")(q)
        pay_branch(q) >> [taken, also_taken]


@shape
def a_short_circuit() -> None:
    q = outside()

    @task.short_circuit
    def pay_short_circuit() -> bool:
        return True

    with gate().reservation():
        pay_short_circuit() >> pay_as("pay_behind")(q)
        pay_as("pay_beside")(q)


@shape
def crossed_lists() -> None:
    q = outside()
    with gate().reservation():
        cross_downstream(
            [pay_as("pay_first")(q), empty("pay_second")], [empty("pay_third"), empty("pay_fourth")]
        )


@shape
def nested_gates() -> dict[str, list[str]]:
    q = outside()
    outer = ["pay_before", "pay_inside", "pay_root_inside", "pay_after", "pay_root_after"]
    with gate("outer_gate").reservation():
        pay_as("pay_before")(q)
        with gate("inner_gate").reservation():
            pay_as("pay_inside")(q)
            empty("pay_root_inside")
        pay_as("pay_after")(q)
        empty("pay_root_after")
    return {"outer_gate": outer, "inner_gate": ["pay_inside", "pay_root_inside"]}


@shape
def two_gates_in_one_with() -> None:
    q = outside()
    first, second = gate("first_gate"), gate("second_gate")
    with first.reservation(), second.reservation():
        pay_as("pay_with_input")(q)
        empty("pay_root")


@shape
def blocks_of_two_gates_over_the_same_tasks() -> None:
    q = outside()
    with gate("first_gate").reservation():
        first, second = pay_as("pay_first")(q), empty("pay_second")
    with gate("second_gate").reservation():
        first >> second


@shape
def one_block_after_the_other() -> dict[str, list[str]]:
    with gate("first_gate").reservation():
        first = pay_as("pay_first")()
    with gate("second_gate").reservation():
        pay_as("pay_second")(first)
    return {"first_gate": ["pay_first"], "second_gate": ["pay_second"]}


@shape
def a_block_that_is_entered_twice() -> None:
    q = outside()
    opens = gate()
    with opens.reservation():
        pay_as("pay_first")(q)
    with opens.reservation():
        pay_as("pay_second")(q)
        with opens.reservation():
            pay_as("pay_third")(q)
        pay_as("pay_fourth")(q)


@shape
def a_group_that_is_used_again() -> dict[str, list[str]]:
    @task_group
    def each(what: Any) -> None:
        with gate().reservation():
            pay_as("pay_first")(what)
            empty("pay_second")

    q = outside()
    groups = ("group", "same_group", "again")
    for group in groups:
        each.override(group_id=group)(q)
    return {f"{group}.gate": [f"{group}.pay_first", f"{group}.pay_second"] for group in groups}


@shape
def a_group_that_is_used_again_with_one_gate() -> None:
    opens = gate()

    @task_group
    def each(what: Any) -> None:
        with opens.reservation():
            pay_as("pay_first")(what)
            empty("pay_second")

    q = outside()
    for group in ("group", "same_group", "again"):
        each.override(group_id=group)(q)


@shape
def labels() -> None:
    q = outside()
    with gate().reservation():
        first = pay_as("pay_first")(q)
        first >> Label("cheap") >> empty("pay_second")
        first >> Label("dear") >> [empty("pay_third"), empty("pay_fourth")]


@shape
def links_made_after_the_block() -> None:
    before, after = empty("outside_before"), empty("after")
    opens = gate()
    with opens.reservation():
        first, second = empty("pay_first"), empty("pay_second")
    before >> first
    # Behind the release: otherwise the credits stay reserved if the release comes first.
    [second, opens.reservation()] >> after


@shape
def other_trigger_rules_behind_the_first_task() -> None:
    q = outside()
    with gate().reservation():
        first = empty("pay_first")
        for rule in ("one_success", "none_failed", "all_done", "none_failed_min_one_success", "none_skipped"):
            first >> pay_as(f"pay_{rule}", trigger_rule=rule)(q)


@shape
def a_rule_in_front_of_the_gate() -> None:
    opens = gate()
    join = empty("outside_join", trigger_rule="one_success")
    [empty("outside_first"), empty("outside_second")] >> join >> opens
    with opens.reservation():
        join >> empty("pay_first")


@shape
def another_sensor() -> None:
    q = outside()
    with gate().reservation():
        looks = BalanceSensor(task_id="pay_looks", min_usd=1, youcom_conn_id=CONNECTIONS["open"])
        pay_as("pay_with_input")(q) << looks


# The task group that a shape is in.
DAG_GROUP: list[str] = []

for name, conn_id in CONNECTIONS.items():  # noqa: B007 - the shapes read it
    with DAG(f"all_shapes_{name}", schedule=None, start_date=START):
        for shape_name, build in SHAPES.items():
            with TaskGroup(shape_name):
                DAG_GROUP.append(shape_name)
                build()
                DAG_GROUP.pop()
