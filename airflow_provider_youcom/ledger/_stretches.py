"""The days from which a pace is computed, and what their differences tell about the days to come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from airflow_provider_youcom.ledger._amounts import US_PER_SECOND
from airflow_provider_youcom.ledger.reading import StoredReading
from airflow_provider_youcom.money import subtract_usd

DAY_US = 24 * 60 * 60 * US_PER_SECOND
# Student's t for one to seven days: with it, a range is right four times out of five.
_T = ("3.078", "1.886", "1.638", "1.533", "1.476", "1.440", "1.415")
_DIGITS_OF_A_ROOT = 10**12


@dataclass(frozen=True)
class Stretch:
    """
    The time between two readings.

    :param days: for how many days of it the fall is known, one or more.
    :param usd: how much fell, in dollars.
    """

    days: Fraction
    usd: Fraction


def stretches_of(readings: Sequence[StoredReading]) -> list[Stretch]:
    """Divide the time between readings, from its end backwards, without guessing what was read in between."""
    stretches: list[Stretch] = []
    end = None
    for reading in reversed(readings):
        end = end or reading
        if end.watched_us - reading.watched_us >= DAY_US:
            stretches.append(_between(reading, end))
            end = reading
    if stretches and end is not None and readings:
        # Less than a day is left at the beginning.
        rest, oldest = _between(readings[0], end), stretches.pop()
        stretches.append(Stretch(oldest.days + rest.days, oldest.usd + rest.usd))
    return stretches


def _between(first: StoredReading, last: StoredReading) -> Stretch:
    return Stretch(
        Fraction(last.watched_us - first.watched_us, DAY_US),
        Fraction(subtract_usd(last.fallen_usd, first.fallen_usd)),
    )


def total(stretches: Iterable[Stretch]) -> tuple[Fraction, Fraction]:
    days, usd = Fraction(0), Fraction(0)
    for each in stretches:
        days, usd = days + each.days, usd + each.usd
    return days, usd


def days_left(left_usd: Fraction, lately: Sequence[Stretch]) -> tuple[Fraction, Fraction | None]:
    """
    Return in how many days the balance is spent at the earliest and at the latest.

    In T days, the balance falls by ``mean * T``, give or take the root of ``spread * (T + T * T / days)``:
    the days to come differ from their mean, and the mean of a few days is not known well. The range ends
    where that equals the balance.
    """
    days, usd = total(lately)
    mean = usd / days
    # One more day is added, half as far from the mean as a day can be: a few equal days prove nothing.
    squares = sum((each.usd - mean * each.days) ** 2 / each.days for each in lately)
    variance = ((mean / 2) ** 2 + squares) / len(lately)
    spread = Fraction(_T[min(len(lately), len(_T)) - 1]) ** 2 * variance
    middle = 2 * left_usd * mean + spread
    steepness = mean**2 - spread / days
    root = _square_root(middle**2 - 4 * steepness * left_usd**2)
    earliest = 2 * left_usd**2 / (middle + root)
    return earliest, (middle + root) / (2 * steepness) if steepness > 0 else None


def _square_root(square: Fraction) -> Fraction:
    scale = _DIGITS_OF_A_ROOT * square.denominator
    return Fraction(isqrt(square.numerator * scale * _DIGITS_OF_A_ROOT), scale)
