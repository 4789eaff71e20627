"""
Simulate a fleet of runs that pay from one account that is topped up in steps.

Time passes only from event to event: a run arrives, a gate checks, a run pays, a charge is posted, a
reservation ends. Amounts are whole cents and times whole microseconds.
"""

from __future__ import annotations

import random
import statistics
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count, pairwise
from typing import Any

from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger.rule import EndReason
from benchmarks.simulated_gates import MICROSECONDS, Account, CheckingGates, Note, ReservingGates, Usage

# What runs spend in dollars, and how many of 200 runs spend it: $17.45 on average.
SIZES_USD = {1: 50, 2: 40, 5: 36, 10: 28, 20: 20, 50: 14, 100: 8, 200: 3, 400: 1}
GROUPS_USD = {"$1 to $10": (1, 10), "$20 to $50": (20, 50), "$100 to $400": (100, 400), "all": (1, 400)}
MEAN_CENTS = 100 * sum(usd * runs for usd, runs in SIZES_USD.items()) / sum(SIZES_USD.values())
PAYMENTS = 4
SLOWEST_TEARDOWN = 10 * MICROSECONDS
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


@dataclass(frozen=True)
class Waits:
    """How long runs waited, in seconds."""

    runs: int
    mean: float
    median: float
    p99: float
    worst: float


@dataclass(frozen=True)
class Result:
    """
    The outcome of a fleet.

    :param runs: how many runs there were.
    :param refused: how many payments were refused; each ended its run.
    :param lost_usd: what these runs had paid until then, in dollars.
    :param succeeded: how many runs ended in success.
    :param crashed: how many runs crashed.
    :param days: from the first run to the last end.
    :param balance_usd: what the account held on average until the last run arrived, in dollars.
    :param in_use: how much of it the runs that had started would still spend, from 0 to 1.
    :param waits: how long runs waited for their gate, by what they spend.
    """

    runs: int
    refused: int
    lost_usd: float
    succeeded: int
    crashed: int
    days: float
    balance_usd: float
    in_use: float
    waits: dict[str, Waits]

    @property
    def idle_usd(self) -> float:
        """The part of the average balance that no run that had started would spend."""
        return self.balance_usd * (1 - self.in_use)


class Run:
    """
    A run of a pipeline, with all that it will do.

    :param number: its number.
    :param arrived_at: when it arrives, in microseconds.
    :param size_cents: what it spends.
    :param life: how long it takes, in microseconds.
    :param dice: the random numbers for the rest.
    """

    __slots__ = (
        "answer",
        "arrived_at",
        "crashes_after",
        "lateness",
        "needed",
        "number",
        "paid",
        "pauses",
        "payments",
        "size_cents",
        "teardown",
    )

    def __init__(self, number: int, arrived_at: int, size_cents: int, life: int, dice: random.Random) -> None:
        self.number = number
        self.arrived_at = arrived_at
        self.size_cents = size_cents
        self.needed = size_cents
        self.paid = 0
        self.answer = dice.random()
        self.teardown = round(dice.random() * SLOWEST_TEARDOWN)
        self.crashes_after = int(dice.random() * PAYMENTS)
        moments = sorted(round(dice.random() * life) for _ in range(PAYMENTS - 1))
        self.pauses = [later - earlier for earlier, later in pairwise([0, *moments, life])]
        cuts = sorted(dice.randrange(1, size_cents) for _ in range(PAYMENTS - 1))
        self.payments = [later - earlier for earlier, later in pairwise([0, *cuts, size_cents])]
        self.lateness = [dice.random() for _ in range(PAYMENTS)]


def draw_runs(runs: int, seed: int, scenario: Scenario) -> Iterator[Run]:
    """
    Yield runs in the order of their arrival, the same for a seed whatever is varied.

    :param runs: how many.
    :param seed: of the random numbers.
    :param scenario: what is varied.
    """
    dice = random.Random(seed)
    sizes = random.Random(seed + 1).choices(list(SIZES_USD), weights=list(SIZES_USD.values()), k=runs)
    crashes = random.Random(seed + 2)
    now = 0.0
    for number, size_usd in enumerate(sizes):
        now += dice.expovariate(1 / scenario.arrival_seconds)
        life = dice.uniform(scenario.shortest_seconds, scenario.longest_seconds)
        run = Run(number, round(now * MICROSECONDS), size_usd * 100, round(life * MICROSECONDS), dice)
        run.needed = round(run.size_cents * scenario.generosity)
        if crashes.random() >= scenario.crashing:
            run.crashes_after = PAYMENTS
        yield run


class WaitingGates:
    """
    The gates that wait, by what they need and by when in an interval they check.

    :param interval: microseconds between two checks of a gate.
    """

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._by_need: dict[int, list[tuple[int, int, Run]]] = {}
        self._count = 0

    def add(self, run: Run) -> None:
        """
        Add a gate. It checks at whole intervals after its run arrived.

        :param run: its run.
        """
        phases = self._by_need.setdefault(run.needed, [])
        insort(phases, (run.arrived_at % self._interval, run.number, run))
        self._count += 1

    def next_check(self, now: int, available: int) -> tuple[int, Run] | None:
        """
        Return when the next gate checks for which enough is available, and its run.

        :param now: the time in microseconds.
        :param available: what its check would find, in cents.
        """
        if not self._count:
            return None
        phase = now % self._interval
        soonest = None
        for needed, phases in self._by_need.items():
            if needed > available or not phases:
                continue
            place = bisect_right(phases, phase, key=_phase)
            wait = phases[place][0] - phase if place < len(phases) else phases[0][0] - phase + self._interval
            if soonest is None or wait < soonest[0]:
                soonest = (wait, phases[place % len(phases)][2])
        return None if soonest is None else (now + soonest[0], soonest[1])

    def remove(self, run: Run) -> None:
        """
        Take a gate out.

        :param run: its run.
        """
        phases = self._by_need[run.needed]
        del phases[bisect_right(phases, (run.arrived_at % self._interval, run.number, run)) - 1]
        self._count -= 1


def _phase(waiting: tuple[int, int, Run]) -> int:
    return waiting[0]


class Fleet:
    """
    Runs, gates and an account in one scenario.

    :param scenario: what is varied.
    :param runs: the runs in the order of their arrival.
    """

    def __init__(self, scenario: Scenario, runs: Iterator[Run]) -> None:
        self.scenario = scenario
        self.account = Account(TOP_UP_CENTS)
        self.gates = scenario.gates(self.account, scenario.settle_seconds)
        self._arriving = runs
        self._waiting = WaitingGates(round(scenario.interval_seconds * MICROSECONDS))
        self._answer = round(scenario.answer_seconds * MICROSECONDS)
        self._posted_within = round(scenario.posted_within_seconds * MICROSECONDS)
        self._reserve_for = round(scenario.reserve_for_seconds * MICROSECONDS)
        self._top_up_every = round(
            TOP_UP_CENTS / MEAN_CENTS * scenario.arrival_seconds * scenario.load * MICROSECONDS
        )
        self._events: list[tuple[int, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = count()
        self._now = 0
        self._last_end = 0
        self._unfinished = 0
        self._usage = Usage(0, 0)
        self._waits: dict[int, list[int]] = {}
        self._refused = self._lost_cents = self._succeeded = self._crashed = 0

    def simulate(self) -> Result:
        """Simulate all events, and return the outcome of the fleet."""
        self._await_next_run()
        self._at(self._top_up_every, self._top_up)
        events = self._events
        while events:
            check = self._waiting.next_check(self._now, self.gates.available())
            if check is not None and check[0] < events[0][0]:
                self._now, run = check
                self._waiting.remove(run)
                self._check(run)
            else:
                self._now, _, _, happen, arguments = heappop(events)
                happen(*arguments)
        return self._result()

    def _at(self, time: int, happen: Callable[..., None], *arguments: Any) -> None:
        heappush(self._events, (time, 1, next(self._sequence), happen, arguments))

    def _first_at(self, time: int, happen: Callable[..., None], *arguments: Any) -> None:
        heappush(self._events, (time, 0, next(self._sequence), happen, arguments))

    def _await_next_run(self) -> None:
        run = next(self._arriving, None)
        if run is not None:
            self._unfinished += 1
            self._at(run.arrived_at, self._arrive, run)
            return
        self._usage = self.account.usage(self._now)

    def _arrive(self, run: Run) -> None:
        self._await_next_run()
        self._check(run)

    def _top_up(self) -> None:
        account = self.account
        if account.cents < ENOUGH_CENTS:
            account.watch(self._now)
            account.cents += TOP_UP_CENTS
            account.posted_cents += TOP_UP_CENTS
        if self._unfinished:
            self._at(self._now + self._top_up_every, self._top_up)

    def _check(self, run: Run) -> None:
        """
        Note and ask; decide when the answer has come.

        As in the provider, there is nothing to decide where a check finds too little. The reading is as old
        as the note, which is the worst case: everything else happens between the reading and the decision.
        """
        if self.gates.available() < run.needed:
            self._waiting.add(run)
            return
        note, reading = self.gates.note(self._now), self.account.posted_cents
        self._at(self._now + round(run.answer * self._answer), self._decide, run, note, reading)

    def _decide(self, run: Run, note: Note, reading: int) -> None:
        if not self.gates.decide(run.number, run.needed, note, reading):
            self._waiting.add(run)
            return
        self._waits.setdefault(run.size_cents, []).append(self._now - run.arrived_at)
        self.account.watch(self._now)
        self.account.committed_cents += run.size_cents
        if run.crashes_after < PAYMENTS:
            self._at(self._now + self._reserve_for, self._end, run, EndReason.EXPIRED)
        self._at(self._now + run.pauses[0], self._pay, run, 0)

    def _pay(self, run: Run, number: int) -> None:
        account, cents = self.account, run.payments[number]
        account.watch(self._now)
        if number == run.crashes_after:
            self._crashed += 1
            self._finish(run)
            return
        if account.cents < cents:
            self._refused += 1
            self._lost_cents += run.paid
            self._finish(run)
            if run.crashes_after == PAYMENTS:
                self._tear_down(run, all_done=False)
            return
        account.cents -= cents
        account.committed_cents -= cents
        run.paid += cents
        self._at(self._now + round(run.lateness[number] * self._posted_within), self._post, cents)
        if number + 1 < PAYMENTS:
            self._at(self._now + run.pauses[number + 1], self._pay, run, number + 1)
            return
        self._succeeded += 1
        self._finish(run)
        self._tear_down(run, all_done=True)

    def _tear_down(self, run: Run, *, all_done: bool) -> None:
        reason = rule.teardown_reason(run_is_running=True, all_done=all_done, any_is_retried_soon=False)
        self._at(self._now + run.teardown, self._end, run, reason)

    def _post(self, cents: int) -> None:
        self.account.posted_cents -= cents

    def _finish(self, run: Run) -> None:
        """Let a run spend nothing from now on."""
        self.account.committed_cents -= run.size_cents - run.paid
        self._unfinished -= 1
        self._last_end = self._now

    def _end(self, run: Run, reason: EndReason) -> None:
        counts_until = self.gates.end(run.number, reason, self._now)
        if counts_until is not None:
            # At the same moment as a check, the reservation has to be settled first: the rule counts it
            # until then, and no longer.
            self._first_at(counts_until, self.gates.settled, run.number)
            self._at(counts_until + self._answer + 1, self.gates.forget, run.number)

    def _result(self) -> Result:
        return Result(
            runs=self._succeeded + self._crashed + self._refused,
            refused=self._refused,
            lost_usd=self._lost_cents / 100,
            succeeded=self._succeeded,
            crashed=self._crashed,
            days=self._last_end / MICROSECONDS / 60 / 60 / 24,
            balance_usd=self._usage.mean_cents / 100,
            in_use=self._usage.in_use,
            waits={name: self._waits_of(*usd) for name, usd in GROUPS_USD.items()},
        )

    def _waits_of(self, least_usd: int, most_usd: int) -> Waits:
        waits = [
            wait / MICROSECONDS
            for size_cents, of_size in self._waits.items()
            if least_usd * 100 <= size_cents <= most_usd * 100
            for wait in of_size
        ]
        return Waits(
            runs=len(waits),
            mean=statistics.fmean(waits),
            median=statistics.median(waits),
            p99=statistics.quantiles(waits, n=100)[98],
            worst=max(waits),
        )


def simulate(scenario: Scenario, runs: int, seed: int) -> Result:
    """
    Simulate a fleet.

    :param scenario: what is varied.
    :param runs: how many runs, at least 1,000: each group of sizes needs some.
    :param seed: of the random numbers.
    """
    return Fleet(scenario, draw_runs(runs, seed, scenario)).simulate()
