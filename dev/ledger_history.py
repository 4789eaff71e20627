"""
Fill a ledger with a made-up history, so that there is something to see.

>>> add_history(ledger, hook.get_balance(), deployment_id())
>>> add_holding(ledger, hook.get_balance(), deployment_id())
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger._schema import readings, reservations
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reading import StoredReading, first_reading
from airflow_provider_youcom.ledger.reservation import AccountNote, Note
from airflow_provider_youcom.money import add_exactly, plain_text, subtract_usd, usd_to_cents

DAYS = 30
TOP_UP_USD = Decimal(100)
MOST_USD = Decimal(140)
_STEP = timedelta(minutes=5)
_STEPS = DAYS * timedelta(days=1) // _STEP
_DENSE = timedelta(days=2)
NIGHTLY, DAILY, WEEKLY = DAG_IDS = ("nightly_research", "competitor_watch", "weekly_digest")
_HOLDING = ((NIGHTLY, 34, "50"), (WEEKLY, 12, "25"), (DAILY, 3, "12.50"))
_SETTLE = timedelta(seconds=rule.DEFAULT_SETTLE_SECONDS)


@dataclass(frozen=True)
class Run:
    """
    A DAG run that reserves, spends some of that, and releases it.

    :param dag_id: the DAG.
    :param run_id: the run.
    :param reserved_usd: how much it reserves, in dollars.
    :param spent_usd: how much it spends, in dollars.
    :param began: when it reserves.
    :param ended: when it releases.
    """

    dag_id: str
    run_id: str
    reserved_usd: Decimal
    spent_usd: Decimal
    began: datetime
    ended: datetime


def add_history(
    ledger: Ledger,
    balance: AccountBalance,
    deployment: str = "",
    dag_ids: tuple[str, str, str] = DAG_IDS,
) -> None:
    """
    Add 30 days of readings that end at a balance, and the runs that have spent, all of which have ended.

    Nightly and weekly runs reserve what they spend; somebody spends without reserving; top-ups come in.

    :param ledger: a ledger without readings of this account.
    :param balance: what the account holds now.
    :param deployment: the id of the Airflow deployment that the runs are of. Default: an empty string.
    :param dag_ids: the DAGs that run nightly, daily and weekly. Default: ``DAG_IDS``.
    """
    now = ledger.accounts.overview(balance.account_id).now
    runs = list(_runs(now, dag_ids))
    _add_runs(ledger, balance, runs, deployment)
    counter = ledger.note().of(balance.account_id).counter
    rows = [_row(each) for each in _kept(_readings(balance, runs, now, counter), now)]
    ledger._ready().write(lambda connection: connection.execute(sa.insert(readings), rows))


def add_holding(ledger: Ledger, balance: AccountBalance, deployment: str = "") -> None:
    """
    Add three runs that hold credits.

    :param ledger: the ledger.
    :param balance: what the account holds.
    :param deployment: the id of the Airflow deployment that the runs are of. Default: an empty string.
    """
    now = ledger.accounts.overview(balance.account_id).now
    for dag_id, minutes, usd in _HOLDING:
        began = now - timedelta(minutes=minutes)
        run = Run(dag_id, f"scheduled__{began:%FT%H:%M}:00+00:00", Decimal(usd), Decimal(0), began, now)
        reservation_id = _reserve(ledger, balance, run, deployment)
        ledger._ready().write(_moves({reservation_id: _reserved_from(began)}))


def _runs(now: datetime, dag_ids: tuple[str, str, str]) -> Iterator[Run]:
    nightly, daily, weekly = dag_ids
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for days_ago in range(DAYS, -1, -1):
        day = midnight - timedelta(days=days_ago)
        planned = [
            (nightly, 2, 40, "25", Decimal("4.10") + Decimal("0.35") * (day.day % 7)),
            (daily, 12, 15, "5", Decimal("0.60") + Decimal("0.10") * (day.day % 3)),
        ]
        if day.weekday() == 0:
            planned.append((weekly, 5, 90, "40", Decimal("14.75")))
        for dag_id, hour, minutes, reserved, spent_usd in planned:
            began = day + timedelta(hours=hour)
            ended = began + timedelta(minutes=minutes)
            if now - timedelta(days=DAYS) < began and ended + _SETTLE < now:
                run_id = f"scheduled__{began:%FT%H:%M}:00+00:00"
                yield Run(dag_id, run_id, Decimal(reserved), spent_usd, began, ended)


def _readings(
    balance: AccountBalance, runs: Sequence[Run], now: datetime, counter: int
) -> list[StoredReading]:
    """Go back from now, so that the history ends at the balance, and return it from its beginning."""
    spent, reserved = _spent(runs, now), _reserved(runs, now)
    level_usd, levels = balance.balance_usd, [balance.balance_usd]
    for step in range(1, _STEPS):
        level_usd = add_exactly(level_usd, spent.get(step - 1, Decimal(0)))
        if level_usd > MOST_USD:
            # Somebody has topped up in this step.
            level_usd = subtract_usd(level_usd, TOP_UP_USD)
        levels.append(level_usd)
    told: list[StoredReading] = []
    for step in reversed(range(_STEPS)):
        time = now - step * _STEP
        held = AccountBalance(balance.account_id, usd_to_cents(levels[step]), time)
        note = Note(_microseconds(time), {balance.account_id: AccountNote(counter)})
        if told:
            told.append(told[-1].followed_by(held, note, note.time, step in reserved))
        else:
            told.append(first_reading(held, note, note.time))
    return told


def _spent(runs: Sequence[Run], now: datetime) -> dict[int, Decimal]:
    """Return what was spent in each step; the steps count from now into the past."""
    spent: dict[int, Decimal] = defaultdict(Decimal)
    for run in runs:
        steps = _steps(run.began, run.ended, now)
        for step in steps:
            spent[step] += (run.spent_usd / len(steps)).quantize(Decimal("0.001"))
    for step in range(_STEPS):
        time = now - step * _STEP
        if time.weekday() < 5 and 9 <= time.hour < 17 and time.minute < 10:
            # An experiment without a gate.
            spent[step] += Decimal("0.12")
    return spent


def _reserved(runs: Sequence[Run], now: datetime) -> set[int]:
    return {step for run in runs for step in _steps(run.began, run.ended + _SETTLE, now)}


def _steps(begin: datetime, end: datetime, now: datetime) -> range:
    return range((now - end) // _STEP, (now - begin) // _STEP + 1)


def _kept(all_readings: Sequence[StoredReading], now: datetime) -> Iterator[StoredReading]:
    """Leave out what the ledger would have thinned."""
    for each, following in zip(all_readings, [*all_readings[1:], None], strict=True):
        is_last_of_hour = following is None or following.read_at.hour != each.read_at.hour
        if is_last_of_hour or now - each.read_at < _DENSE:
            yield each


def _row(reading: StoredReading) -> dict[str, object]:
    row = asdict(reading)
    return row | {name: plain_text(row[name]) for name in ("balance_cents", "fallen_usd", "unreserved_usd")}


def _add_runs(ledger: Ledger, balance: AccountBalance, runs: Sequence[Run], deployment: str) -> None:
    ids = {_reserve(ledger, balance, run, deployment): run for run in runs}
    ledger.end(ids, rule.EndReason.RELEASED, by="a made-up teardown")
    times = {
        reservation_id: {
            **_reserved_from(run.began),
            "ended_at": _microseconds(run.ended),
            "counts_until": _microseconds(run.ended + _SETTLE),
        }
        for reservation_id, run in ids.items()
    }
    ledger._ready().write(_moves(times))


def _reserve(ledger: Ledger, balance: AccountBalance, run: Run, deployment: str) -> str:
    # The account may hold too little now.
    plenty = AccountBalance(balance.account_id, usd_to_cents(Decimal(1_000_000)), balance.checked_at)
    attempt_id = f"{deployment}/{run.dag_id}/{run.run_id}"
    holder = Holder(deployment, run.dag_id, run.run_id, "enough_credit")
    claim = Claim(Attempt(holder, attempt_id, order=attempt_id, try_number=1), run.reserved_usd)
    reservation = ledger.decide(claim, plenty, ledger.note()).reservation
    assert reservation is not None
    return reservation.id


def _reserved_from(began: datetime) -> dict[str, int]:
    expires = began + timedelta(seconds=rule.DEFAULT_RESERVE_FOR_SECONDS)
    return {"reserved_at": _microseconds(began), "expires_at": _microseconds(expires)}


def _moves(times: Mapping[str, Mapping[str, int]]) -> Callable[[sa.engine.Connection], None]:
    """Return the work that moves reservations to other times."""

    def move(connection: sa.engine.Connection) -> None:
        for reservation_id, values in times.items():
            this = sa.update(reservations).where(reservations.c.id == reservation_id)
            connection.execute(this.values(values))

    return move


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
