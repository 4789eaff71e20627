"""What Airflow's state store keeps of a watcher from one triggerer to the next."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_provider_youcom.crossing import Memory

# A watcher that starts waits this long for a store that does not answer.
PAUSES_BEFORE_READING_AGAIN = (1.0, 2.0, 4.0, 8.0)
# None stands for an answer that never came.
_STATUS_CODES_THAT_PASS = (None, 408, 425, 429)


class StateStore:
    """
    The place of one watcher in the state store of its asset.

    :param accessor: Airflow's ``asset_state_store``; None below Airflow 3.3, which has none.
    :param key: the name of the place.
    :param log: the log of the watcher.
    """

    def __init__(self, accessor: Any, key: str, log: Any) -> None:
        self._accessor = accessor
        self._key = key
        self._log = log
        self._stored = Memory()
        self._may_pass = False
        self._last_problem = ("", "")

    async def read_patiently(self) -> Memory | None:
        """Return what ``read`` returns. If Airflow does not answer, try a few times."""
        for pause in PAUSES_BEFORE_READING_AGAIN:
            stored = await self.read()
            if stored is not None or not self._may_pass:
                return stored
            await asyncio.sleep(pause)
        return await self.read()

    async def read(self) -> Memory | None:
        """Return the memory that is stored, an empty one if there is none, or None if that is unknown."""
        if self._accessor is None:
            return Memory()
        try:
            stored = await self._accessor.aget(self._key)
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the watcher goes on
            return self._without_an_answer(error)
        self._stored = self._from_json(stored)
        return self._stored

    async def write(self, memory: Memory) -> None:
        """Store a memory that differs from the last one. If that fails, the next call tries again."""
        if self._accessor is None or memory == self._stored:
            return
        try:
            await self._accessor.aset(self._key, memory.to_json())
        except Exception as error:  # noqa: BLE001 - as in read
            self._report_unkept(error)
            return
        self._stored = memory

    def _without_an_answer(self, error: Exception) -> Memory | None:
        # A plain ValueError says that two assets share the trigger. It is raised before Airflow looks
        # anything up, and at each call.
        if type(error) is ValueError:
            self._report_unkept(error)
            self._accessor = None
            return Memory()
        self._report(
            "Airflow cannot read the state of this watcher (%s), so it may repeat its last event; it goes "
            "on, and stores nothing until the state can be read, which each check tries again.",
            error,
        )
        self._may_pass = _may_pass(error)
        return None

    def _from_json(self, stored: Any) -> Memory:
        if stored is None:
            return Memory()
        try:
            return Memory.from_json(stored)
        except (KeyError, TypeError, ValueError) as error:
            self._report(
                "The stored state of this watcher cannot be understood (%s), so it starts without a state, "
                "as if it were new; nothing needs to be done.",
                error,
            )
            return Memory()

    def _report_unkept(self, error: Exception) -> None:
        self._report(
            "Airflow does not keep the state of this watcher (%s), so a restart of the triggerer may repeat "
            "its last event, or miss a crossing; if two assets have equal watchers, change one.",
            error,
        )

    def _report(self, message: str, error: Exception) -> None:
        problem = f"{type(error).__name__}: {error}"
        if (message, problem) != self._last_problem:
            self._last_problem = (message, problem)
            self._log.warning(message, problem)


def _may_pass(error: Exception) -> bool:
    """Return whether Airflow's API, or what is behind it, may answer later."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

    if not isinstance(error, AirflowRuntimeError):
        return isinstance(error, OSError)
    status_code = (error.error.detail or {}).get("status_code")
    return error.error.error is ErrorType.API_SERVER_ERROR and (
        status_code in _STATUS_CODES_THAT_PASS or status_code >= 500
    )
