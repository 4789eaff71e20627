"""How long the gates of a simulated fleet waited in line."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.simulation.account import MICROSECONDS
from benchmarks.simulation.result import GROUPS_USD, Waits

# The group of the runs that were split. Each waits until its last part opens.
IN_PARTS = "in parts"


@dataclass(frozen=True)
class LineResult:
    """
    The outcome of a fleet with a line.

    :param refused: how many payments were refused.
    :param still_share: the share of the time in which nobody opened although enough for somebody was there,
        from 0 to 1.
    :param still_in_vain_share: the part of it in which a hold ended in vain.
    :param days: from the first run to the last end.
    :param waits: how long runs waited for their gate, by what they need.
    :param gave_up: how many runs stopped waiting, by what they need.
    """

    refused: int
    still_share: float
    still_in_vain_share: float
    days: float
    waits: dict[str, Waits]
    gave_up: dict[str, int]


def group_of(needed_cents: int) -> str:
    """
    Return the group of a run.

    :param needed_cents: what its gate needs.
    """
    for name, (least_usd, most_usd) in GROUPS_USD.items():
        if least_usd * 100 <= needed_cents <= most_usd * 100:
            return name
    return f"${needed_cents // 100:,}"


def waits_of(waited: list[int]) -> Waits:
    """
    Return the figures of some waits.

    :param waited: how long each took, in microseconds.
    """
    seconds = [each / MICROSECONDS for each in waited]
    return Waits(
        runs=len(seconds),
        mean=statistics.fmean(seconds),
        median=statistics.median(seconds),
        p99=statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0],
        worst=max(seconds),
    )
