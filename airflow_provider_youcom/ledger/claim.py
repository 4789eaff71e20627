"""Who wants to reserve, and how much."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any

from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger._amounts import need_to_units, seconds_to_us


@dataclass(frozen=True)
class Holder:
    """
    Who reserves: a gate or another task of a run. It is the same for all attempts of the task.

    Code outside of Airflow, such as a script, is a holder too: ``Holder("", "", "host:pid", "what for")``.

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

    @cached_property
    def key(self) -> str:
        """A digest of all of this, since a database's index cannot hold names of any length."""
        return _digest(self.deployment, self.dag_id, self.run_id, self.task_id, self.map_index)

    @cached_property
    def run_key(self) -> str:
        """A digest of the run's name: the reservations of one run have the same."""
        return _digest(self.deployment, self.dag_id, self.run_id)

    @property
    def is_task(self) -> bool:
        """Whether it is a task, and not code outside of Airflow."""
        return bool(self.dag_id)

    @property
    def run_name(self) -> str:
        """How a sentence names the run."""
        return f"run {self.run_id} of DAG {self.dag_id}" if self.is_task else self.run_id

    @property
    def name(self) -> str:
        """The name that the history shows."""
        return f"{self.dag_id}.{self.task_id} of {self.run_id}" if self.is_task else self.run_id


@dataclass(frozen=True)
class Attempt:
    """
    One attempt of a holder. At most one reservation stands for it at a time.

    On Airflow 3, ``id`` and ``order`` are both the task instance's own id: each retry and each clear
    renews it, and it sorts by time. On 2.11, ``order`` is ``f"{dag_run.id:020d}-{try_number:010d}"``, which
    sorts before every id of Airflow 3, and ``id`` is the holder's key with the order. If one task reserves
    several times, each reservation needs an ``id`` of its own, and they all have the same ``order``.

    :param holder: whose attempt it is.
    :param id: unique among all attempts of all deployments.
    :param order: sorts the attempts of the holder by time, the oldest first; compared by code point.
    :param try_number: Airflow's number of the attempt; 0 outside of a task. Default: 0.
    """

    holder: Holder
    id: str
    order: str
    try_number: int = 0

    @property
    def age(self) -> rule.Age:
        """The order and the try number, for ``rule.is_older``."""
        return self.order, self.try_number


@dataclass(frozen=True)
class Claim:
    """
    What an attempt wants to reserve.

    :param attempt: who reserves.
    :param amount_usd: how much, in dollars; above 0, and rounded up to a hundred-thousandth of a cent.
    :param reserve_for_seconds: after how long the reservation expires, in seconds. Default: one day.
    :param task_ids: the tasks behind the gate, without this provider's gates and teardowns.
    :param ledger_id: the only ledger that may accept this claim. Default: an empty string, for any.
    :raises ValueError: if an amount or a duration is out of range.
    """

    attempt: Attempt
    amount_usd: Decimal
    reserve_for_seconds: float = rule.DEFAULT_RESERVE_FOR_SECONDS
    task_ids: tuple[str, ...] = ()
    ledger_id: str = ""
    needed_units: int = field(init=False, repr=False)
    reserve_for_us: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        exact = {
            "needed_units": need_to_units(self.amount_usd),
            "reserve_for_us": seconds_to_us(self.reserve_for_seconds, "reserve_for", least=1),
        }
        for name, value in exact.items():
            object.__setattr__(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """Return all but the amount as plain JSON, to send it from a worker to the triggerer."""
        return {
            "holder": asdict(self.attempt.holder),
            "attempt_id": self.attempt.id,
            "attempt_order": self.attempt.order,
            "try_number": self.attempt.try_number,
            "reserve_for_seconds": self.reserve_for_seconds,
            "task_ids": list(self.task_ids),
            "ledger_id": self.ledger_id,
        }

    @classmethod
    def from_json(cls, claim: dict[str, Any], amount_usd: Decimal) -> Claim:
        """
        Return the claim that ``to_json`` wrote.

        :param claim: what ``to_json`` returned.
        :param amount_usd: how much, in dollars, which has an argument of its own in a trigger.
        """
        holder = Holder(**claim["holder"])
        return cls(
            Attempt(holder, claim["attempt_id"], claim["attempt_order"], claim["try_number"]),
            amount_usd,
            reserve_for_seconds=claim["reserve_for_seconds"],
            task_ids=tuple(claim["task_ids"]),
            ledger_id=claim["ledger_id"],
        )


def duration_seconds(duration: object, name: str) -> float:
    """
    Return a duration in seconds.

    :param duration: a timedelta, or a number of seconds; above 0 and up to 100 years.
    :param name: the argument's name, for the error.
    :raises ValueError: if it is neither, or out of range.
    """
    seconds: Any = duration.total_seconds() if isinstance(duration, timedelta) else duration
    seconds_to_us(seconds, name, least=1)
    return float(seconds)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
