"""
The ledgers that the page shows: those of the connections in ``[youcom] page_conn_ids``.

Airflow cannot list connections that are in the environment or in a secrets backend, so the setting names
them. No viewer waits for a connection or a database for longer than ``PATIENCE``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from airflow.configuration import conf

from airflow_provider_youcom._connection_form import DEFAULT_CONN_ID
from airflow_provider_youcom._deployment import saved_deployment_id
from airflow_provider_youcom._page.shared_read import PATIENCE, Problem, SharedRead, UnreadableError
from airflow_provider_youcom._page.snapshot import Snapshot, read_snapshot
from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComUnavailableError,
)
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.ledger import Ledger

_NO_CONNECTION = Problem(
    "The option page_conn_ids in section [youcom] of Airflow's configuration is empty, so this page shows "
    f"nothing: name a connection there, or remove the option to show {DEFAULT_CONN_ID}."
)


@dataclass(frozen=True)
class Known:
    """
    What is known of all ledgers.

    :param deployment: the id of this deployment; empty if that is not known.
    :param snapshots: what each ledger knew, each ledger and each account once.
    :param without_ledger: the connections that name no ledger.
    :param problems: why something is missing or old, with what is shown instead of what could not be read;
        None if nothing is.
    """

    deployment: str
    snapshots: tuple[Snapshot, ...]
    without_ledger: tuple[str, ...]
    problems: Mapping[Problem, Snapshot | None]


class Ledgers:
    """What the ledgers of some connections know, read once for all viewers."""

    def __init__(self) -> None:
        self._deployment = SharedRead(_read_deployment_id, "Airflow's database")
        self._ledgers: dict[str, SharedRead[Ledger | None]] = {}
        self._snapshots: dict[Ledger, SharedRead[Snapshot]] = {}

    async def read(self, conn_ids: Sequence[str]) -> Known:
        """
        Return what the ledgers know now, or what they knew before if they do not answer.

        :param conn_ids: connections to You.com.
        """
        deadline = time.monotonic() + PATIENCE
        self._begin_with_known_ledgers(conn_ids)
        deployment, named = await asyncio.gather(
            self._deployment.latest(deadline),
            asyncio.gather(*(self._ledger_of(conn_id).latest(deadline) for conn_id in conn_ids)),
        )
        ledgers: dict[Ledger, str] = {}
        for conn_id, seen in zip(conn_ids, named, strict=True):
            if seen.value is not None:
                ledgers.setdefault(seen.value, conn_id)
        snapshots = await asyncio.gather(
            *(self._snapshot_of(ledger, conn_id).latest(deadline) for ledger, conn_id in ledgers.items())
        )
        self._forget_all_but(ledgers)
        problems: dict[Problem | None, Snapshot | None] = {
            deployment.problem: None,
            (None if conn_ids else _NO_CONNECTION): None,
            **dict.fromkeys(seen.problem for seen in named),
            **{seen.problem: seen.value for seen in snapshots},
        }
        return Known(
            deployment.value or "",
            _each_once(
                replace(seen.value, is_current=seen.problem is None) for seen in snapshots if seen.value
            ),
            tuple(
                conn_id
                for conn_id, seen in zip(conn_ids, named, strict=True)
                if seen.value is None and not seen.problem
            ),
            {problem: instead for problem, instead in problems.items() if problem is not None},
        )

    def _begin_with_known_ledgers(self, conn_ids: Sequence[str]) -> None:
        """Let a connection that is slow to read take no time from the ledger that it led to before."""
        for conn_id in conn_ids:
            known = self._ledger_of(conn_id).last_value
            if known is not None:
                self._snapshot_of(known, conn_id).begin()

    def _ledger_of(self, conn_id: str) -> SharedRead[Ledger | None]:
        if conn_id not in self._ledgers:
            self._ledgers[conn_id] = SharedRead(lambda: _open(conn_id), f"Airflow's connection {conn_id!r}")
        return self._ledgers[conn_id]

    def _snapshot_of(self, ledger: Ledger, conn_id: str) -> SharedRead[Snapshot]:
        if ledger not in self._snapshots:
            what = f"The ledger of connection {conn_id!r}"
            self._snapshots[ledger] = SharedRead(lambda: _look_into(ledger, what), what)
        return self._snapshots[ledger]

    def _forget_all_but(self, ledgers: Collection[Ledger]) -> None:
        # A ledger whose connection has changed is opened anew.
        for each in self._snapshots.keys() - set(ledgers):
            del self._snapshots[each]


def conn_ids() -> list[str]:
    """Return the connections to You.com whose ledgers the page shows."""
    setting = conf.get("youcom", "page_conn_ids", fallback=DEFAULT_CONN_ID)
    return list(dict.fromkeys(filter(None, (each.strip() for each in setting.split(",")))))


def _read_deployment_id() -> str:
    try:
        return saved_deployment_id()
    except YouComError as error:
        raise UnreadableError(Problem(str(error))) from None


def _open(conn_id: str) -> Ledger | None:
    hook = YouComHook(conn_id)
    with _errors_for_viewers(f"Connection {conn_id!r}"):
        if not hook.has_ledger:
            return None
    with _errors_for_viewers(f"The ledger of connection {conn_id!r}"):
        return hook.ledger


def _look_into(ledger: Ledger, what: str) -> Snapshot:
    with _errors_for_viewers(what):
        return read_snapshot(ledger)


@contextmanager
def _errors_for_viewers(what: str) -> Iterator[None]:
    """Turn an error into a sentence that names no host, no login and nothing of an extra."""
    try:
        yield
    except YouComError as error:
        sentence = f"{what} {_what_happened(error)}: the log of Airflow's API server says why."
        raise UnreadableError(Problem(sentence, str(error))) from None


def _what_happened(error: YouComError) -> str:
    if isinstance(error, YouComConnectionNotFoundError):
        return "was not found"
    return "cannot be read now" if isinstance(error, YouComUnavailableError) else "cannot be used"


def _each_once(snapshots: Iterable[Snapshot]) -> tuple[Snapshot, ...]:
    """Leave out a ledger that two connections lead to."""
    by_ledger: dict[str, Snapshot] = {}
    for each in snapshots:
        by_ledger.setdefault(each.ledger_id, each)
    return tuple(by_ledger.values())
