"""What a watcher fires when its state cannot be read or written, and when the clock is set."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.crossing import Event, Line, Memory
from airflow_provider_youcom.exceptions import YouComRefusedError
from airflow_provider_youcom.gate import Reading
from airflow_provider_youcom.triggers import _state_store, _watcher_memory
from airflow_provider_youcom.triggers._state_store import StateStore
from airflow_provider_youcom.triggers._watcher_memory import WatcherMemory

try:
    from airflow.sdk import Asset
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import AssetStateStoreResult, ErrorResponse, OKResponse
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors
except ImportError:
    pytest.skip("below Airflow 3.3 there is no state store", allow_module_level=True)

KEY = "youcom youcom_default below 5"
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REFUSED = YouComRefusedError("You.com refused the key of connection 'youcom_default' (HTTP 401).")
FIRED_BEFORE = Memory(armed=False)
ABOVE_BEFORE = Memory(armed=True)


READS_OF_A_START = 3


class Supervisor:
    """Answers Airflow's own store as the supervisor of a triggerer does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: dict[str, str] = {}
        self.asked: list[str] = []
        self.errors: list[ErrorResponse | None] = []
        """What the next messages are answered with; None for what they ask for."""
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", self, raising=False)

    def fails(self, times: int, status_code: int | None = None) -> None:
        detail = {"status_code": status_code}
        self.errors += [ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail)] * times

    def raises(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        """Fail at each message, before an answer comes."""

        async def fail(message: Any) -> Any:
            self.asked.append("read" if message.type.startswith("Get") else "write")
            raise error

        monkeypatch.setattr(self, "asend", fail)

    def holds(self, memory: Memory) -> None:
        self.values[KEY] = json.dumps(memory.to_json())

    @property
    def memory(self) -> Memory:
        return Memory.from_json(json.loads(self.values[KEY]))

    async def asend(self, message: Any) -> Any:
        self.asked.append("read" if message.type.startswith("Get") else "write")
        if self.errors and (error := self.errors.pop(0)):
            raise AirflowRuntimeError(error)
        if self.asked[-1] == "write":
            self.values[message.key] = json.dumps(message.value)
            return OKResponse(ok=True)
        if message.key in self.values:
            return AssetStateStoreResult(value=json.loads(self.values[message.key]))
        return ErrorResponse(error=ErrorType.ASSET_STORE_NOT_FOUND, detail={"key": message.key})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state_store, "PAUSES_BEFORE_READING_AGAIN", (0.0,) * (READS_OF_A_START - 1))


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    return Supervisor(monkeypatch)


class Watcher:
    """A watcher that makes a check each minute, and tells what it fired."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.assets = ["low"]
        self.clock_is_ahead = [timedelta(0)] * 60
        """How wrong the clock is at each check."""

    def fires(self, *balances_usd: object, **options: Any) -> list[str]:
        """Return what a new triggerer fires after each check: the kind and the minute, or an empty string."""
        return [
            f"{each['kind']} {each['happened_at'][11:16]}" if each else ""
            for each in self.run(*balances_usd, **options)
        ]

    def run(self, *balances_usd: object, **options: Any) -> list[Event | None]:
        described = {"above_usd": None, "below_usd": 5, "rearm_usd": None, "at_start": None}
        line = Line.from_options(
            youcom_conn_id="youcom_default", blind_after=300.0, **{**described, **options}
        )
        log = logging.getLogger("watcher")

        async def check_each_minute() -> list[Event | None]:
            accessors = AssetStateStoreAccessors(inlets=[Asset(name) for name in self.assets])
            memory = WatcherMemory(line, StateStore(accessors, KEY, log), log)
            await memory.recall()
            return [await memory.observe(self._reading(*each)) for each in enumerate(balances_usd)]

        return asyncio.run(check_each_minute())

    def _reading(self, minute: int, usd: object) -> Reading:
        clocks = START + minute * MINUTE + self.clock_is_ahead[minute], 60.0 * minute
        self._monkeypatch.setattr(_watcher_memory, "read_clocks", lambda: clocks)
        return (
            REFUSED
            if usd is None
            else AccountBalance("4f1c", Decimal(str(usd)) * 100, START + minute * MINUTE)
        )


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Watcher:
    caplog.set_level(logging.INFO, logger="watcher")
    return Watcher(monkeypatch)


def test_a_store_that_fails_once_repeats_no_event(supervisor: Supervisor, watcher: Watcher):
    supervisor.holds(FIRED_BEFORE)
    supervisor.fails(1)
    assert watcher.fires(3, 3, 10, 3) == ["", "", "", "below 12:03"]


def test_a_store_that_fails_once_loses_no_crossing(supervisor: Supervisor, watcher: Watcher):
    supervisor.holds(ABOVE_BEFORE)
    supervisor.fails(1)
    assert watcher.fires(3, 3, at_start="remember") == ["below 12:00", ""]


def test_a_crossing_is_fired_late_once_the_store_can_be_read(supervisor: Supervisor, watcher: Watcher):
    supervisor.holds(ABOVE_BEFORE)
    supervisor.fails(READS_OF_A_START + 2)
    assert watcher.fires(3, 3, 3, 3, at_start="remember") == ["", "", "below 12:00", ""]
    assert supervisor.memory == Memory(armed=False)


def test_an_event_that_was_fired_without_the_store_is_not_fired_again(
    supervisor: Supervisor, watcher: Watcher
):
    supervisor.holds(ABOVE_BEFORE)
    supervisor.fails(READS_OF_A_START + 2)
    assert watcher.fires(10, 3, 3, 3) == ["", "below 12:01", "", ""]
    assert supervisor.memory == Memory(armed=False)


def test_nothing_is_written_before_the_store_has_been_read(supervisor: Supervisor, watcher: Watcher):
    supervisor.holds(FIRED_BEFORE)
    supervisor.fails(1000)
    assert watcher.fires(10, 3, 10, 3) == ["", "below 12:01", "", "below 12:03"]
    assert set(supervisor.asked) == {"read"}
    assert supervisor.memory == FIRED_BEFORE


def test_an_event_that_airflow_may_have_lost_is_fired_when_the_store_can_be_read(
    supervisor: Supervisor, watcher: Watcher
):
    watcher.run(10, 3)
    lost = supervisor.memory.unsaved
    assert lost
    supervisor.fails(READS_OF_A_START + 1)
    assert watcher.run(3, 3, 3, at_start="remember") == [None, lost, None]


def test_what_was_missed_is_fired_one_event_at_a_check(supervisor: Supervisor, watcher: Watcher):
    supervisor.holds(Memory(armed=True, unknown_since=START - 9 * MINUTE))
    supervisor.fails(READS_OF_A_START + 1)
    assert watcher.fires(None, 3, 3, 3, at_start="remember") == ["", "unknown 11:51", "below 12:01", ""]
    assert supervisor.memory == Memory(armed=False)


@pytest.mark.parametrize("balances_usd", [[3, 3], [None, 3], [None, 3, 3]])
def test_a_crash_does_not_lose_a_crossing_that_is_fired_late(
    supervisor: Supervisor, watcher: Watcher, balances_usd: list[object]
):
    supervisor.holds(Memory(armed=True, unknown_since=START - 9 * MINUTE))
    supervisor.fails(READS_OF_A_START + 1)
    watcher.run(*balances_usd, at_start="remember")
    assert watcher.fires(50, at_start="remember")[0].startswith("below 12:0")


def test_a_crash_while_an_event_is_repeated_does_not_lose_the_crossing_of_that_check(
    supervisor: Supervisor, watcher: Watcher
):
    watcher.fires(*[None] * 6, 10)
    assert supervisor.memory.unsaved
    assert supervisor.memory.unsaved["kind"] == "known"
    assert watcher.fires(3) == ["known 12:06"]
    assert watcher.fires(3, 3) == ["known 12:06", "below 12:01"]


def test_nothing_is_written_when_nothing_has_changed_since_the_last_triggerer(
    supervisor: Supervisor, watcher: Watcher
):
    supervisor.holds(FIRED_BEFORE)
    assert watcher.fires(3, 3) == ["", ""]
    assert supervisor.asked == ["read"]


@pytest.mark.parametrize("status_code", [None, 408, 425, 429, 500, 503])
def test_a_watcher_that_starts_waits_for_a_store_that_does_not_answer(
    supervisor: Supervisor, watcher: Watcher, status_code: int | None
):
    supervisor.fails(1000, status_code)
    watcher.run()
    assert supervisor.asked == ["read"] * READS_OF_A_START


def test_a_watcher_that_starts_waits_for_a_network_that_is_down(
    supervisor: Supervisor, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
):
    supervisor.raises(monkeypatch, ConnectionResetError("gone"))
    watcher.run()
    assert supervisor.asked == ["read"] * READS_OF_A_START


def test_a_watcher_that_starts_does_not_wait_for_a_permission(supervisor: Supervisor, watcher: Watcher):
    supervisor.errors = [ErrorResponse(error=ErrorType.PERMISSION_DENIED)] * 9
    watcher.run()
    assert supervisor.asked == ["read"]


@pytest.mark.parametrize("status_code", [401, 403, 404, 422])
def test_a_watcher_that_starts_does_not_wait_for_a_store_that_refuses(
    supervisor: Supervisor, watcher: Watcher, status_code: int
):
    supervisor.fails(1000, status_code)
    assert watcher.fires(3) == ["below 12:00"]
    assert supervisor.asked == ["read"] * 2


def test_an_error_that_nobody_foresaw_is_not_waited_for_and_nothing_is_written(
    supervisor: Supervisor, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
):
    supervisor.raises(monkeypatch, ArithmeticError("a bug"))
    assert watcher.fires(3, 3) == ["below 12:00", ""]
    assert supervisor.asked == ["read"] * 3


def test_a_store_that_airflow_cannot_load_is_not_written_either(
    supervisor: Supervisor, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
):
    supervisor.raises(monkeypatch, ValueError("Could not load worker state backend"))
    assert watcher.fires(3, 3) == ["below 12:00", ""]
    assert supervisor.asked == ["read"]


def test_two_assets_that_share_a_trigger_have_no_store_and_airflow_is_not_asked_for_it(
    supervisor: Supervisor, watcher: Watcher, caplog: pytest.LogCaptureFixture
):
    watcher.assets = ["low", "other"]
    assert watcher.fires(3, 3, 10, 3) == ["below 12:00", "", "", "below 12:03"]
    assert supervisor.asked == []
    (warning,) = caplog.messages
    assert warning.startswith("Airflow does not keep the state of this watcher (ValueError: Task has 2")


def test_an_asset_that_is_not_active_keeps_its_state_as_soon_as_it_is(
    supervisor: Supervisor, watcher: Watcher, caplog: pytest.LogCaptureFixture
):
    # Airflow answers as if nothing were stored, and refuses to store anything.
    supervisor.errors = [None]
    supervisor.fails(2, 404)
    assert watcher.fires(3, 3, 3) == ["below 12:00", "", ""]
    assert supervisor.asked == ["read", "write", "write", "write"]
    assert supervisor.memory == Memory(armed=False)
    (warning,) = caplog.messages
    assert warning.startswith("Airflow does not keep the state of this watcher (AirflowRuntimeError: ")


def test_a_store_that_cannot_be_read_is_reported_once(
    supervisor: Supervisor, watcher: Watcher, caplog: pytest.LogCaptureFixture
):
    supervisor.fails(1000)
    watcher.run(3, 3, 3)
    (warning,) = caplog.messages
    assert warning.startswith(
        "Airflow cannot read the state of this watcher (AirflowRuntimeError: API_SERVER"
    )


@pytest.mark.parametrize(
    "state", [[], "armed", {"armed": True}, {**Memory().to_json(), "unsaved": {}, "unknown_since": 7}]
)
def test_a_state_of_an_unknown_form_is_replaced(
    supervisor: Supervisor, watcher: Watcher, caplog: pytest.LogCaptureFixture, state: Any
):
    supervisor.values[KEY] = json.dumps(state)
    assert watcher.fires(3, 3) == ["below 12:00", ""]
    assert supervisor.memory == Memory(armed=False)
    assert "cannot be understood" in caplog.messages[0]


@pytest.mark.parametrize("months", [5, -5])
def test_the_event_of_an_unknown_balance_comes_in_time_when_the_clock_is_set_meanwhile(
    supervisor: Supervisor, watcher: Watcher, months: int
):
    watcher.clock_is_ahead = [timedelta(days=30 * months)] * 3 + [timedelta(0)] * 60
    assert watcher.fires(10, *[None] * 6) == ["", "", "", "", "", "", "unknown 12:01"]


def test_a_clock_that_was_ahead_before_a_restart_does_not_delay_the_event(
    supervisor: Supervisor, watcher: Watcher
):
    supervisor.holds(Memory(armed=True, unknown_since=START + timedelta(days=150)))
    assert watcher.fires(*[None] * 6) == ["", "", "", "", "", "unknown 12:00"]
