"""One arm: a large run and many small ones wait in Airflow for an account that is topped up in steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_provider_youcom.ledger.line_rule import LARGEST_PATIENCE

if TYPE_CHECKING:
    from airflow_provider_youcom.ledger.ledger import Ledger
    from airflow_provider_youcom.sandbox import Sandbox
    from benchmarks.line.plan import Plan
    from dev.local_airflow import LocalAirflow
    from dev.task_history import TaskHistory

# Airflow needs minutes. The rest allows for a busy machine.
PATIENCE = 3600.0
LARGE = "large"
# Others would have to reserve so much that nothing is ever held.
NO_LINE = f"""
CREATE FUNCTION endless_patience() RETURNS trigger AS $$
BEGIN
    NEW.patience := {1000 * LARGEST_PATIENCE};
    RETURN NEW;
END
$$ LANGUAGE plpgsql;
CREATE TRIGGER endless_patience BEFORE INSERT ON youcom_line
    FOR EACH ROW EXECUTE FUNCTION endless_patience();
"""


@dataclass(frozen=True)
class Outcome:
    """
    How the runs of one arm ended.

    :param arm: its name.
    :param opened_after_seconds: when the large gate opened, in seconds after the first top-up.
    :param smalls_waiting: how many small gates still waited then.
    :param seconds: when the last run had ended, in seconds after the first top-up.
    :param succeeded: how many runs succeeded.
    :param refused: how many payments were refused.
    :param left_usd: what the account holds at the end, in dollars.
    """

    arm: str
    opened_after_seconds: float
    smalls_waiting: int
    seconds: float
    succeeded: int
    refused: int
    left_usd: float


def measure(
    arm: str, airflow: LocalAirflow, sandbox: Sandbox, ledger: Ledger, history: TaskHistory, plan: Plan
) -> Outcome:
    """
    Let all runs of one arm wait, the large one first, top up for all of them, and return the outcome.

    :param arm: the id of its DAG, which is the id of its connection and the key of its account too.
    :param airflow: where it runs.
    :param sandbox: the You.com that the runs pay.
    :param ledger: the ledger of the arm.
    :param history: the changes of state that Airflow's database records.
    :param plan: what the runs need, and how the account is topped up.
    """
    refused = sandbox.refused_count

    def start(run_id: str, usd: Decimal) -> None:
        airflow.trigger(arm, {"usd": str(usd)}, run_id)

    def wait_in_line(gates: int) -> None:
        airflow.wait_until(
            f"{gates} gates are in line",
            lambda: len(ledger.line.places()),
            lambda seen: seen == gates,
            PATIENCE,
        )

    start(LARGE, plan.large_usd)
    wait_in_line(1)
    for number in range(plan.smalls):
        start(f"small_{number}", plan.small_usd)
    wait_in_line(1 + plan.smalls)
    airflow.wait_until(
        "all gates wait in the triggerer",
        lambda: history.gates_in(arm, "deferred"),
        lambda seen: seen == 1 + plan.smalls,
        PATIENCE,
    )
    # The first checks of a new triggerer may take long, in which top-ups would pile up.
    asked = sandbox.request_count
    airflow.wait_until(
        "ten more checks", lambda: sandbox.request_count, lambda seen: seen >= asked + 10, PATIENCE
    )

    started = time.time()
    for step in range(plan.top_ups):
        time.sleep(max(0.0, started + step * plan.top_up_seconds - time.time()))
        sandbox.top_up(plan.top_up_usd, arm)
    airflow.wait_until(
        "all runs end", lambda: len(history.run_endings(arm)), lambda seen: seen == 1 + plan.smalls, PATIENCE
    )

    openings = ledger.history(limit=1 + plan.smalls)[::-1]
    order = [each.holder.run_id for each in openings]
    ends = history.run_endings(arm)
    return Outcome(
        arm=arm,
        opened_after_seconds=openings[order.index(LARGE)].reserved_at.timestamp() - started,
        smalls_waiting=plan.smalls - order.index(LARGE),
        seconds=ends[-1][1] - started,
        succeeded=sum(state == "success" for state, _ in ends),
        refused=sandbox.refused_count - refused,
        left_usd=float(sandbox.balance_usd(arm)),
    )
