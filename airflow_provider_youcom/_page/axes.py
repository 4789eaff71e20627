"""The sizes of a picture, and the labels at its axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Size:
    """
    How large a picture is.

    :param name: its class in the style sheet.
    :param width: in pixels.
    :param height: in pixels.
    :param days_between: days between two dates, if the picture shows a month.
    :param columns: how many columns of points it has room for.
    """

    name: str
    width: int
    height: int
    days_between: int
    columns: int


WIDE = Size("wide", 960, 230, 7, 320)
NARROW = Size("narrow", 350, 200, 14, 110)


@dataclass(frozen=True)
class Label:
    """
    A label at an axis.

    :param position: where, in pixels.
    :param text: what it says.
    """

    position: str
    text: str


def round_step(spread: float) -> float:
    """
    Return a round distance between the labels of amounts, so that there are about four of them.

    :param spread: the highest amount minus the lowest, in dollars.
    """
    rough = max(spread, 0.01) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def dollars(usd: float, step: float) -> str:
    """
    Return an amount as a label.

    :param usd: the amount, in dollars.
    :param step: how far apart the labels are.
    """
    sign = "-" if usd < 0 else ""
    return f"{sign}${abs(usd):,.0f}" if step >= 1 else f"{sign}${abs(usd):,.2f}"


def dates(now: datetime, days: int, size: Size) -> list[tuple[datetime, str]]:
    """
    Return the times that have a label, each with its text.

    :param now: the present.
    :param days: how many days the picture goes back.
    :param size: the picture's size.
    """
    if days == 1:
        hours = 6 if size is WIDE else 12
        moments = [now - timedelta(hours=hours * number) for number in range(24 // hours, 0, -1)]
        return [(moment, f"{moment:%H:%M}") for moment in moments]
    between = size.days_between if days > 7 else size.days_between // 7
    moments = [now - _DAY * number for number in range(days - days % between, 0, -between)]
    return [(moment, f"{moment:%-d %b}") for moment in moments]
