"""How often gates call You.com while they wait."""

from __future__ import annotations

from collections.abc import Sequence


def calls_per_minute(times: Sequence[float], calls_per_round: int) -> float | None:
    """
    Return the API calls per minute, counted over whole rounds; None if there was no whole round.

    In reschedule mode all gates check in one burst, then not at all until the next interval. What falls into
    a given minute depends on where the minute begins. The time from the first call of a round to the first
    call of a later round does not.

    :param times: when the calls were made, in seconds, in order. The first is the first of a round, or the
        last.
    :param calls_per_round: calls in one interval: 1 where gates share a poll, else one for each gate.
    """
    rounds = (len(times) - 1) // calls_per_round
    if rounds < 1:
        return None
    calls = rounds * calls_per_round
    return calls / (times[calls] - times[0]) * 60


def calls_to_end_of_round(calls: int, calls_per_round: int) -> int:
    """
    Return how many calls there are at the end of the round that is under way; at least one whole round.

    :param calls: how many there are so far.
    :param calls_per_round: as for :func:`calls_per_minute`.
    """
    return max(1, -(-calls // calls_per_round)) * calls_per_round
