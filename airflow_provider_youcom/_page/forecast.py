"""When the balance runs out, in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_provider_youcom._page.snapshot import Figures
from airflow_provider_youcom._page.text import day, up, words
from airflow_provider_youcom.ledger.figures import RunsOut

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Forecast:
    """
    What the page says about the end of the balance.

    :param span: in how long it runs out.
    :param dates: between which dates; empty if there are none.
    :param reason: how that is known, or why it is not.
    """

    span: str
    dates: str
    reason: str


def forecast(figures: Figures, now: datetime) -> Forecast:
    """
    Return what to say about the end of the balance.

    :param figures: the account's figures.
    :param now: the ledger's time.
    """
    available, pace, runs_out = figures.available, figures.pace, figures.runs_out
    if available is None:
        return Forecast("Not known yet", "", "Nothing has been read yet.")
    if available.balance.balance_usd <= 0:
        return Forecast("It has run out", "", "The account holds nothing: top it up.")
    if figures.is_out_of_date(now):
        return Forecast("Not known", "", "No reading is from the last 7 days.")
    if pace is None:
        return Forecast("Not known yet", "", "A day of readings is needed to tell.")
    at = f"at {up(pace.usd_per_day)} a day, as in the last {words(pace.watched)}; top-ups left out"
    if pace.usd_per_day <= 0:
        return Forecast("No end in sight", "", f"The balance did not fall in the last {words(pace.watched)}.")
    if runs_out is None:
        return Forecast("More than 3 years", "", at)
    return _between(runs_out, now, at)


def _between(runs_out: RunsOut, now: datetime, at: str) -> Forecast:
    earliest, latest = max(runs_out.earliest, now), runs_out.latest
    if latest is not None and latest <= now:
        gone_by = f"by {day(latest)}, {latest:%H:%M} UTC"
        return Forecast("It may have run out", gone_by, f"{at}; the next check will tell")
    if latest is None or latest - now > _YEAR:
        if earliest - now < _HOUR:
            return Forecast("Perhaps within an hour", "", at)
        if earliest - now > _YEAR:
            return Forecast("More than a year", "", at)
        return Forecast(f"More than {_at_least(earliest - now)}", f"after {day(earliest)}", at)
    return Forecast(_range(earliest - now, latest - now), _dates(earliest, latest), at)


def _range(least: timedelta, most: timedelta) -> str:
    if most <= _HOUR:
        return "Less than an hour"
    unit, name = (_DAY, "days") if most >= 2 * _DAY else (_HOUR, "hours")
    low, high = int(least / unit), -int(-most // unit)
    if low == high:
        return _at_least(least)
    return f"{low}–{high} {name}"


def _at_least(duration: timedelta) -> str:
    unit = _DAY if duration >= 2 * _DAY else _HOUR
    return words(duration // unit * unit)


def _dates(earliest: datetime, latest: datetime) -> str:
    if earliest.date() == latest.date():
        return f"on {day(earliest)}, between {earliest:%H:%M} and {latest:%H:%M} UTC"
    return f"between {day(earliest)} and {day(latest)}"
