"""A read that all viewers share: one at a time, in a thread of its own, and nobody waits for long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_provider_youcom._page import shared_read
from airflow_provider_youcom._page.shared_read import Problem, Seen, SharedRead, UnreadableError

DOWN = Problem("It is down.", "Its host is 127.0.0.1.")


class Source:
    """Answers 1, 2, 3 and so on, each answer after it was allowed."""

    def __init__(self) -> None:
        self.answers = 0
        self.error: BaseException | None = None
        self.allowed = threading.Event()
        self.allowed.set()
        self.threads: list[threading.Thread] = []

    def __call__(self) -> int:
        allowed = self.allowed
        self.threads.append(threading.current_thread())
        allowed.wait(300)
        if self.error is not None:
            raise self.error
        self.answers += 1
        return self.answers


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.allowed.set()
    for thread in source.threads:
        thread.join(300)


def latest(read: SharedRead[int], patience: float = 300) -> Seen[int]:
    return asyncio.run(read.latest(time.monotonic() + patience))


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def test_many_viewers_share_one_read(source: Source) -> None:
    read = SharedRead(source, "The source")

    async def look_together() -> list[Seen[int]]:
        deadline = time.monotonic() + 300
        return await asyncio.gather(*(read.latest(deadline) for _ in range(60)))

    assert asyncio.run(look_together()) == [Seen(1)] * 60
    assert latest(read) == Seen(1), "kept for five seconds"


def test_an_answer_is_kept_for_a_while(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    read = SharedRead(source, "The source")
    latest(read)
    monkeypatch.setattr(shared_read, "KEPT_FOR", 0.0)
    assert latest(read) == Seen(2)


def test_the_thread_is_a_daemon_of_its_own(source: Source) -> None:
    latest(SharedRead(source, "The source"))
    (thread,) = source.threads
    assert thread.daemon
    assert not thread.name.startswith(("asyncio", "AnyIO"))


def test_a_source_that_hangs_holds_one_thread_and_no_viewer(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_read, "KEPT_FOR", 0.0)
    read = SharedRead(source, "The source")
    latest(read)
    source.allowed.clear()
    assert latest(read, patience=0) == Seen(1, Problem("The source has not answered yet."))
    # It began longer ago than anybody waits, so these do not wait at all.
    read._began -= shared_read.PATIENCE
    with ThreadPoolExecutor(8) as viewers:
        seen = list(viewers.map(lambda _: latest(read), range(8)))
    assert seen == [Seen(1, Problem("The source has not answered yet."))] * 8
    assert len(source.threads) == 2
    source.allowed.set()
    until(lambda: read._running is None)
    assert latest(read).value in (2, 3)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (UnreadableError(DOWN), DOWN),
        (ValueError("password=swordfish"), Problem("The source could not be read (ValueError).")),
        (SystemExit(1), Problem("The source could not be read (SystemExit).")),
    ],
)
def test_an_error_leaves_the_last_answer_and_is_explained(
    source: Source, error: BaseException, problem: Problem, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    read = SharedRead(source, "The source")
    latest(read)
    monkeypatch.setattr(shared_read, "KEPT_FOR", 0.0)
    source.error = error
    assert latest(read) == Seen(1, problem)
    assert "swordfish" not in caplog.text
    source.error = None
    assert latest(read) == Seen(2)


def test_an_error_is_kept_for_a_while_too(source: Source) -> None:
    read = SharedRead(source, "The source")
    source.error = UnreadableError(DOWN)
    for _ in range(3):
        assert latest(read) == Seen(None, DOWN)
    assert len(source.threads) == 1


def test_a_problem_is_logged_once_with_its_details(
    source: Source, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(shared_read, "KEPT_FOR", 0.0)
    read = SharedRead(source, "The source")
    source.error = UnreadableError(DOWN)
    for _ in range(3):
        latest(read)
    assert caplog.messages == ["It is down. Its host is 127.0.0.1."]


def test_what_nobody_foresaw_is_logged_with_where_it_happened(source: Source, caplog: Any) -> None:
    source.error = ValueError("password=swordfish")
    latest(SharedRead(source, "The source"))
    assert "The source could not be read (ValueError)." in caplog.text
    assert "raise self.error" in caplog.text
    assert "swordfish" not in caplog.text


def test_a_read_that_never_returns_gives_way_to_the_next_one(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_read, "KEPT_FOR", 3600.0)
    read = SharedRead(source, "The source")
    hangs = source.allowed = threading.Event()
    assert latest(read, patience=0).problem
    until(lambda: len(source.threads) == 1)
    source.allowed = threading.Event()
    source.allowed.set()
    read._began -= shared_read.GIVEN_UP_AFTER + 1
    assert latest(read) == Seen(1)
    hangs.set()
    source.threads[0].join(300)
    assert source.answers == 2
    assert latest(read) == Seen(1), "what was given up is older"


def test_a_source_that_always_hangs_holds_three_threads(source: Source) -> None:
    read = SharedRead(source, "The source")
    source.allowed.clear()
    for _ in range(5):
        assert latest(read, patience=0).problem
        read._began -= shared_read.GIVEN_UP_AFTER + 1
    assert read._threads == shared_read.MOST_THREADS == 3
    source.allowed.set()
    until(lambda: read._threads == 0)
    assert len(source.threads) == 3


def test_a_viewer_who_leaves_does_not_disturb_the_others(source: Source) -> None:
    read = SharedRead(source, "The source")

    async def look() -> Seen[int]:
        deadline = time.monotonic() + 300
        source.allowed.clear()
        leaves = asyncio.ensure_future(read.latest(deadline))
        stays = asyncio.ensure_future(read.latest(deadline))
        await asyncio.sleep(0)
        leaves.cancel()
        source.allowed.set()
        return await stays

    assert asyncio.run(look()) == Seen(1)
