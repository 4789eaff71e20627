"""What is varied from fleet to fleet, and what is the same for all: the sizes of runs, and the top-ups."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.simulation.gates import CheckingGates, ReservingGates

# What runs spend in dollars, and how many of 200 runs spend it: $17.45 on average.
SIZES_USD = {1: 50, 2: 40, 5: 36, 10: 28, 20: 20, 50: 14, 100: 8, 200: 3, 400: 1}
MEAN_CENTS = 100 * sum(usd * runs for usd, runs in SIZES_USD.items()) / sum(SIZES_USD.values())
TOP_UP_CENTS = 100_00
# There is no top-up while the account holds this much.
ENOUGH_CENTS = 1000_00


@dataclass(frozen=True)
class Scenario:
    """
    What is varied.

    :param load: how much money the runs need, as a multiple of what can be topped up.
    :param gates: the kind of gates.
    :param settle_seconds: the settle time in seconds.
    :param posted_within_seconds: how late charges are posted at most, in seconds.
    :param generosity: ``min_usd`` as a multiple of what a run spends.
    :param crashing: the share of runs that at some point neither continue to pay nor release.
    :param reserve_for_seconds: when the reservations of these expire, in seconds.
    :param arrival_seconds: the mean time between two runs, in seconds.
    :param shortest_seconds: how long a run takes at least, from its gate to its last payment, in seconds.
    :param longest_seconds: how long it takes at most, in seconds.
    :param interval_seconds: seconds between two checks of a gate.
    :param answer_seconds: seconds from a check's note to its decision, at most.
    """

    load: float = 1.0
    gates: type[CheckingGates] = ReservingGates
    settle_seconds: float = 60
    posted_within_seconds: float = 10
    generosity: float = 1.0
    crashing: float = 0.0
    reserve_for_seconds: float = 24 * 60 * 60
    arrival_seconds: float = 60
    shortest_seconds: float = 2 * 60
    longest_seconds: float = 20 * 60
    interval_seconds: float = 60
    answer_seconds: float = 2

    def __post_init__(self) -> None:
        if self.generosity * max(SIZES_USD) * 100 > ENOUGH_CENTS:
            raise ValueError(
                f"generosity={self.generosity:g} lets the largest run need more than ${ENOUGH_CENTS // 100}, "
                "which the account never holds: it would wait forever."
            )
