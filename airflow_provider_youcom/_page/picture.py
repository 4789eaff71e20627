"""The picture of a balance: where its lines are, and the labels at its axes. The template draws it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from airflow_provider_youcom._page.axes import WIDE, Label, Size, dates, dollars, round_step

_DAY = timedelta(days=1)
# The labels of the axes, in pixels of the picture.
_CHARACTER = 7.2
_TOP = 10.0


@dataclass(frozen=True)
class Point:
    """
    What an account held at a time.

    :param at: when, in UTC.
    :param usd: how much, in dollars.
    """

    at: datetime
    usd: Decimal


@dataclass(frozen=True)
class Picture:
    """
    What the template draws.

    :param size: the picture's size.
    :param days: how many days it goes back.
    :param first_usd: what the account held at its beginning, in dollars.
    :param last_usd: what it held last.
    :param lowest_usd: the least that it held.
    :param highest_usd: the most that it held.
    :param left: where the axis of time begins, in pixels.
    :param right: where it ends.
    :param bottom: where the axis of dollars begins.
    :param now: where the present is on the axis of time.
    :param amounts: the labels at the axis of dollars.
    :param dates: the labels at the axis of time.
    :param until: the label at its end; empty if there is no room.
    :param curve: the path of the balance.
    :param area: the path of what is below it.
    :param cone: the path of where it goes at the present pace; empty if nothing is known.
    :param dot: where the last point is, in pixels.
    :param points: for the cursor: seconds since 1970 and dollars of each point.
    :param across: for the cursor: the first and the last second, and where they are.
    :param up: for the cursor: the lowest and the highest amount, and where they are.
    """

    size: Size
    days: int
    first_usd: Decimal
    last_usd: Decimal
    lowest_usd: Decimal
    highest_usd: Decimal
    left: float
    right: float
    bottom: float
    now: str
    amounts: tuple[Label, ...]
    dates: tuple[Label, ...]
    until: str
    curve: str
    area: str
    cone: str
    dot: tuple[str, str]
    points: str
    across: str
    up: str


def days_shown(points: Sequence[Point], now: datetime) -> int:
    """
    Return how many days a picture goes back: 30, 7 or 1, so that a young history fills it.

    :param points: the history, the oldest point first; at least one.
    :param now: the present.
    """
    age = now - points[0].at
    return next((days for days in (1, 7) if age <= days * _DAY), 30)


def draw(
    points: Sequence[Point], now: datetime, size: Size, daily_usd: tuple[Decimal, Decimal] | None
) -> Picture:
    """
    Return the picture of a balance.

    :param points: the history, the oldest point first; at least one.
    :param now: the present.
    :param size: the picture's size.
    :param daily_usd: how much falls in a day, at least and at most; None if that is not known.
    """
    days = days_shown(points, now)
    begin, end = now - days * _DAY, now + days * _DAY / 4
    shown = _within(points, begin)
    lowest_usd = min(point.usd for point in shown)
    highest_usd = max(point.usd for point in shown)
    lowest, highest = min(0.0, float(lowest_usd)), max(0.0, float(highest_usd))
    step = round_step(highest - lowest)
    floor = math.floor(lowest / step) * step
    ceiling = max(floor + step, math.ceil(highest / step) * step)
    amounts = [floor + step * number for number in range(round((ceiling - floor) / step) + 1)]
    texts = [dollars(amount, step) for amount in amounts]
    left = 12 + _CHARACTER * max(map(len, texts))
    right, bottom = size.width - 8.0, size.height - 24.0

    def x(moment: datetime) -> float:
        return left + (right - left) * ((moment - begin) / (end - begin))

    def y(usd: float) -> float:
        return bottom - (bottom - _TOP) * ((usd - floor) / (ceiling - floor))

    thin = _thinned(shown, begin, now, size.columns)
    corners = [(x(point.at), y(float(point.usd))) for point in thin]
    curve = _staircase(corners)
    last = thin[-1]
    return Picture(
        size=size,
        days=days,
        first_usd=shown[0].usd,
        last_usd=shown[-1].usd,
        lowest_usd=lowest_usd,
        highest_usd=highest_usd,
        left=left,
        right=right,
        bottom=bottom,
        now=f"{x(now):.1f}",
        amounts=tuple(Label(f"{y(usd):.1f}", text) for usd, text in zip(amounts, texts, strict=True)),
        dates=tuple(Label(f"{x(moment):.1f}", text) for moment, text in dates(now, days, size)),
        until=f"{end:%-d %b}" if size is WIDE and days > 1 else "",
        curve=curve,
        area=f"{curve}V{y(max(0.0, floor)):.1f}H{corners[0][0]:.1f}Z",
        cone=_cone(last, end, daily_usd, x, y),
        dot=(f"{corners[-1][0]:.1f}", f"{corners[-1][1]:.1f}"),
        points=";".join(f"{point.at.timestamp():.0f} {point.usd:.2f}" for point in thin),
        across=f"{begin.timestamp():.0f} {end.timestamp():.0f} {left:.1f} {right:.1f}",
        up=f"{floor:g} {ceiling:g} {bottom:.1f} {_TOP:.1f}",
    )


def _within(points: Sequence[Point], begin: datetime) -> list[Point]:
    """Return the points since a time, and what the account held at that time."""
    shown = [point for point in points if point.at >= begin]
    before = [point for point in points if point.at < begin]
    if before:
        shown.insert(0, Point(begin, before[-1].usd))
    return shown


def _thinned(points: Sequence[Point], begin: datetime, now: datetime, columns: int) -> list[Point]:
    """Return the first, the lowest, the highest and the last point of each column of pixels."""
    width = (now - begin) / columns
    by_column: dict[int, list[Point]] = {}
    for point in points:
        by_column.setdefault(int((point.at - begin) / width), []).append(point)
    kept = []
    for column in by_column.values():
        low = min(column, key=lambda point: point.usd)
        high = max(column, key=lambda point: point.usd)
        few = {id(point): point for point in (column[0], low, high, column[-1])}
        kept += sorted(few.values(), key=lambda point: point.at)
    return kept


def _staircase(corners: Sequence[tuple[float, float]]) -> str:
    (first_x, first_y), *others = corners
    return f"M{first_x:.1f} {first_y:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in others)


def _cone(
    last: Point,
    end: datetime,
    daily_usd: tuple[Decimal, Decimal] | None,
    x: Callable[[datetime], float],
    y: Callable[[float], float],
) -> str:
    if daily_usd is None or last.usd <= 0:
        return ""
    slow, fast = ([_meets(last, end, float(usd))] for usd in daily_usd)
    corners = [(last.at, float(last.usd)), *fast]
    if fast[-1][1] == 0:
        corners.append((slow[-1][0], 0.0))
    corners += slow
    return "M" + "L".join(f"{x(moment):.1f} {y(usd):.1f}" for moment, usd in corners) + "Z"


def _meets(last: Point, end: datetime, daily_usd: float) -> tuple[datetime, float]:
    """Return where a falling balance reaches 0, or where it is at the end of the picture if it does not."""
    days = (end - last.at) / _DAY
    usd = float(last.usd)
    if usd - daily_usd * days >= 0:
        return end, usd - daily_usd * days
    return last.at + _DAY * (usd / daily_usd), 0.0
