"""Run a blocking call without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TypeVar
from weakref import WeakKeyDictionary

Result = TypeVar("Result")


class Threads:
    """
    A bounded number of threads for blocking calls of one kind, in each event loop.

    :param most_at_once: how many calls may run at the same time; others wait for their turn.
    """

    def __init__(self, most_at_once: int) -> None:
        self._most_at_once = most_at_once
        self._free: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    async def run(self, call: Callable[[], Result], seconds: float) -> Result:
        """
        Run a blocking call in a thread, and return its result or raise its exception.

        :param call: the call. If it takes longer than ``seconds``, its thread runs on by itself.
        :param seconds: how long to wait for the turn of the call and for its result.
        :raises TimeoutError: if that takes longer.
        """
        # Not asyncio.to_thread: a process waits for those threads before it exits, and a triggerer that is
        # being replaced must exit at once. They are also few: while You.com does not answer, no other trigger
        # could resolve a name.
        loop = asyncio.get_running_loop()
        free = self._free.setdefault(loop, asyncio.Semaphore(self._most_at_once))
        result: Future[Result] = Future()
        async with asyncio.timeout(seconds), free:
            context = contextvars.copy_context()
            context.run(_started_by.set, loop)
            arguments = (_report, call, result)
            threading.Thread(target=context.run, args=arguments, daemon=True, name="youcom-check").start()
            return await asyncio.wrap_future(result)


_checks = Threads(32)
# The longest that a thread waits for an answer of Airflow.
_ANSWER_SECONDS = 60.0
# The loop that has started this thread.
_started_by: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("started_by", default=None)


async def run_off_the_loop(call: Callable[[], Result], seconds: float) -> Result:
    """
    Run a call that asks You.com, or is as quick, without blocking the event loop.

    :param call: the call. If it takes longer than ``seconds``, its thread runs on by itself.
    :param seconds: how long to wait for its result.
    :raises TimeoutError: if it takes longer.
    """
    return await _checks.run(call, seconds)


async def call_airflow(call: Callable[[], Result]) -> Result:
    """Call a blocking function of Airflow that may ask the supervisor, and return its result."""
    from asgiref.sync import sync_to_async

    # Not a thread of our own, nor asyncio.to_thread: the triggerer of Airflow 3.0 and 3.1 answers in order,
    # and dies of an answer that was asked for from a thread that asgiref does not know.
    return await sync_to_async(call)()


def ask_airflow(call: Callable[[], Result]) -> Result:
    """
    Call a blocking function of Airflow that may ask the supervisor, also in a thread of ``run_off_the_loop``.

    :raises TimeoutError: if the loop that has started this thread does not return a result in time.
    """
    loop = _started_by.get()
    if loop is None:
        return call()
    # Not cancelled when the time is over: the triggerer of Airflow 3.0 and 3.1 dies of half a request.
    return asyncio.run_coroutine_threadsafe(_outside(call), loop).result(_ANSWER_SECONDS)


async def _outside(call: Callable[[], Result]) -> Result:
    # The context of the thread has come along, and this is not the thread.
    _started_by.set(None)
    return await call_airflow(call)


def _report(call: Callable[[], Result], result: Future[Result]) -> None:
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(call())
    except BaseException as error:  # noqa: BLE001 - raised again where the call was awaited
        result.set_exception(error)
