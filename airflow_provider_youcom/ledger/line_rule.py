"""
The rule of the line: whose turn it is when gates wait for credits.

A gate that finds enough opens, even if others joined the line earlier. Once others have reserved more than
four times what a gate needs since it joined, its amount is *held*: gates that joined later leave it alone. A
hold ends when nothing has opened and no more has come in for ``hold_seconds``, or when nothing has opened for
twice as long. The counts of the gate, and of all that need at least as much, then start over, and others may
reserve twice as much before their next hold.

The rule only makes less available than there is, so whether payments are covered does not depend on it. Like
the rule of reservations, it uses no clock, no database and no Airflow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

DEFAULT_HOLD_SECONDS = 60 * 60
FIRST_PATIENCE = 4
"""How many times its amount others may reserve before a gate's amount is held for the first time."""
LARGEST_PATIENCE = FIRST_PATIENCE * 2**7
HOLDS_WITHOUT_OPENING = 2
"""A hold ends if nothing opens for this many times ``hold_seconds``, however much comes in."""
SHORTEST_LIFE_SECONDS = 2 * 60
LONGEST_LIFE_SECONDS = 60 * 60
GONE_AFTER_SECONDS = 60 * 60
"""How long a place is kept for a gate that does not check any more."""
NO_BOUND = 2**63 - 1

# A place, or what stands for one in the simulation and the tests.
P = TypeVar("P", bound=Any)


def is_held(place: Any, opened_units: Any) -> Any:
    """
    Return whether the amount of a gate that waits is held.

    The function consists of arithmetic and one comparison. With the columns of the ledger's tables, it
    returns SQL.

    :param place: has ``amount_units``, what the gate needs; ``opened_before``, the total at which its count
        started; and ``patience``, how many times its amount others may reserve.
    :param opened_units: the total of all that has ever been reserved in the account.
    """
    return opened_units - place.opened_before > place.amount_units * place.patience


def bound(place_number: int | None, run_since: int | None) -> int:
    """
    Return a bound for the numbers of places: a holder leaves alone what is held for lower ones.

    :param place_number: the number of the gate's own place; None if it has none.
    :param run_since: the newest place when the oldest standing reservation of its run was made; None if its
        run has reserved nothing. Such a run passes gates that joined later, so that it can finish.
    """
    own = NO_BOUND if place_number is None else place_number
    return own if run_since is None else min(own, run_since + 1)


def first_patience(amount_units: int, places: Iterable[Any]) -> int:
    """
    Return how many times its amount others may reserve before the first hold of a gate that joins.

    A hold that was in vain for one gate would be in vain for a gate that needs more.

    :param amount_units: what it needs.
    :param places: those that are in line.
    """
    patiences = [place.patience for place in places if place.amount_units <= amount_units]
    return max(patiences, default=FIRST_PATIENCE)


def patience_after(place: Any, paid_units: int) -> int:
    """
    Return the patience of a gate after another one has opened.

    A hold for an amount that has just been paid is not in vain, so gates that need no more have the first
    patience again.

    :param place: its place.
    :param paid_units: what the other has reserved.
    """
    patience: int = place.patience if place.amount_units > paid_units else FIRST_PATIENCE
    return patience


def longer_patience(patience: int) -> int:
    """
    Return the patience of a gate whose hold was in vain.

    :param patience: what it was for that hold.
    """
    return min(2 * patience, LARGEST_PATIENCE)


def has_lasted(now: int, moved_at: int, opened_at: int, hold: int) -> bool:
    """
    Return whether holds have lasted too long. All times have the same unit.

    :param now: the time.
    :param moved_at: when something last opened, or more came in.
    :param opened_at: when something last opened. An amount that has been mistyped may take hours to come in,
        in which nothing opens.
    :param hold: ``hold_seconds``.
    """
    # If the clock was put back, a hold lasts at most twice as long.
    return abs(now - moved_at) > hold or abs(now - opened_at) > HOLDS_WITHOUT_OPENING * hold


def held_in_vain(held: Iterable[P], available_units: int) -> list[P]:
    """
    Return the places whose hold ends when it has lasted too long: those that cannot be paid.

    :param held: the places whose amounts are held, in order.
    :param available_units: the reading, minus every reservation that counts.
    """
    in_vain = []
    for place in held:
        if place.amount_units <= available_units:
            available_units -= place.amount_units
        else:
            in_vain.append(place)
    return in_vain


def least_units(in_vain: Iterable[Any]) -> int:
    """
    Return the smallest amount whose hold was in vain. The counts of all that need as much start over, too.

    :param in_vain: the places whose hold was in vain, one at least.
    """
    least: int = min(place.amount_units for place in in_vain)
    return least


def life_seconds(pause_seconds: float) -> float:
    """
    Return for how long a gate that has just checked counts as waiting, at least.

    If its last two checks lay further apart, it is four times that gap, up to an hour: a gate keeps its
    place if its interval doubles, or if its task queues for a worker.

    :param pause_seconds: the time until its next check, as planned.
    """
    return min(max(SHORTEST_LIFE_SECONDS, 3 * pause_seconds), LONGEST_LIFE_SECONDS)
