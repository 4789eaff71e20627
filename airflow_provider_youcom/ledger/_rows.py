"""Turn rows of the ledger's tables into the values that the ledger returns."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger._amounts import US_PER_SECOND, units_to_usd
from airflow_provider_youcom.ledger.claim import Attempt, Holder
from airflow_provider_youcom.ledger.place import AccountLine, Place
from airflow_provider_youcom.ledger.reservation import AccountNote, Note, Reservation
from airflow_provider_youcom.ledger.rule import EndReason

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_note(rows: Sequence[Any], places: Sequence[Any]) -> Note:
    """
    Return a note.

    :param rows: one for each reservation that counts, in all accounts.
    :param places: one for each gate in line, in all accounts, including gates whose check is overdue.
    """
    grouped = defaultdict(list)
    for row in rows:
        grouped[row.account_id].append(row)
    lines = defaultdict(list)
    for place in places:
        lines[place.account_id].append(place)
    return Note(
        # SQLite reads its clock anew for each row.
        time=min(row.now for row in rows),
        accounts={
            account_id: _to_account_note(of_account, lines[account_id])
            for account_id, of_account in grouped.items()
            if account_id is not None
        },
    )


def _to_account_note(rows: Sequence[Any], places: Sequence[Any]) -> AccountNote:
    counting = [row for row in rows if row.amount_units is not None]
    standing = [row for row in counting if row.ended_at is None]
    runs: dict[str, int] = defaultdict(int)
    since: dict[str, int] = {}
    for row in standing:
        runs[row.run_key] += row.amount_units
        since[row.run_key] = min(row.newest_place, since.get(row.run_key, row.newest_place))
    return AccountNote(
        counter=rows[0].counter,
        reserved_units=sum(row.amount_units for row in counting),
        reserved_runs=len({row.run_key for row in counting}),
        runs=dict(runs),
        attempts=frozenset(row.attempt_id for row in standing),
        has_expired=any(row.is_expired for row in standing),
        runs_since=since,
        line=AccountLine(
            places=tuple(to_place(place) for place in places if place.is_alive),
            opened_units=rows[0].opened_units,
            best_units=rows[0].best_units,
            moved_at=rows[0].moved_at,
            opened_at=rows[0].opened_at,
            late={place.holder_key: place.number for place in places if not place.is_alive},
        ),
    )


def to_place(row: Any) -> Place:
    holder = Holder(row.deployment, row.dag_id, row.run_id, row.task_id, row.map_index)
    # Computing a thousand of these digests would keep the event loop of the triggerer busy.
    vars(holder)["key"] = row.holder_key
    return Place(
        account_id=row.account_id,
        holder=holder,
        number=row.number,
        joined_at=to_datetime(row.joined_at),
        amount_units=row.amount_units,
        opened_before=row.opened_before,
        patience=row.patience,
        is_held=bool(row.is_held),
    )


def to_reservation(row: Any) -> Reservation:
    holder = Holder(row.deployment, row.dag_id, row.run_id, row.task_id, row.map_index)
    ended = row.ended_at is not None
    return Reservation(
        id=row.id,
        account_id=row.account_id,
        attempt=Attempt(holder, row.attempt_id, row.attempt_order, row.try_number),
        task_ids=tuple(json.loads(row.task_ids)),
        amount_usd=units_to_usd(row.amount_units),
        settle_seconds=row.settle_us / US_PER_SECOND,
        reserved_at=to_datetime(row.reserved_at),
        expires_at=to_datetime(row.expires_at),
        ended_at=to_datetime(row.ended_at) if ended else None,
        end_reason=EndReason(row.end_reason) if ended else None,
        ended_by=row.ended_by,
        counts_until=to_datetime(row.counts_until) if ended else None,
    )


def newest_age(row: Any) -> rule.Age | None:
    """Return the age of the newest attempt of a holder that the ledger knows, if any."""
    return None if row.newest_order is None else (row.newest_order, row.newest_try)


def to_datetime(microseconds: int) -> datetime:
    """
    Return a time of the ledger as a datetime in UTC.

    :param microseconds: since 1970 in UTC.
    """
    return _EPOCH + timedelta(microseconds=microseconds)
