from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_youcom.sandbox import Fault, Sandbox
from airflow_provider_youcom.triggers import _poll, _state_store, balance_event
from airflow_provider_youcom.triggers.balance import BalanceTrigger
from airflow_provider_youcom.triggers.balance_event import BalanceEventTrigger

try:
    from airflow.sdk import Asset, AssetWatcher
except ImportError:
    Asset = AssetWatcher = None
try:
    from airflow.triggers.shared_stream import SharedStreamManager
except ImportError:
    SharedStreamManager = None

needs_watchers = pytest.mark.skipif(AssetWatcher is None, reason="Airflow 2 has no asset watchers")
needs_shared_streams = pytest.mark.skipif(
    SharedStreamManager is None, reason="below Airflow 3.3 every trigger polls for itself"
)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_poll, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(_poll, "LONGEST_BACKOFF", 0.01)
    monkeypatch.setattr(balance_event, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(_state_store, "PAUSES_BEFORE_READING_AGAIN", (0.01,))


@pytest.fixture
def watcher_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(BalanceEventTrigger, "log", logging.getLogger("watcher"))
    caplog.set_level(logging.INFO, logger="watcher")
    return caplog


def watch(**options: Any) -> BalanceEventTrigger:
    return BalanceEventTrigger(**{"poke_interval": 0.01, **options})


class Listener:
    """Airflow's side of a watcher: runs it, and records the events that it fires."""

    def __init__(self, sandbox: Sandbox, watcher: BalanceEventTrigger) -> None:
        self._sandbox = sandbox
        self._watcher = watcher
        self.fired: list[dict[str, Any]] = []

    @property
    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.fired]

    async def __aenter__(self) -> Listener:
        self._task = asyncio.create_task(self._listen())
        await self.checks(1)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert not self._task.done(), "a watcher never ends"
        self._task.cancel()
        await asyncio.wait([self._task])

    async def checks(self, count: int) -> None:
        """Wait until the watcher has seen the results of this many further checks."""
        # A check that is under way may already have been answered, and the last result has to arrive.
        wanted = self._sandbox.request_count + count + 2
        await self.until(lambda: self._sandbox.request_count >= wanted)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not reached():
                assert not self._task.done(), self._task.exception()
                await asyncio.sleep(0.005)

    async def _listen(self) -> None:
        async with aclosing(self._watcher.run()) as events:  # type: ignore[type-var]
            async for event in events:
                self.fired.append(json.loads(json.dumps(event.payload)))


class Store:
    """Airflow 3.3's state store of one asset."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.written = 0

    async def aget(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self.written += 1
        self.values[key] = json.dumps(value)


@needs_watchers
def test_it_fires_once_for_each_time_the_balance_falls_below_the_line(sandbox: Sandbox):
    async def fall_twice() -> Listener:
        async with Listener(sandbox, watch(below_usd=5)) as listener:
            for usd in ("4.99", "5.10", "4.90", 5, 1):
                sandbox.set_balance(usd)
                await listener.checks(1)
            assert listener.kinds == ["below"]
            for usd in (10, 3):
                sandbox.set_balance(usd)
                await listener.checks(1)
        return listener

    first, second = asyncio.run(fall_twice()).fired
    assert first["kind"] == second["kind"] == "below"
    assert (first["balance"]["balance_usd"], second["balance"]["balance_usd"]) == (4.99, 3)
    assert first["happened_at"] == first["balance"]["checked_at"] < second["happened_at"]
    assert first["youcom_conn_id"] == "youcom_default"
    assert first["id"] == f"youcom_default below 5 below {first['happened_at']}" != second["id"]
    assert first["line_usd"] == 5
    assert first["reason"].endswith("holds $4.99 and has fallen below the line of $5.00.")


@needs_watchers
def test_it_fires_when_credits_come_back(sandbox: Sandbox):
    async def top_up() -> list[str]:
        sandbox.set_balance(0)
        async with Listener(sandbox, watch(above_usd=25)) as listener:
            sandbox.top_up(30)
            await listener.until(lambda: bool(listener.fired))
        return listener.kinds

    assert asyncio.run(top_up()) == ["above"]


@needs_watchers
@pytest.mark.parametrize("fault", [Fault(status=401), Fault(status=503), Fault(body="{}")])
def test_it_fires_once_when_the_balance_is_unknown_and_once_when_it_is_known_again(
    sandbox: Sandbox, fault: Fault, watcher_log: pytest.LogCaptureFixture
):
    async def be_blind() -> Listener:
        async with Listener(sandbox, watch(below_usd=5, blind_after=timedelta(0))) as listener:
            sandbox.inject(fault, times=None)
            await listener.until(lambda: bool(listener.fired))
            await listener.checks(3)
            sandbox.heal()
            await listener.until(lambda: len(listener.fired) > 1)
            await listener.checks(3)
        return listener

    unknown, known = asyncio.run(be_blind()).fired
    assert unknown["kind"] == "unknown"
    assert unknown["balance"] is None
    assert unknown["reason"].startswith("The balance has been unknown since ")
    assert known["kind"] == "known"
    assert known["balance"]["balance_usd"] == 100
    warnings = [record.getMessage() for record in watcher_log.records if record.levelname == "WARNING"]
    assert len([line for line in warnings if line.startswith("The balance is unknown: ")]) == 1


@needs_watchers
def test_a_key_at_its_spending_cap_is_an_unknown_balance_with_its_reason(sandbox: Sandbox):
    async def be_capped() -> Listener:
        async with Listener(sandbox, watch(below_usd=5, blind_after=0)) as listener:
            sandbox.inject(Fault(status=429, body='{"code": "spend_cap_exceeded"}'), times=None)
            await listener.until(lambda: bool(listener.fired))
            sandbox.heal()
            await listener.until(lambda: len(listener.fired) > 1)
        return listener

    unknown, known = asyncio.run(be_capped()).fired
    assert (unknown["kind"], unknown["balance"], known["kind"]) == ("unknown", None, "known")
    assert "the key has reached its spending cap" in unknown["reason"]


@needs_watchers
def test_a_connection_that_is_missing_is_an_unknown_balance(sandbox: Sandbox, airflow_database: None):
    async def check_once() -> list[dict[str, Any]]:
        watcher = watch(below_usd=5, youcom_conn_id="nowhere", blind_after=0)
        async with aclosing(watcher.run()) as events:  # type: ignore[type-var]
            return [(await anext(events)).payload]

    (event,) = asyncio.run(check_once())
    assert event["kind"] == "unknown"
    assert "There is no connection 'nowhere'" in event["reason"]


@needs_watchers
def test_a_new_triggerer_with_a_store_continues_where_the_last_one_ended(sandbox: Sandbox):
    store = Store()

    async def run_three_times() -> list[list[str]]:
        kinds = []
        for usd in (3, 3, 10):
            sandbox.set_balance(usd)
            watcher = watch(below_usd=5)
            watcher.asset_state_store = store
            async with Listener(sandbox, watcher) as listener:
                await listener.checks(2)
                kinds.append(listener.kinds)
        watcher = watch(below_usd=5, at_start="remember")
        watcher.asset_state_store = store
        sandbox.set_balance(3)
        async with Listener(sandbox, watcher) as listener:
            await listener.checks(2)
            kinds.append(listener.kinds)
        return kinds

    assert asyncio.run(run_three_times()) == [["below"], [], [], ["below"]]
    assert list(store.values) == ["youcom youcom_default below 5"]


@needs_watchers
def test_a_store_that_fails_once_while_a_triggerer_starts_repeats_no_event(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    sandbox.set_balance(3)
    store = Store()
    read = store.aget

    async def run() -> list[str]:
        watcher = watch(below_usd=5)
        watcher.asset_state_store = store
        async with Listener(sandbox, watcher) as listener:
            await listener.checks(3)
        return listener.kinds

    async def fail_once(key: str) -> Any:
        monkeypatch.setattr(store, "aget", read)
        raise ConnectionResetError("gone")

    assert asyncio.run(run()) == ["below"]
    monkeypatch.setattr(store, "aget", fail_once)
    assert asyncio.run(run()) == []


@needs_watchers
def test_an_event_that_airflow_may_have_lost_is_fired_again_with_its_own_time_and_id(sandbox: Sandbox):
    sandbox.set_balance(3)
    store = Store()

    async def one_event() -> dict[str, Any]:
        watcher = watch(below_usd=5, poke_interval=3600)
        watcher.asset_state_store = store
        async with aclosing(watcher.run()) as events:  # type: ignore[type-var]
            return (await anext(events)).payload

    first = asyncio.run(one_event())
    sandbox.set_balance(50)
    assert asyncio.run(one_event()) == first
    assert first["balance"]["balance_usd"] == 3


@needs_watchers
def test_a_fall_below_two_lines_at_once_fires_both_and_a_crash_repeats_both_under_their_ids(sandbox: Sandbox):
    lines_usd, stores = (25, 5), (Store(), Store())

    async def first_events(*checks: Any) -> list[dict[str, Any]]:
        """Return what a triggerer fires that is killed after the event of each watcher."""
        events = []
        for line_usd, store in zip(lines_usd, stores, strict=True):
            watcher = watch(below_usd=line_usd)
            watcher.asset_state_store = store
            async with aclosing(watcher.filter_shared_stream(yielding(*checks))) as fired:
                events.append((await anext(fired)).payload)
        return events

    async def yielding(*checks: Any) -> AsyncIterator[Any]:
        for check in checks:
            yield check

    async def fall() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        polled = BalanceEventTrigger.open_shared_stream(watch(below_usd=25).serialize()[1])
        async with aclosing(polled) as polled:
            sandbox.set_balance(30)
            before = await anext(polled)
            sandbox.set_balance(3)
            after = await anext(polled)
            return await first_events(before, after), await first_events(await anext(polled))

    fired, repeated = asyncio.run(fall())
    assert [event["line_usd"] for event in fired] == [25, 5]
    assert len({event["happened_at"] for event in fired}) == 1
    assert len({event["id"] for event in fired}) == 2
    assert repeated == fired


@needs_watchers
def test_the_store_is_written_when_something_changes_and_not_at_each_check(sandbox: Sandbox):
    store = Store()

    async def check_ten_times() -> None:
        watcher = watch(below_usd=5)
        watcher.asset_state_store = store
        async with Listener(sandbox, watcher) as listener:
            await listener.checks(10)

    asyncio.run(check_ten_times())
    assert store.written == 1


@needs_watchers
def test_a_shared_poll_that_breaks_is_replaced(sandbox: Sandbox, watcher_log: pytest.LogCaptureFixture):
    sandbox.set_balance(3)

    async def broken_poll() -> AsyncIterator[Any]:
        raise RuntimeError("fell behind")
        yield

    async def first_event() -> TriggerEvent:
        async with aclosing(watch(below_usd=5).filter_shared_stream(broken_poll())) as events:  # type: ignore[type-var]
            return await asyncio.wait_for(anext(events), 60)

    assert asyncio.run(first_event()).payload["kind"] == "below"
    assert "goes on with its own" in watcher_log.text


@needs_shared_streams
@pytest.mark.parametrize("first", ["gate", "watcher"])
def test_gates_and_watchers_on_one_connection_and_interval_share_one_poll(sandbox: Sandbox, first: str):
    sandbox.set_balance(10)
    interval = 0.4
    gates = [
        BalanceTrigger(min_usd="25", poke_interval=(interval, f"{interval}")[n % 2], silent_fail=bool(n % 3))
        for n in range(500)
    ]
    watchers = [
        BalanceEventTrigger(poke_interval=(interval, Decimal(f"{interval}"))[n % 2], below_usd=n + 1)
        for n in range(20)
    ]
    members = [*gates, *watchers] if first == "gate" else [*watchers, *gates]

    async def check_together() -> list[int]:
        manager = SharedStreamManager()
        readings = [0] * len(members)

        async def listen(number: int, member: Any) -> None:
            stream = manager.subscribe(trigger_id=number, trigger=member, key=member.shared_stream_key())
            async for _ in member.filter_shared_stream(counted(number, stream)):
                pass

        async def counted(number: int, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
            async for reading in stream:
                readings[number] += 1
                yield reading

        tasks = [asyncio.create_task(listen(*member)) for member in enumerate(members)]
        async with asyncio.timeout(120):
            while min(readings) < 5:
                await asyncio.sleep(0.01)
                assert not any(task.done() for task in tasks)
        await manager.stop_all()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return readings

    readings = asyncio.run(check_together())
    under_way = 1
    assert sandbox.request_count <= max(readings) + under_way


@needs_watchers
@pytest.mark.parametrize("line", [25, 25.0, "25", "25.00", Decimal("2.5E+1"), " 25 "])
def test_equal_amounts_and_times_make_the_same_trigger_whatever_their_types(line: Any):
    described = BalanceEventTrigger(
        below_usd=line, rearm_usd=line, poke_interval=timedelta(minutes=1), blind_after="60"
    )
    assert described.serialize() == (
        "airflow_provider_youcom.triggers.balance_event.BalanceEventTrigger",
        {
            "youcom_conn_id": "youcom_default",
            "above_usd": None,
            "below_usd": "25",
            "rearm_usd": "25",
            "at_start": "fire",
            "poke_interval": 60.0,
            "blind_after": 60.0,
        },
    )


@needs_watchers
@pytest.mark.parametrize(
    "options", [{"below_usd": "0.30"}, {"above_usd": 7, "rearm_usd": 1, "blind_after": 5}]
)
def test_a_trigger_is_unchanged_after_its_way_through_the_database(options: dict[str, Any]):
    _, arguments = BalanceEventTrigger(**options).serialize()
    assert BalanceEventTrigger(**json.loads(json.dumps(arguments))).serialize()[1] == arguments


@needs_watchers
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "above_usd=None and below_usd=None: set exactly one of them."),
        ({"below_usd": "five"}, "below_usd='five' is not an amount in dollars"),
        ({"below_usd": 5, "youcom_conn_id": "{{ var.value.conn }}"}, "templates are not rendered here"),
        ({"below_usd": 5, "youcom_conn_id": None}, "youcom_conn_id=None is not the name of a connection"),
        ({"below_usd": 5, "youcom_conn_id": ""}, "youcom_conn_id='' is not the name of a connection"),
        ({"below_usd": 5, "youcom_conn_id": " \n"}, "is not the name of a connection"),
        (
            {"below_usd": 5, "rearm_usd": "1e307"},
            "rearm_usd=1e+307 above below_usd=5 is more than an account",
        ),
        ({"below_usd": 5, "poke_interval": True}, "poke_interval=True is not a duration"),
        ({"below_usd": 5, "poke_interval": b"60"}, "poke_interval=b'60' is not a duration"),
        ({"below_usd": 5, "poke_interval": None}, "poke_interval=None is not a duration"),
        ({"below_usd": 5, "poke_interval": 10**400}, "is not a duration"),
        ({"below_usd": 5, "blind_after": True}, "blind_after=True is not a duration"),
        ({"below_usd": 5, "poke_interval": 0}, "poke_interval=0 is not a duration"),
        ({"below_usd": 5, "poke_interval": "often"}, "poke_interval='often' is not a duration"),
        ({"below_usd": 5, "blind_after": float("nan")}, "blind_after=nan is not a duration"),
        ({"below_usd": 5, "blind_after": timedelta(-1)}, "is not a duration: use 0 seconds or more."),
        ({"below_usd": 5, "blind_after": float("inf")}, "blind_after=inf is not a duration"),
    ],
)
def test_an_invalid_option_is_refused_at_parse_time_with_the_only_error_that_a_triggerer_survives(
    options: dict[str, Any], problem: str
):
    with pytest.raises(TypeError, match="^BalanceEventTrigger: ") as refusal:
        BalanceEventTrigger(**options)
    assert problem in str(refusal.value)


@pytest.mark.skipif(AssetWatcher is not None, reason="Airflow 3 has asset watchers")
def test_on_airflow_2_the_error_says_in_one_sentence_that_it_needs_airflow_3():
    with pytest.raises(TypeError, match=r"^BalanceEventTrigger needs Airflow 3 or later: .+\.$"):
        BalanceEventTrigger(below_usd=5)


@needs_watchers
def test_an_asset_watcher_accepts_it():
    watcher = AssetWatcher(name="low", trigger=BalanceEventTrigger(below_usd=5))
    assert Asset("credits", watchers=[watcher]).watchers == [watcher]
