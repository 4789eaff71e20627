"""The id of the deployment: made once, by many tasks at once, through each failure, and never replaced."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, Variable
from airflow.secrets import BaseSecretsBackend

from airflow_provider_youcom import _deployment
from airflow_provider_youcom._deployment import (
    CANDIDATE_VARIABLE,
    DEPLOYMENT_VARIABLE,
    deployment_id,
    saved_deployment_id,
)
from airflow_provider_youcom._variables import (
    VariableUnavailableError,
    tasks_have_the_database,
)
from airflow_provider_youcom.exceptions import YouComLedgerUnavailableError, YouComRefusedError
from tests.airflow_task import in_a_task
from tests.virtual_time import VirtualTime

AIRFLOW_2 = tasks_have_the_database()
FIRST_TASK = Path(__file__).with_name("first_task.py")
FIRST_TASKS = 3


def rows() -> dict[str, str]:
    """The provider's Variables in Airflow's database."""
    from airflow.models.variable import Variable as VariableRow
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.scalars(sa.select(VariableRow).where(VariableRow.key.startswith("youcom_"))).all()
        return {row.key: row.val for row in found}


def store(key: str, text: str) -> None:
    from airflow.models.variable import Variable as VariableRow
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(VariableRow(key=key, val=text))


def forget() -> None:
    from airflow.models.variable import Variable as VariableRow
    from airflow.utils.session import create_session

    with create_session() as session:
        ours = sa.delete(VariableRow).where(VariableRow.key.startswith("youcom_"))
        session.execute(ours.execution_options(synchronize_session=False))


@pytest.fixture
def airflow(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A task, in an Airflow that has no id yet, whose half minute is short."""
    monkeypatch.setattr(_deployment, "UNCHANGED_FOR", 0.1)
    monkeypatch.setattr(_deployment, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(_deployment, "GIVE_UP_AFTER", 120)
    forget()
    with in_a_task():
        yield
    forget()


def ask_once() -> str | None:
    """Return the id, or None if it is unknown now."""
    with suppress(YouComLedgerUnavailableError):
        return deployment_id()
    return None


@contextmanager
def database_fails_at(turn: int) -> Iterator[list[str]]:
    """Let the statement of this turn fail, of those about Variables, and collect them."""
    from airflow import settings

    statements: list[str] = []

    def fail(conn: Any, cursor: Any, statement: str, parameters: Any, *context: Any) -> None:
        if " variable" not in statement:
            return
        statements.append(statement)
        if len(statements) == turn:
            raise sa.exc.OperationalError(statement, parameters, Exception("the server is gone"))

    sa.event.listen(settings.engine, "before_cursor_execute", fail)
    try:
        yield statements
    finally:
        sa.event.remove(settings.engine, "before_cursor_execute", fail)


@pytest.mark.usefixtures("airflow")
def test_the_first_use_makes_an_id_and_all_later_ones_return_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = deployment_id()
    assert rows() == {DEPLOYMENT_VARIABLE: made}

    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits although there is an id"))
    assert deployment_id() == made
    assert rows() == {DEPLOYMENT_VARIABLE: made}


@pytest.mark.usefixtures("airflow")
@pytest.mark.parametrize("text", ["0123456789abcdef0123456789abcdef", "production", "Prod: 1 %"])
def test_an_id_that_was_set_by_hand_is_used_as_it_is(text: str) -> None:
    store(DEPLOYMENT_VARIABLE, text)
    assert deployment_id() == text
    assert rows() == {DEPLOYMENT_VARIABLE: text}


@pytest.mark.usefixtures("airflow")
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_id_is_refused_and_not_replaced(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_YOUCOM_DEPLOYMENT_ID", text)
    with pytest.raises(YouComRefusedError, match="youcom_deployment_id is empty: set it to a text that no"):
        deployment_id()
    assert rows() == {}


@pytest.mark.scenario
@pytest.mark.usefixtures("airflow")
def test_a_database_that_fails_once_at_any_statement_leads_to_one_id() -> None:
    for turn in itertools.count(1):
        forget()
        with database_fails_at(turn) as statements:
            answers = [ask_once() for _ in range(2)]
        assert set(answers) - {None} == {rows()[DEPLOYMENT_VARIABLE]}, turn
        # How many statements there are depends on how often it looks in its half minute.
        if len(statements) < turn:
            break
    assert turn > 3


@pytest.mark.usefixtures("airflow")
def test_a_database_that_fails_once_does_not_replace_an_id() -> None:
    store(DEPLOYMENT_VARIABLE, "production")
    for turn in (1, 2, 3):
        with database_fails_at(turn):
            assert {ask_once() for _ in range(3)} <= {"production", None}
        assert rows()[DEPLOYMENT_VARIABLE] == "production"


@contextmanager
def api_fails_at(turns: Container[int], *names: str) -> Iterator[list[str]]:
    """Let calls of Airflow's API for a Variable fail in these turns: all calls, or those named."""
    from airflow.models.variable import Variable as VariableRow
    from fastapi import HTTPException

    calls: list[str] = []

    def failing(method: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            calls.append(method.__name__)
            if len(calls) in turns:
                raise HTTPException(503, "restarting")
            return method(*args, **options)

        return staticmethod(call)

    with pytest.MonkeyPatch.context() as patch:
        for name in names or ("get", "set", "delete"):
            patch.setattr(VariableRow, name, failing(getattr(VariableRow, name)))
        yield calls


@pytest.mark.scenario
@pytest.mark.usefixtures("airflow")
@pytest.mark.skipif(AIRFLOW_2, reason="its tasks use the database, and no API")
def test_an_api_that_fails_once_at_any_call_leads_to_one_id() -> None:
    with api_fails_at(()) as calls:
        deployment_id()
    assert {"get", "set"} <= set(calls)
    for turn in range(1, len(calls) + 1):
        forget()
        with api_fails_at({turn}):
            answers = [ask_once() for _ in range(2)]
        assert set(answers) - {None} == {rows()[DEPLOYMENT_VARIABLE]}, turn


@pytest.mark.usefixtures("airflow")
@pytest.mark.skipif(AIRFLOW_2, reason="its tasks use the database, and no API")
def test_an_api_that_goes_on_failing_makes_the_id_unknown_and_saves_nothing() -> None:
    with api_fails_at(range(1, 1000), "get"):
        assert ask_once() is None
    assert rows() == {}, "it does not take an error for an answer"
    store(DEPLOYMENT_VARIABLE, "production")
    with api_fails_at(range(1, 1000), "get"):
        assert ask_once() is None
    assert rows() == {DEPLOYMENT_VARIABLE: "production"}


class Vault(BaseSecretsBackend):
    """A secrets backend that holds an id, and fails when a test says so."""

    errors: ClassVar[list[Exception]] = []
    holds: ClassVar[dict[str, str]] = {}

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        if self.errors:
            raise self.errors.pop()
        return self.holds.get(key)


def use_new_backends() -> None:
    """Let Airflow 3.2 and later, which keep their secrets backends, make new ones."""
    for module in ("airflow.configuration", "airflow.sdk.configuration"):
        clear = getattr(sys.modules.get(module), "clear_secrets_backends_cache", None)
        if clear:
            clear()


@pytest.fixture
def vault(airflow: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Vault]]:
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", f"{__name__}.Vault")
    monkeypatch.setattr(Vault, "errors", [])
    monkeypatch.setattr(Vault, "holds", {DEPLOYMENT_VARIABLE: "from the vault"})
    use_new_backends()
    yield Vault
    monkeypatch.undo()
    use_new_backends()


def test_a_secrets_backend_that_fails_once_makes_the_id_unknown_and_no_new_one(vault: type[Vault]) -> None:
    assert deployment_id() == "from the vault"
    vault.errors.append(ConnectionError("sealed"))
    sentence = r"unknown, so nothing is reserved \(could not read .*: ConnectionError: sealed\): check"
    with pytest.raises(YouComLedgerUnavailableError, match=sentence):
        deployment_id()
    assert deployment_id() == "from the vault"
    assert rows() == {}


def test_a_secrets_backend_that_fails_while_an_id_is_made_ends_the_attempt(vault: type[Vault]) -> None:
    vault.holds.clear()
    vault.errors.append(ConnectionError("sealed"))
    with pytest.raises(YouComLedgerUnavailableError):
        deployment_id()
    assert rows() == {}
    assert deployment_id() == rows()[DEPLOYMENT_VARIABLE]


def test_an_id_that_this_task_may_not_read_is_refused(vault: type[Vault]) -> None:
    vault.errors.append(PermissionError("policy"))
    with pytest.raises(
        YouComRefusedError,
        match=r"youcom_deployment_id cannot be read and saved \(.*PermissionError: policy\): set it by hand",
    ):
        deployment_id()
    assert rows() == {}


@pytest.mark.usefixtures("airflow")
@pytest.mark.skipif(AIRFLOW_2, reason="its tasks use the database, which lets them save every Variable")
def test_a_variable_that_tasks_may_not_save_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models.variable import Variable as VariableRow
    from fastapi import HTTPException

    def deny(*args: Any, **options: Any) -> None:
        raise HTTPException(403, "not yours")

    monkeypatch.setattr(VariableRow, "set", deny)
    with pytest.raises(YouComRefusedError, match=r"youcom_deployment_id cannot be .*: set it by hand, to a"):
        deployment_id()
    assert rows() == {}


@pytest.fixture
def another_fernet_key(airflow: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A key with which Airflow cannot decrypt what it has saved."""
    from airflow.models import crypto
    from cryptography.fernet import Fernet

    def use_new_key() -> None:
        if AIRFLOW_2:
            crypto._fernet = None
        else:
            crypto.get_fernet.cache_clear()

    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    use_new_key()
    yield
    monkeypatch.undo()
    use_new_key()


@pytest.mark.usefixtures("another_fernet_key")
@pytest.mark.skipif(
    not (AIRFLOW_2 or hasattr(Variable, "keys")),
    reason="Airflow 3.0 to 3.2 cannot tell an id that it cannot decrypt from none",
)
def test_an_id_that_airflow_cannot_decrypt_is_not_replaced() -> None:
    from airflow import settings

    row = {"key": DEPLOYMENT_VARIABLE, "val": "garbage", "is_encrypted": True}
    table = sa.table("variable", *(sa.column(name) for name in row))
    with settings.engine.begin() as connection:
        connection.execute(sa.insert(table).values(row))
    with pytest.raises(YouComLedgerUnavailableError, match="does not say what it holds"):
        deployment_id()
    with settings.engine.begin() as connection:
        saved = connection.execute(sa.select(table.c.val).where(table.c.key == DEPLOYMENT_VARIABLE))
        assert saved.scalars().all() == ["garbage"]


@pytest.mark.usefixtures("airflow")
@pytest.mark.skipif(not hasattr(Variable, "keys"), reason="Airflow lists no Variables below 3.3")
def test_an_id_that_another_task_saves_between_two_questions_is_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_listed = _deployment.is_listed

    def after_another_task(key: str) -> bool:
        store(key, rows()[CANDIDATE_VARIABLE])
        return is_listed(key)

    monkeypatch.setattr(_deployment, "is_listed", after_another_task)
    assert {DEPLOYMENT_VARIABLE: deployment_id()} == rows()


@pytest.mark.usefixtures("airflow")
@pytest.mark.skipif(AIRFLOW_2, reason="it waits for nothing, since the database lets one task save")
def test_a_task_that_airflow_stops_while_it_waits_leaves_the_rest_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(seconds: float) -> None:
        if CANDIDATE_VARIABLE in rows():
            raise AirflowTaskTimeout

    with monkeypatch.context() as patch:
        patch.setattr(_deployment.time, "sleep", stop)
        for _ in range(2):
            with pytest.raises(AirflowTaskTimeout):
                deployment_id()
    (candidate,) = rows().values()
    assert deployment_id() == candidate
    assert rows() == {DEPLOYMENT_VARIABLE: candidate}


@pytest.mark.on_the_ends
@pytest.mark.scenario
@pytest.mark.usefixtures("airflow")
def test_many_first_tasks_at_once_get_one_id(tmp_path: Path) -> None:
    search_path = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": search_path, "AIRFLOW__CORE__FERNET_KEY": ""}
    tasks = [
        subprocess.Popen(
            [sys.executable, str(FIRST_TASK), str(tmp_path), str(number), "3"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(FIRST_TASKS)
    ]
    try:
        while len(list(tmp_path.iterdir())) < FIRST_TASKS and all(task.poll() is None for task in tasks):
            time.sleep(0.1)
        (tmp_path / "go").touch()
        said = [task.communicate(timeout=400)[0] for task in tasks]
    finally:
        for task in tasks:
            task.kill()
    ids = {line for text in said for line in text.splitlines() if line.startswith("id=")}
    assert [task.returncode for task in tasks] == [0] * FIRST_TASKS
    assert [f"id={text}" for text in rows().values()] == list(ids)
    assert set(rows()) == {DEPLOYMENT_VARIABLE}


class BusyAirflow:
    """
    The Variables of an Airflow 3 whose API is slow, fails, and hides what there is, in virtual time.

    Some of what it saves, it saves after almost half a minute.

    It is away for a while. What was to be saved then is saved up to a quarter of a minute after its return,
    since the client of Airflow's tasks tries again.
    """

    def __init__(self, chance: random.Random, time: VirtualTime, slowest: float) -> None:
        self.saved: list[tuple[str, str]] = []
        self._chance = chance
        self._time = time
        self._slowest = slowest
        self._holds: dict[str, str] = {}
        self._away_from = chance.uniform(0, 60)
        self._back_at = self._away_from + chance.uniform(0, 90)

    def read(self, key: str) -> str | None:
        self._answer_slowly()
        found = None if self._chance.random() < 0.03 else self._holds.get(key)
        self._answer_slowly()
        return found

    def save(self, key: str, text: str, description: str) -> None:
        if self._is_away:
            late = self._back_at - self._time.monotonic() + self._chance.uniform(0, 15)
            self._time.later(late, lambda: self._write(key, text))
        self._answer_slowly()
        if self._chance.random() < 0.3:
            self._time.sleep(self._chance.uniform(0, 25))
        self._write(key, text)
        self._answer_slowly()

    def delete(self, key: str) -> None:
        self._answer_slowly()
        self._holds.pop(key, None)

    @property
    def _is_away(self) -> bool:
        return self._away_from <= self._time.monotonic() < self._back_at

    def _answer_slowly(self) -> None:
        self._time.sleep(self._chance.uniform(0, self._slowest))
        if self._is_away or self._chance.random() < 0.02:
            raise VariableUnavailableError("the API does not answer")

    def _write(self, key: str, text: str) -> None:
        self._holds[key] = text
        self.saved.append((key, text))


def fleet(seed: int, monkeypatch: pytest.MonkeyPatch, slowest: float = 2) -> tuple[list[str], BusyAirflow]:
    """Let ten tasks ask for the id for the first time, again after each failure, and return what they got."""
    chance, clock = random.Random(seed), VirtualTime()
    airflow = BusyAirflow(chance, clock, slowest)
    within = chance.choice([2, 20, 90])
    ids: list[str] = []

    def first_task() -> None:
        clock.sleep(chance.uniform(0, within))
        while True:
            try:
                ids.append(deployment_id())
                return
            except YouComLedgerUnavailableError:
                clock.sleep(chance.uniform(1, 20))

    monkeypatch.setattr(_deployment, "time", clock)
    monkeypatch.setattr(_deployment, "random", chance)
    monkeypatch.setattr(_deployment, "tasks_have_the_database", lambda: False)
    monkeypatch.setattr(_deployment, "is_listed", lambda key: False)
    monkeypatch.setattr(_deployment, "read_variable", airflow.read)
    monkeypatch.setattr(_deployment, "save_variable", airflow.save)
    monkeypatch.setattr(_deployment, "delete_variable", airflow.delete)
    clock.run([first_task] * 10)
    return ids, airflow


@pytest.mark.only_in_test
@pytest.mark.parametrize("slowest", [0.01, 2, 6])
def test_a_fleet_that_opens_while_the_api_restarts_gets_one_id(
    slowest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(100):
        ids, airflow = fleet(seed, monkeypatch, slowest)
        assert len(ids) == 10, seed
        saved = {text for key, text in airflow.saved if key == DEPLOYMENT_VARIABLE}
        assert saved == set(ids), seed
        assert len(saved) == 1, seed


@pytest.mark.parametrize("written", ["prod", " prod", "prod\n"])
def test_the_api_server_knows_the_deployment_by_the_same_id_as_its_gates(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_YOUCOM_DEPLOYMENT_ID", written)
    with in_a_task():
        assert saved_deployment_id() == deployment_id() == written


def test_the_api_server_knows_no_id_from_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_YOUCOM_DEPLOYMENT_ID", " \n")
    assert saved_deployment_id() == ""
