"""How the runs of one arm ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

ARMS = {
    "fleet_checking": "gates that check",
    "fleet_pool": "gates that check, a pool of one slot, and a second check",
    "fleet_reserving": "gates that reserve",
    "fleet_mixed": "gates that reserve, one of a large run",
}
RESERVING = "fleet_reserving"
MIXED = "fleet_mixed"


@dataclass(frozen=True)
class Outcome:
    """
    How one arm's runs ended. Times are seconds after the first top-up.

    CPU seconds are those of all Airflow processes, less what an idle Airflow uses in the same time.
    """

    arm: str
    runs: int
    refused: int
    """Payments that were refused with 402."""
    dead: int
    """Runs that failed, or did not end."""
    paid_usd: float
    lost_usd: float
    """What runs had paid that then failed."""
    lowest_usd: float
    """The least that the account held after the first payment."""
    seconds: float
    """Until the last run had ended."""
    run_seconds: float
    """How long the fastest run took that succeeded, from the end of its gate to its own end."""
    api_calls: int
    cpu: float
    database_cpu: float
    succeeded_at: list[float]
    died_at: list[float]
    balances: list[tuple[float, float]] = field(repr=False)
    """When the account's balance changed, and to what."""
    reserved_at_the_end: int = 0
    checks_missed: int = 0
    """The most checks in a row that opened no gate although one could have been paid."""
    large_opened_after: float | None = None
    """When the gate of the large run opened; None if there was none, or it did not."""


def lowest_usd(balances: list[tuple[float, float]]) -> float:
    """
    Return the lowest balance of an account after the first charge.

    :param balances: each change of the balance: when, and to what.
    """
    changes = [usd for _, usd in balances]
    charged = [turn for turn, (before, after) in enumerate(pairwise(changes), 1) if after < before]
    return min(changes[charged[0] :]) if charged else 0.0
