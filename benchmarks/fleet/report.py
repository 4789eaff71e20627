"""The table, the targets and the JSON of the fleet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.fleet.outcome import ARMS, MIXED, RESERVING, Outcome
from benchmarks.fleet.plan import Plan, ideal_ends
from benchmarks.markdown_table import markdown_table

CHECKING = "fleet_checking"
SLOWEST = 1.3
# A top-up may come at any time between two checks, and the gate opens at the next check.
MOST_CHECKS_MISSED = 1
_COLUMNS = (
    "gates", "payments refused", "runs that died", "money lost in them", "lowest balance",
    "until all had ended", "API calls", "CPU",
)  # fmt: skip


@dataclass
class FleetReport:
    """
    Collects what was measured, and compares it with the targets.

    :param out: the file to write, without a suffix.
    :param plan: what the runs pay, and how the account is topped up.
    :param conditions: date, versions and machine.
    """

    out: Path
    plan: Plan
    conditions: dict[str, str]
    outcomes: list[Outcome] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> FleetReport:
        """
        Return a report that was written before.

        :param path: its JSON file.
        """
        document = json.loads(path.read_text())
        plan = document["plan"]
        amounts = {name: Decimal(usd) for name, usd in plan.items() if name.endswith("_usd")}
        outcomes = [
            Outcome(**{**each, "balances": [(at, usd) for at, usd in each["balances"]]})
            for each in document["outcomes"]
        ]
        return cls(path.with_suffix(""), Plan(**{**plan, **amounts}), document["conditions"], outcomes)

    def add(self, outcome: Outcome) -> None:
        """
        Add a result, print it, and write everything so far.

        :param outcome: the result.
        """
        self.outcomes.append(outcome)
        print(self.table([outcome]), flush=True)
        self.write_json()

    def text(self) -> str:
        """Return everything as text."""
        conditions = ", ".join(f"{name} {value}" for name, value in self.conditions.items())
        targets = "\n".join(
            f"{'passed    ' if met else 'NOT PASSED'}  {what}" for what, met in self.targets()
        )
        return "\n\n".join([conditions, self.load(), self.table(self.outcomes), targets])

    def load(self) -> str:
        """Return what the runs pay and when, in words."""
        plan = self.plan
        mixed = (
            f" In the last arm, a run of ${plan.large_run_usd} joins first, and the account is topped up "
            f"{plan.top_ups(MIXED)} times."
        )
        return (
            f"{plan.runs} runs of {plan.payments} payments of ${plan.payment_usd}, whose gates all wait "
            f"on an empty account. It is topped up by ${plan.top_up_usd} every {plan.top_up_seconds:g} s, "
            f"{plan.top_ups(RESERVING)} times, which is what all runs need. Charges are posted after "
            f"{plan.posted_after_seconds:g} s; the settle time is {plan.settle_seconds:g} s. "
            f"Gates check every {plan.interval:g} s."
            f"{mixed if any(each.arm == MIXED for each in self.outcomes) else ''}"
        )

    def table(self, outcomes: list[Outcome]) -> str:
        """
        Return results as a table in Markdown, with the ideal schedule below the gates that reserve.

        :param outcomes: the results.
        """
        rows = []
        for outcome in outcomes:
            rows.append(_row(outcome))
            if outcome.arm == RESERVING:
                rows.append(
                    ("ideal schedule", "", "", "", "", f"{max(self.ideal_ends(outcome)):.0f} s", "", "")
                )
        return markdown_table(_COLUMNS, rows)

    def ideal_ends(self, outcome: Outcome) -> list[float]:
        """
        Return when each run would have ended in the ideal schedule, in seconds after the first top-up.

        :param outcome: says how long the fastest run took.
        """
        plan = self.plan
        costs_usd = plan.costs_usd(outcome.arm)
        return ideal_ends(costs_usd, plan.top_up_usd, plan.top_up_seconds, outcome.run_seconds)

    def targets(self) -> list[tuple[str, bool]]:
        """Return each target for which there are figures, and whether it was met."""
        return [target for outcome in self.outcomes for target in self._targets_for(outcome)]

    def all_met(self) -> bool:
        """Return whether every target was met."""
        return all(met for _, met in self.targets())

    def write(self) -> None:
        """Write the JSON and the text."""
        self.write_json()
        self.out.with_suffix(".md").write_text(self.text() + "\n")

    def write_json(self) -> None:
        """Write everything so far as JSON."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {
            "conditions": self.conditions,
            "plan": asdict(self.plan),
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
            "targets": [{"target": what, "passed": met} for what, met in self.targets()],
        }
        self.out.with_suffix(".json").write_text(json.dumps(document, default=str) + "\n")

    def _targets_for(self, outcome: Outcome) -> Iterator[tuple[str, bool]]:
        name = ARMS[outcome.arm]
        if outcome.arm == CHECKING:
            what = f"{outcome.refused} payments refused; if none is, the load is too weak to show anything"
            yield f"{name}: {what}", outcome.refused > 0
        if outcome.arm in {RESERVING, MIXED}:
            standing = outcome.reserved_at_the_end
            yield f"{name}: {outcome.refused} payments refused", outcome.refused == 0
            yield f"{name}: {outcome.dead} runs died", outcome.dead == 0
            yield f"{name}: {standing} reservations stand at the end", standing == 0
        if outcome.arm == MIXED:
            # A top-up is less than the large run needs: without the line, it goes to a small one that waits.
            opened, last = outcome.large_opened_after, self.plan.last_top_up(MIXED)
            when = "never" if opened is None else f"after {opened:.0f} s"
            what = (
                f"the large run's gate opened {when}; without the line, after the last top-up, {last:.0f} s"
            )
            yield f"{name}: {what}", opened is not None and opened < last
        if outcome.arm == RESERVING:
            missed = outcome.checks_missed
            what = f"{missed} checks in a row opened no gate although one could have been paid"
            yield f"{name}: {what}, at most {MOST_CHECKS_MISSED}", missed <= MOST_CHECKS_MISSED
            ideal = max(self.ideal_ends(outcome))
            what = (
                f"all was done after {outcome.seconds:.0f} s, {outcome.seconds / ideal:.2f} times the ideal"
            )
            yield f"{name}: {what} {ideal:.0f} s, at most {SLOWEST} times", outcome.seconds <= SLOWEST * ideal


def _row(outcome: Outcome) -> tuple[str, ...]:
    return (
        ARMS[outcome.arm],
        str(outcome.refused),
        f"{outcome.dead} of {outcome.runs}",
        f"${outcome.lost_usd:,.0f}",
        f"${outcome.lowest_usd:,.0f}",
        f"{outcome.seconds:.0f} s",
        str(outcome.api_calls),
        f"{outcome.cpu:.0f} s",
    )
