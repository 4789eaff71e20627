"""The with block of a reservation: no task of it runs without its gate, in any shape of a DAG."""

from __future__ import annotations

import json
import linecache
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, TaskGroup, task_group

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.operators.release import ReleaseCreditsOperator
from airflow_provider_youcom.sandbox import Account, Sandbox
from tests.operators.dags import shapes, trigger_rules
from tests.operators.dags.shapes import SHAPES, START, empty, gate, outside, pay_as

DAGS = Path(shapes.__file__).parent


def build(shape: Callable[[], Any], dag_id: str = "shape") -> DAG:
    """Return the DAG of a shape, as Airflow accepts it."""
    with DAG(dag_id, schedule=None, start_date=START) as dag:
        shape()
    dag.validate_setup_teardown()
    return dag


def label(task_id: str) -> str:
    return task_id.rpartition(".")[2]


@pytest.mark.parametrize("name", SHAPES)
def test_each_task_that_pays_is_behind_its_gate_and_in_front_of_the_release(name: str) -> None:
    with DAG("shape", schedule=None, start_date=START) as dag, warnings.catch_warnings():
        warnings.simplefilter("error")
        paid_for = SHAPES[name]()
    dag.validate_setup_teardown()
    releases = [each for each in dag.tasks if isinstance(each, ReleaseCreditsOperator)]
    pays = {each.task_id for each in dag.tasks if label(each.task_id).startswith("pay")}
    assert pays
    for release in releases:
        expected = set(paid_for[release.gate_task_id]) if paid_for else pays
        behind = dag.get_task(release.gate_task_id).get_flat_relative_ids(upstream=False)
        in_front = release.get_flat_relative_ids(upstream=True)
        assert expected - behind == set(), "not behind the gate"
        assert expected - in_front == set(), "not in front of the release"
        # No loop: Airflow would refuse the DAG.
        assert release.gate_task_id not in behind
        assert release.task_id not in in_front


@pytest.mark.parametrize("name", SHAPES)
def test_a_task_outside_the_block_does_not_wait_for_the_gate(name: str) -> None:
    dag = build(SHAPES[name])
    behind: set[str] = set()
    for each in dag.tasks:
        if isinstance(each, ReleaseCreditsOperator):
            behind |= dag.get_task(each.gate_task_id).get_flat_relative_ids(upstream=False)
    assert not [task_id for task_id in behind if label(task_id).startswith("outside")]


@pytest.fixture
def accounts(
    ledger: Ledger, sandbox: Sandbox, airflow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Airflow with the DAGs of this folder, and two accounts: a full one, and an empty one."""
    bundle = {
        "name": "blocks",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(DAGS)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(DAGS))
    for number, (key, cents) in enumerate({"youcom_open": 100_000, "youcom_shut": 0}.items()):
        sandbox.accounts[key] = Account(f"4f{number}c", Decimal(cents))
        extra = {"ledger_conn_id": "ledger", "settle_seconds": 0}
        connection = {**json.loads(sandbox.connection(key)), "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{key.upper()}", json.dumps(connection))


def states_of(dag_id: str, file: Path) -> list[tuple[str, str]]:
    """Run a DAG, and return each task with its state; a mapped task has several."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 2.11 to 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(file)
    assert not bag.import_errors
    run = bag.dags[dag_id].test()
    return [(each.task_id, str(each.state)) for each in run.get_task_instances()]


def payments(states: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(task_id, state) for task_id, state in states if label(task_id).startswith("pay")]


@pytest.mark.on_the_ends
@pytest.mark.scenario
def test_nobody_pays_while_a_gate_is_shut_in_any_shape(accounts: None, ledger: Ledger) -> None:
    states = states_of("all_shapes_shut", Path(shapes.__file__))
    paid = payments(states)
    assert {task_id.split(".")[0] for task_id, _ in paid} == set(SHAPES)
    assert [each for each in paid if each[1] != "skipped"] == []
    assert [each for each in states if label(each[0]).startswith("outside") and each[1] != "success"] == []
    assert ledger.history() == []


@pytest.mark.on_the_ends
@pytest.mark.scenario
def test_everybody_pays_behind_open_gates_and_every_gate_is_released(accounts: None, ledger: Ledger) -> None:
    states = states_of("all_shapes_open", Path(shapes.__file__))
    assert [each for each in states if each[1] != "success"] == []
    assert [each.holder.task_id for each in ledger.standing()] == []
    opened = {each.holder.task_id for each in ledger.history()}
    assert opened == {task_id for task_id, _ in states if label(task_id).endswith("gate")} - {
        task_id for task_id, _ in states if label(task_id).startswith("release")
    }


@pytest.mark.on_the_ends
@pytest.mark.scenario
@pytest.mark.parametrize(("policy", "state"), [("skip", "skipped"), ("fail", "failed")])
def test_a_task_that_runs_although_its_gate_is_shut_is_warned_of(
    accounts: None, policy: str, state: str
) -> None:
    states = states_of(f"trigger_rules_{policy}", Path(trigger_rules.__file__))
    assert {state for task_id, state in states if label(task_id) == "gate"} == {state}
    assert len(payments(states)) == 4 * len(trigger_rules.RULES)
    run = {task_id for task_id, state in payments(states) if state == "success"}
    assert run == {str(each.message).split("'")[1] for each in trigger_rules.WARNINGS}


def in_front_of_the_gate() -> None:
    opens = gate()
    with opens.reservation():
        empty("early") >> opens


def behind_the_release() -> None:
    release = gate().reservation()
    with release:
        empty("work") >> release >> empty("late")


def made_before_and_behind_the_release() -> None:
    late = empty("late")
    release = gate().reservation()
    release >> late
    with release:
        empty("work") >> late


def no_task() -> None:
    with gate().reservation():
        pass


def no_task_in_the_second_block() -> None:
    opens = gate()
    with opens.reservation():
        empty("work")
    with opens.reservation():
        pass


def tasks_that_are_only_named() -> None:
    work = [empty("first"), empty("second")]
    with gate().reservation():
        work  # noqa: B018


def a_rule() -> None:
    source = outside()
    with gate().reservation():
        pay_as("join", trigger_rule="one_success")(source)


def a_setup_with_a_rule() -> None:
    with gate().reservation():
        empty("join", trigger_rule="none_failed").as_setup()


def a_task_that_always_runs_first() -> None:
    with gate().reservation():
        empty("join", trigger_rule="always")


def made_before_with_a_rule() -> None:
    join = empty("join", trigger_rule="all_done")
    with gate().reservation():
        join >> empty("work")


def a_gate_that_is_missing() -> None:
    with ReleaseCreditsOperator(task_id="release", gate_task_id="group.gate"):
        empty("work")


def released_by_the_first_index() -> None:
    opens = gate()

    @task_group
    def each(what: int) -> None:
        with ReleaseCreditsOperator(task_id="release", gate_task_id=opens.task_id):
            empty("work")

    each.expand(what=[1, 2])


def released_by_the_first_index_by_hand() -> None:
    opens = gate()

    @task_group
    def each(what: int) -> None:
        (
            opens.as_setup()
            >> empty("work")
            >> ReleaseCreditsOperator(task_id="release", gate_task_id=opens.task_id).as_teardown(setups=opens)
        )

    each.expand(what=[1, 2])


def released_in_another_mapped_group() -> None:
    @task_group
    def opening(what: int) -> None:
        gate()

    @task_group
    def closing(what: int) -> None:
        with TaskGroup("nested"), ReleaseCreditsOperator(task_id="release", gate_task_id="opening.gate"):
            empty("work")

    opening.expand(what=[1, 2])
    closing.expand(what=[1, 2])


FIRST_BEHIND_THE_GATE = (
    "Task 'join' has trigger_rule='{}' and is the first behind gate 'gate', where Airflow accepts only "
    "'all_success': give the rule to an EmptyOperator in front of the gate instead."
)
NOTHING_TO_DO = (
    "The with block of 'release_gate' has no task, so nothing would spend what gate 'gate' reserves: create "
    "the tasks that spend it inside the block."
)
LATE = (
    "Task 'late' is in the with block of 'release_gate' and runs after it: create it after the block, or "
    "remove the link between the two."
)
FIRST_INDEX = (
    "Task '{}' is in mapped task group '{}' and gate '{}' is not, so the first index that ends would "
    "release what the others still spend: create both in the group, or both outside it."
)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (
            in_front_of_the_gate,
            (
                "Task 'early' is in the with block of 'release_gate' and in front of its gate 'gate': create "
                "it before the block."
            ),
        ),
        (behind_the_release, LATE),
        (made_before_and_behind_the_release, LATE),
        (no_task, NOTHING_TO_DO),
        (no_task_in_the_second_block, NOTHING_TO_DO),
        (tasks_that_are_only_named, NOTHING_TO_DO),
        (a_rule, FIRST_BEHIND_THE_GATE.format("one_success")),
        (a_setup_with_a_rule, FIRST_BEHIND_THE_GATE.format("none_failed")),
        (a_task_that_always_runs_first, FIRST_BEHIND_THE_GATE.format("always")),
        (made_before_with_a_rule, FIRST_BEHIND_THE_GATE.format("all_done")),
        (
            a_gate_that_is_missing,
            (
                "DAG 'shape' has no task 'group.gate': set gate_task_id to the id of the gate, with the ids "
                "of its task groups."
            ),
        ),
        (released_by_the_first_index, FIRST_INDEX.format("each.release", "each", "gate")),
        (released_by_the_first_index_by_hand, FIRST_INDEX.format("each.release", "each", "gate")),
        (
            released_in_another_mapped_group,
            FIRST_INDEX.format("closing.nested.release", "closing", "opening.gate"),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_block_that_cannot_be_linked_says_what_to_do(shape: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=".") as refusal:
        build(shape)
    assert str(refusal.value) == sentence


def warnings_of(shape: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build(shape)
    lines = [linecache.getline(each.filename, each.lineno) for each in caught]
    assert [line for line in lines if "with " not in line] == [], "not the line of the block"
    return [str(each.message) for each in caught]


def test_a_task_that_always_runs_is_warned_of() -> None:
    def shape() -> None:
        with gate().reservation():
            empty("work") >> empty("notify", trigger_rule="always")

    assert warnings_of(shape) == [
        (
            "Task 'notify' has trigger_rule='always', so it runs even if gate 'gate' does not open: use "
            "another rule, or, if it spends no credits, create it after the with block."
        )
    ]


def test_a_mapped_task_that_always_runs_is_warned_of() -> None:
    def shape() -> None:
        with gate().reservation():
            empty("work") >> pay_as("notify", trigger_rule="always").expand(what=[1])

    (warning,) = warnings_of(shape)
    assert warning.startswith("Task 'notify' has trigger_rule='always'")


def test_the_teardown_of_a_setup_in_front_of_the_gate_is_warned_of() -> None:
    def shape() -> None:
        begins = empty("begins").as_setup()
        opens = gate()
        begins >> opens
        with opens.reservation():
            empty("work") >> empty("ends").as_teardown(setups=begins)

    assert warnings_of(shape) == [
        (
            "Task 'ends' is the teardown of 'begins', so it runs even if gate 'gate' does not open: create "
            "both in the with block, or, if it spends no credits, create it after the block."
        )
    ]


def test_a_task_that_follows_the_block_is_not_warned_of() -> None:
    def shape() -> None:
        with gate().reservation():
            work = empty("work")
        work >> empty("notify", trigger_rule="always")

    assert warnings_of(shape) == []


class StoppedError(Exception):
    """An error of a DAG file."""


@pytest.mark.parametrize("made", [True, False])
def test_an_error_in_the_block_is_the_one_that_is_raised(made: bool) -> None:
    def shape() -> None:
        with gate().reservation():
            if made:
                empty("work", trigger_rule="always")
            raise StoppedError

    with pytest.raises(StoppedError):
        build(shape)
    # The context of Airflow is left: the task here gets no link.
    dag = build(lambda: empty("alone"), "next")
    assert dag.get_task("alone").upstream_task_ids == set()


def test_tasks_without_a_dag_join_that_of_the_gate() -> None:
    dag = DAG("shape", schedule=None, start_date=START)
    opens = gate(dag=dag)
    with opens.reservation():
        empty("alone")
        opens >> empty("first") >> empty("second")
    dag.validate_setup_teardown()
    assert opens.downstream_task_ids == {"release_gate", "alone", "first"}
    assert opens.reservation().upstream_task_ids == {"gate", "alone", "second"}


def test_a_teardown_without_a_setup_gets_the_gate_as_its_setup() -> None:
    dag = build(SHAPES["a_teardown_without_a_setup"])
    assert {"pay_teardown", "pay_lonely_teardown"} < dag.get_task("gate").downstream_task_ids
    dag = build(SHAPES["a_setup_and_its_teardown"])
    assert "pay_teardown" not in dag.get_task("gate").downstream_task_ids


def test_a_block_links_nothing_twice() -> None:
    def shape() -> None:
        with gate().reservation():
            empty("first") >> empty("second") >> empty("third")

    dag = build(shape)
    assert dag.get_task("gate").downstream_task_ids == {"first", "release_gate"}
    assert dag.get_task("release_gate").upstream_task_ids == {"gate", "third"}
