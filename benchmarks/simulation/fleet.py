"""
Simulate a fleet of runs that pay from one account that is topped up in steps.

Time passes only from event to event: a run arrives, a gate checks, a run pays, a charge is posted, a
reservation ends. Amounts are whole cents and times whole microseconds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Any

from airflow_provider_youcom.ledger import rule
from airflow_provider_youcom.ledger.rule import EndReason
from benchmarks.simulation.account import MICROSECONDS, Account, Usage
from benchmarks.simulation.gates import Note
from benchmarks.simulation.result import GROUPS_USD, Result, Waits
from benchmarks.simulation.runs import PAYMENTS, Run, draw_runs
from benchmarks.simulation.scenario import ENOUGH_CENTS, MEAN_CENTS, TOP_UP_CENTS, Scenario
from benchmarks.simulation.waiting_gates import WaitingGates


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
        self._let_time_pass()
        return self._result()

    def _let_time_pass(self) -> None:
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
            self._wait(run)
            return
        self._ask(run)

    def _wait(self, run: Run) -> None:
        self._waiting.add(run)

    def _ask(self, run: Run) -> None:
        note, reading = self.gates.note(self._now), self.account.posted_cents
        self._at(self._now + round(run.answer * self._answer), self._decide, run, note, reading)

    def _decide(self, run: Run, note: Note, reading: int) -> None:
        if not self.gates.decide(run.number, run.needed, note, reading):
            self._wait(run)
            return
        self._waits.setdefault(run.size_cents, []).append(self._now - run.arrived_at)
        self._open(run)

    def _open(self, run: Run) -> None:
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
