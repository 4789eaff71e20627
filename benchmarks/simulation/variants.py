"""What is varied in the simulation, and the outcome of each variant."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.simulation.fleet import simulate
from benchmarks.simulation.gates import CheckingGates, IdealGates
from benchmarks.simulation.result import Result
from benchmarks.simulation.scenario import Scenario

LOADS = (0.9, 1.0, 1.1)
IDEAL = "ideal: every cost is known"
CHECKING = "check only, reserve nothing"
CRASHES = {"crashing": 0.01}
VARIANTS: dict[str, dict[str, Any]] = {
    IDEAL: {"gates": IdealGates},
    "settle_seconds 0, charges posted at once": {"settle_seconds": 0, "posted_within_seconds": 0},
    "settle_seconds 10": {"settle_seconds": 10},
    "settle_seconds 60, the default": {"settle_seconds": 60},
    "settle_seconds 300": {"settle_seconds": 300},
    "min_usd 1.5 times the cost": {"generosity": 1.5},
    "min_usd 2 times the cost": {"generosity": 2},
    "1 % crash, reserve_for 1 hour": {**CRASHES, "reserve_for_seconds": 60 * 60},
    "1 % crash, reserve_for 1 day": {**CRASHES, "reserve_for_seconds": 24 * 60 * 60},
    CHECKING: {"gates": CheckingGates},
}


@dataclass(frozen=True)
class Variant:
    """
    The outcome of a fleet in one variant.

    :param name: of the variant.
    :param scenario: what was varied.
    :param result: the outcome.
    """

    name: str
    scenario: Scenario
    result: Result

    @property
    def is_good(self) -> bool:
        """Whether no payment was refused; behind gates that only check, whether some were."""
        return bool(self.result.refused) == (self.name == CHECKING)


def simulate_all(runs: int, seed: int, fleet: Scenario, loads: tuple[float, ...] = LOADS) -> list[Variant]:
    """
    Simulate all variants at all loads, and print each as soon as it is done.

    :param runs: how many runs in each.
    :param seed: of the random numbers.
    :param fleet: what all variants have in common.
    :param loads: how much money the runs need, as multiples of what can be topped up.
    """
    variants: list[Variant] = []
    for load in loads:
        for name, varied in VARIANTS.items():
            started = time.perf_counter()
            scenario = replace(fleet, load=load, **varied)
            variants.append(Variant(name, scenario, simulate(scenario, runs, seed)))
            seconds = time.perf_counter() - started
            print(f"load {load:g}, {name}: {runs:,} runs in {seconds:.1f} s", flush=True)
    return variants
