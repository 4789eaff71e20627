"""What the triggers have in common: their fields are their arguments, and they share a poll."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Hashable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger

from airflow_provider_youcom.triggers._poll import LONGEST_MISSING, poll, poll_key

if TYPE_CHECKING:
    from airflow_provider_youcom.triggers._check import Check


class PollingTrigger(BaseEventTrigger):
    """
    A trigger that checks the balance at an interval; a subclass is a dataclass of the trigger's arguments.

    From Airflow 3.3 on, all triggers with the same connection and interval share one poll.
    """

    youcom_conn_id: Any
    poke_interval: Any

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments that recreate this trigger."""
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return f"{type(self).__module__}.{type(self).__qualname__}", options

    def shared_stream_key(self) -> Hashable | None:
        """Return the key of the poll to share; None if there is none to share."""
        return poll_key(self.youcom_conn_id, self.poke_interval)

    @classmethod
    def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Check, None]:
        """
        Poll for all triggers that share the stream.

        :param kwargs: what ``serialize`` returned for one of them.
        """
        return poll(kwargs, LONGEST_MISSING)

    def _poll_alone(self) -> AsyncGenerator[Check, None]:
        """Poll for this trigger only."""
        # The triggerer gives an id to each trigger. In dag.test and the like there is none, and somebody is
        # waiting for the answer.
        longest_missing = 0.0 if self.trigger_id is None else LONGEST_MISSING
        return poll(self.serialize()[1], longest_missing)
