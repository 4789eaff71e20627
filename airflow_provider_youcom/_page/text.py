"""How the page writes amounts, times, runs and their URLs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from urllib.parse import quote

from airflow_provider_youcom.money import format_usd

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))
_RUN_ID = re.compile(r"([a-z_]+)__(\d{4}-\d\d-\d\d)T(\d\d:\d\d)")
# From the page to the root of Airflow's UI.
_UI = ".."


def up(amount_usd: Decimal) -> str:
    """
    Return an amount that is needed or taken, rounded up to whole cents.

    :param amount_usd: any amount in dollars.
    """
    return format_usd(amount_usd, ROUND_CEILING)


def whole(amount_usd: Decimal) -> str:
    """
    Return an amount, rounded up to whole dollars.

    :param amount_usd: any amount in dollars.
    """
    return up(amount_usd.to_integral_value(ROUND_CEILING)).removesuffix(".00")


def share(part: Decimal, of: Decimal) -> float:
    """
    Return a part as a percentage from 0 to 100.

    :param part: the part.
    :param of: the whole.
    """
    return 100 * min(1.0, max(0.0, float(part / of))) if of > 0 else 0.0


def span(duration: timedelta) -> str:
    """
    Return a duration in its largest unit.

    :param duration: any duration; a negative one counts as 0.
    """
    seconds = max(0, int(duration.total_seconds()))
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def words(duration: timedelta) -> str:
    """
    Return a duration, rounded to whole days; below two days to whole hours, and below one to minutes.

    :param duration: any duration.
    """
    if duration >= 2 * _DAY:
        unit, name = _DAY, "day"
    elif duration >= _HOUR:
        unit, name = _HOUR, "hour"
    else:
        unit, name = _MINUTE, "minute"
    number = round(duration / unit)
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def minute(moment: datetime) -> str:
    """
    Return a time for people, to the minute.

    :param moment: in UTC.
    """
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def day(moment: datetime) -> str:
    """
    Return a date for people.

    :param moment: in UTC.
    """
    return f"{moment:%-d %B}"


def run_name(run_id: str) -> str:
    """
    Return a short name of a run: how it was started, and for when.

    :param run_id: the run's id. One that a user chose is returned as it is.
    """
    found = _RUN_ID.match(run_id)
    return f"{found[1].replace('_', ' ')} {found[2]} {found[3]}" if found else run_id


def dag_url(dag_id: str) -> str:
    """
    Return where Airflow's UI shows a DAG.

    :param dag_id: the DAG.
    """
    return f"{_UI}/dags/{quote(dag_id, safe='')}"


def run_url(dag_id: str, run_id: str) -> str:
    """
    Return where Airflow's UI shows a run.

    :param dag_id: the DAG.
    :param run_id: the run.
    """
    return f"{dag_url(dag_id)}/runs/{quote(run_id, safe='')}"
