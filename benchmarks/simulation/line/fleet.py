"""Simulate a fleet whose gates wait in line, check by check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from airflow_provider_youcom.ledger import line_rule
from benchmarks.simulation.account import MICROSECONDS
from benchmarks.simulation.fleet import Fleet
from benchmarks.simulation.gates import Note
from benchmarks.simulation.line.result import IN_PARTS, LineResult, group_of, waits_of
from benchmarks.simulation.line.scenario import LineScenario
from benchmarks.simulation.line.top_ups import AutoTopUp
from benchmarks.simulation.runs import Run, draw_runs
from benchmarks.simulation.scenario import TOP_UP_CENTS


class FleetInLine(Fleet):
    """
    Runs, gates, a line and an account in one scenario.

    :param scenario: what is varied.
    :param runs: the runs in the order of their arrival.
    """

    def __init__(self, scenario: LineScenario, runs: Iterator[Run]) -> None:
        super().__init__(scenario, scenario.change(runs))
        self.line = scenario.rule(scenario.hold_seconds)
        self._top_ups = scenario.top_ups
        self.account.cents = self.account.posted_cents = scenario.top_ups.first_cents
        self._interval = round(scenario.interval_seconds * MICROSECONDS)
        self._timeout = round(scenario.timeout_seconds * MICROSECONDS)
        self._life = round(line_rule.life_seconds(scenario.interval_seconds) * MICROSECONDS)
        self._waited: dict[str, dict[int, int]] = defaultdict(dict)
        self._quitters: dict[str, int] = defaultdict(int)
        self._blocked_since: int | None = None
        self._blocked = 0
        self._blocked_in_vain = 0
        self._holds_in_vain = 0

    def simulate_line(self) -> LineResult:
        """Simulate all events, and return how long everybody waited."""
        self._let_time_pass()
        return LineResult(
            refused=self._refused,
            still_share=self._blocked / self._now,
            still_in_vain_share=self._blocked_in_vain / self._now,
            days=self._last_end / MICROSECONDS / 60 / 60 / 24,
            waits={group: waits_of(list(waited.values())) for group, waited in sorted(self._waited.items())},
            gave_up=dict(self._quitters),
        )

    def _top_up(self) -> None:
        if isinstance(self._top_ups, AutoTopUp):
            return
        most = self._top_ups.most_cents
        if most is None or self.account.cents < most:
            self._add(TOP_UP_CENTS)
        if self._unfinished:
            self._at(self._now + self._top_up_every, self._top_up)

    def _post(self, cents: int) -> None:
        super()._post(cents)
        if isinstance(self._top_ups, AutoTopUp):
            self._add(self._top_ups.bought_cents(self.account.posted_cents))

    def _add(self, cents: int) -> None:
        self.account.watch(self._now)
        self.account.cents += cents
        self.account.posted_cents += cents

    def _check(self, run: Run) -> None:
        available = self.gates.available()
        self.line.follow(available, self._now)
        if available < run.needed:
            self._wait(run)
        elif available - self.line.held_before(run) < run.needed:
            self._block()
            self._wait(run)
        else:
            self._ask(run)

    def _decide(self, run: Run, note: Note, reading: int) -> None:
        super()._decide(run, note, reading - self.line.held_before(run))

    def _wait(self, run: Run) -> None:
        """Join the line, and check again at a whole interval after the run arrived."""
        self.line.join(run)
        next_check = self._now + self._interval - (self._now - run.arrived_at) % self._interval
        quits_at = run.arrived_at + self._timeout if run.quits_at is None else run.quits_at
        if next_check > quits_at:
            self._quitters[group_of(run.needed)] += 1
            self._unfinished -= 1
            self._at(self._now + self._life, self.line.leave, run)
            return
        self._at(next_check, self._check, run)

    def _block(self) -> None:
        if self._blocked_since is None:
            self._blocked_since, self._holds_in_vain = self._now, self.line.holds_in_vain

    def _unblock(self) -> None:
        if self._blocked_since is None:
            return
        blocked, self._blocked_since = self._now - self._blocked_since, None
        self._blocked += blocked
        if self.line.holds_in_vain > self._holds_in_vain:
            self._blocked_in_vain += blocked

    def _open(self, run: Run) -> None:
        self._unblock()
        super()._open(run)
        self.line.open(run, self.gates.available(), self._now)
        self._record(run)

    def _record(self, run: Run) -> None:
        wait = self._now - run.arrived_at
        for group in (IN_PARTS if run.whole != run.number else group_of(run.needed), "all"):
            waited = self._waited[group]
            waited[run.whole] = max(wait, waited.get(run.whole, 0))


def simulate_line(scenario: LineScenario, runs: int, seed: int) -> LineResult:
    """
    Simulate a fleet with a line.

    :param scenario: what is varied.
    :param runs: how many runs.
    :param seed: of the random numbers.
    """
    return FleetInLine(scenario, draw_runs(runs, seed, scenario)).simulate_line()
