"""The poll: check the balance at an interval, for as long as a trigger listens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Hashable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComUnavailableError,
)
from airflow_provider_youcom.gate import Reading

if TYPE_CHECKING:
    from airflow_provider_youcom.triggers._check import Check

log = logging.getLogger(__name__)

SHORTEST_PAUSE = 1.0
LONGEST_BACKOFF = 300.0
# A secrets backend that does not answer makes Airflow report that the connection does not exist.
LONGEST_MISSING = 3600.0
_LONGEST_REPORT = 5.0
# Places in line last for minutes. A next check within this time is early enough to keep them.
_SOON = 10.0


def poll_key(youcom_conn_id: object, poke_interval: object) -> Hashable | None:
    """
    Return the key of a poll. Triggers with the same key share a poll, whatever their class.

    If the interval is not a number, return None: the trigger then polls for itself.

    :param poke_interval: seconds between two checks.
    """
    try:
        return ("youcom", str(youcom_conn_id), float(str(poke_interval)))
    except ValueError:
        return None


async def poll(options: Mapping[str, Any], longest_missing: float) -> AsyncGenerator[Check, None]:
    """
    Yield a check of the connection at each interval, without end.

    An error is yielded too: raised, it would be the same exception object in every trigger of the poll.

    :param options: the arguments of the trigger that opened the poll. Every trigger has ``youcom_conn_id``
        and ``poke_interval``; ``exponential_backoff``, ``max_wait`` and ``looked_at`` may be missing.
    :param longest_missing: for how many seconds a connection that was found is waited for if Airflow does not
        find it any more.
    """
    clock = asyncio.get_running_loop().time
    check: Check | None = None
    checks = failures = 0
    found_at = float("-inf")
    if options.get("looked_at") is not None:
        checks, found_at = 1, clock()
        await asyncio.sleep(_first_pause(options, time.time()))
    while True:
        started = clock()
        is_first = check is None
        check = await _check(options, check)
        if not isinstance(check.reading, YouComConnectionNotFoundError):
            found_at = started
        elif started - found_at < longest_missing:
            check.reading = _gone_for_now(options["youcom_conn_id"])
        checks += 1
        failures = failures + 1 if isinstance(check.reading, YouComUnavailableError) else 0
        await _report(check, options["youcom_conn_id"])
        pause = _pause(options, check.reading, checks, failures)
        if pause > max(SHORTEST_PAUSE, float(options["poke_interval"])):
            check.next_in_seconds = _rest_of_pause(pause, clock() - started)
        yield check
        if is_first and pause > _SOON:
            await _keep_places(options, check)
        await asyncio.sleep(_rest_of_pause(pause, clock() - started))


async def _check(options: Mapping[str, Any], last: Check | None) -> Check:
    from airflow_provider_youcom.triggers import _check as checking

    try:
        return await checking.check(options["youcom_conn_id"], float(options["poke_interval"]), last)
    except Exception as error:
        # An unexpected error may not pass with time: each gate fails its attempt, and its retries apply.
        log.exception("The balance check failed")
        if last is None:
            return checking.Check(_unforeseen(error))
        return checking.Check(_unforeseen(error), account_id=last.account_id, waiting=last.waiting)


async def _keep_places(options: Mapping[str, Any], first: Check) -> None:
    """Keep the places of all gates that have seen the first check, which did not know of them."""
    from airflow_provider_youcom.triggers._check import keep_places

    await asyncio.sleep(SHORTEST_PAUSE)
    await keep_places(first, float(options["poke_interval"]))


async def _report(check: Check, youcom_conn_id: str) -> None:
    """Send the metrics of a check, once for all gates and watchers of the poll."""
    from airflow_provider_youcom._off_the_loop import run_off_the_loop

    # The first use may resolve the name of the metrics server.
    with suppress(TimeoutError):
        await run_off_the_loop(lambda: check.report(youcom_conn_id), _LONGEST_REPORT)


def _unforeseen(error: Exception) -> YouComError:
    return YouComError(
        f"The balance check failed with an unexpected {type(error).__name__}; the traceback is in the "
        "log of one of the gates on this connection, so please report it to the provider's developers."
    )


def _gone_for_now(youcom_conn_id: str) -> YouComUnavailableError:
    return YouComUnavailableError(
        f"Airflow does not find connection {youcom_conn_id!r} any more; this passes if a secrets backend "
        "did not answer, and if the connection was removed, add it again."
    )


def _first_pause(options: Mapping[str, Any], now: float) -> float:
    """Return the seconds until the first check, if a worker has already checked."""
    # Not at once: a gate that opened before Airflow 3's scheduler has noticed the deferral would be taken for
    # lost. The worker's clock may differ from this one.
    pause = max(SHORTEST_PAUSE, float(options["poke_interval"]))
    return min(pause, max(0.0, float(options["looked_at"]) + pause - now))


def _rest_of_pause(pause: float, check_took: float) -> float:
    """Return the seconds from the end of a check to the start of the next."""
    # A check that took longer than the pause is not followed by the next one at once.
    return pause - check_took if check_took < pause else SHORTEST_PAUSE


def _pause(options: Mapping[str, Any], reading: Reading, checks: int, failures: int) -> float:
    """Return the seconds from the start of the last check to that of the next."""
    pause = float(options["poke_interval"])
    if options.get("exponential_backoff"):
        pause = max(SHORTEST_PAUSE, pause) * 2.0 ** min(checks - 1, 30)
        pause = min(pause, float(options.get("max_wait") or "inf"))
    pause = max(SHORTEST_PAUSE, pause)
    if not isinstance(reading, YouComUnavailableError):
        return pause
    backoff = pause * 2.0 ** min(failures - 1, 30)
    return max(pause, min(max(backoff, reading.retry_after or 0.0), LONGEST_BACKOFF))
