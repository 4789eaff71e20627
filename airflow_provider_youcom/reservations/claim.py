"""Who wants to reserve, and how much."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from airflow_provider_youcom.reservations import rule
from airflow_provider_youcom.reservations._amounts import need_to_units, seconds_to_microseconds


@dataclass(frozen=True)
class Gate:
    """
    The name of a gate. It is the same for all attempts of the gate.

    Code outside of Airflow, such as a script, is a gate too: ``Gate("", "", "host:pid", "what it does")``.

    :param deployment: an id of this Airflow deployment, since two deployments can run the same DAGs with the
        same run ids.
    :param dag_id: the DAG.
    :param run_id: the DAG run.
    :param task_id: the task.
    :param map_index: the index of a mapped task. Default: -1.
    """

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @property
    def key(self) -> str:
        """A digest of the whole name, since a database's index cannot hold names of any length."""
        return _digest(self.deployment, self.dag_id, self.run_id, self.task_id, self.map_index)

    @property
    def run_key(self) -> str:
        """A digest of the run's name: the reservations of one run have the same."""
        return _digest(self.deployment, self.dag_id, self.run_id)


@dataclass(frozen=True)
class Attempt:
    """
    One try of a gate. At most one reservation stands for it at a time.

    On Airflow 3, ``id`` and ``order`` are both the task instance's own id: each retry and each clear
    renews it, and it sorts by time. On 2.11, ``order`` is ``f"{dag_run.id:020d}-{try_number:010d}"``, which
    sorts before every id of Airflow 3, and ``id`` is the gate's key with the order. If one task reserves
    several times, each reservation needs an ``id`` of its own, and they all have the same ``order``.

    :param gate: the gate.
    :param id: unique among all attempts of all deployments.
    :param order: sorts the attempts of the gate by age, the oldest first; compared by code point.
    """

    gate: Gate
    id: str
    order: str


@dataclass(frozen=True)
class Claim:
    """
    What an attempt wants to reserve.

    :param attempt: who reserves.
    :param amount_usd: how much, in dollars; above 0, and rounded up to a hundred-thousandth of a cent.
    :param settle_seconds: how late You.com may post a charge, in seconds. Default: 60.
    :param reserve_for_seconds: after how long the reservation expires, in seconds. Default: one day.
    :param task_ids: the tasks behind the gate, without this provider's gates and teardowns.
    :raises ValueError: if an amount or a duration is out of range.
    """

    attempt: Attempt
    amount_usd: Decimal
    settle_seconds: float = rule.DEFAULT_SETTLE_SECONDS
    reserve_for_seconds: float = rule.DEFAULT_RESERVE_FOR_SECONDS
    task_ids: tuple[str, ...] = ()
    amount: int = field(init=False, repr=False)
    settle: int = field(init=False, repr=False)
    reserve_for: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        exact = {
            "amount": need_to_units(self.amount_usd),
            "settle": seconds_to_microseconds(self.settle_seconds, "settle_seconds", least=0),
            "reserve_for": seconds_to_microseconds(self.reserve_for_seconds, "reserve_for", least=1),
        }
        for name, value in exact.items():
            object.__setattr__(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """Return the claim as plain JSON, to send it from a worker to the triggerer."""
        return {
            "gate": asdict(self.attempt.gate),
            "attempt_id": self.attempt.id,
            "attempt_order": self.attempt.order,
            "amount_usd": str(self.amount_usd),
            "settle_seconds": self.settle_seconds,
            "reserve_for_seconds": self.reserve_for_seconds,
            "task_ids": list(self.task_ids),
        }

    @classmethod
    def from_json(cls, claim: dict[str, Any]) -> Claim:
        """
        Return the claim that ``to_json`` wrote.

        :param claim: what ``to_json`` returned.
        """
        return cls(
            Attempt(Gate(**claim["gate"]), claim["attempt_id"], claim["attempt_order"]),
            Decimal(claim["amount_usd"]),
            settle_seconds=claim["settle_seconds"],
            reserve_for_seconds=claim["reserve_for_seconds"],
            task_ids=tuple(claim["task_ids"]),
        )


def duration_seconds(duration: object, name: str) -> float:
    """
    Return a duration in seconds.

    :param duration: a timedelta, or a number of seconds; above 0 and up to 100 years.
    :param name: the argument's name, for the error.
    :raises ValueError: if it is neither, or out of range.
    """
    seconds: Any = duration.total_seconds() if isinstance(duration, timedelta) else duration
    seconds_to_microseconds(seconds, name, least=1)
    return float(seconds)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
