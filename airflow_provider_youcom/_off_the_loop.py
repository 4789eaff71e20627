"""Run a blocking call without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar
from weakref import WeakKeyDictionary

Result = TypeVar("Result")

_MOST_AT_ONCE = 32
_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def run_off_the_loop(call: Callable[[], Result], seconds: float) -> Result:
    """
    Run a blocking call in a thread, and return its result or raise its exception.

    :param call: the call. If it takes longer than ``seconds``, its thread runs on by itself.
    :param seconds: how long to wait for the result.
    :raises TimeoutError: if the call takes longer.
    """
    # Not asyncio.to_thread: a process waits for those threads before it exits, and a triggerer that is being
    # replaced must exit at once. They are also few: while You.com does not answer, no other trigger could
    # resolve a name.
    async with _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_MOST_AT_ONCE)):
        result: Future[Result] = Future()
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(_report, call, result), daemon=True, name="youcom-check").start()
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(result)


async def call_airflow(call: Callable[[], Result]) -> Result:
    """
    Call a blocking function of Airflow that may ask the supervisor, and return its result.

    :param call: the call.
    """
    from asgiref.sync import sync_to_async

    # Not a thread of our own, nor asyncio.to_thread: the triggerer of Airflow 3.0 and 3.1 answers in order,
    # and dies of an answer that was asked for from a thread that asgiref does not know.
    return await sync_to_async(call)()


def _report(call: Callable[[], Result], result: Future[Result]) -> None:
    if not result.set_running_or_notify_cancel():
        return
    try:
        result.set_result(call())
    except BaseException as error:  # noqa: BLE001 - raised again where the call was awaited
        result.set_exception(error)
