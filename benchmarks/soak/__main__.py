"""
Run a hundred gates through minutes of random trouble, and check that each ends once, in the right state.

You.com gives faulty answers 30 % of the time. At random moments the triggerer and the scheduler are killed
with ``kill -9``, and PostgreSQL crashes. The balance crosses the gates' thresholds several times.

Meanwhile other runs reserve and pay, and the PostgreSQL of their ledger crashes too: none of their payments
may be refused, and nothing may stay reserved.

Then two triggerers share some gates, and one of them is killed.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from airflow_provider_youcom.sandbox import Sandbox
from benchmarks.conditions import machine
from benchmarks.soak.paying_runs import API_KEY, SETTLE_SECONDS, PayingRuns
from benchmarks.soak.paying_runs import environment as payment_environment
from benchmarks.soak.trouble import ChangingBalance, FaultyYouCom, Servers, at_random, play
from benchmarks.soak.two_triggerers import share_between_two_triggerers
from dev.local_airflow import LocalAirflow
from dev.private_postgres import PrivatePostgres
from dev.story import Story
from dev.task_history import TaskHistory

DAGS = Path(__file__).parent / "dags"
THRESHOLDS_USD = [20, 40, 60, 80]
# How many gates of each DAG, and the state that each of them must end in.
GATES = {
    "in_the_triggerer": (40, "success"),
    "started_in_the_triggerer": (10, "success"),
    "ended_in_the_triggerer": (10, "success"),
    "deferred": (20, "success"),
    "rescheduled": (4, "success"),
    "skipped": (8, "skipped"),
    "timed_out": (4, "failed"),
    "timed_out_softly": (4, "skipped"),
}
# How long the ledger's PostgreSQL stays away after a crash.
OUTAGE_SECONDS = 8.0
PATIENCE = 1800.0


def soak(minutes: float, seed: int, story: Story) -> dict[str, object]:
    """
    Start the gates, make trouble, and return what became of them.

    :param minutes: how long the trouble lasts.
    :param seed: the seed of the random trouble. The same seed makes the same plan.
    :param story: prints what happens.
    """
    chance = random.Random(seed)
    seconds = minutes * 60
    crashes = {
        "triggerer": max(2, round(minutes * 0.8)),
        "scheduler": max(1, round(minutes * 0.5)),
        "postgresql": 2 if minutes >= 5 else 1,
    }

    def told(what: str, action: Callable[[], None]) -> Callable[[], None]:
        def tell_and_act() -> None:
            story.tell(what)
            action()

        return tell_and_act

    story.tell("Starting an Airflow on PostgreSQL, and another PostgreSQL for the ledger.")
    with _whole_airflow() as (airflow, postgres, ledger, sandbox):
        wanted = sum(gates for gates, _ in GATES.values())
        story.tell(f"Starting {wanted} gates, and the runs that reserve and pay.")
        TaskHistory.start(postgres.connect()).close()
        for dag_id, (gates, _) in GATES.items():
            _start_gates(airflow, dag_id, gates)
        top_ups = max(10, round(minutes * 5))
        # More want to pay than the account is topped up for. If the gates did not reserve, all would open at
        # the first top-up, and payments would be refused.
        too_many = max(10, round(minutes * 3))
        paying_runs = PayingRuns(airflow, sandbox, ledger, runs=top_ups + too_many)
        paying_runs.start()
        servers = Servers(airflow, postgres)
        balance = ChangingBalance(sandbox, random.Random(chance.random()), THRESHOLDS_USD)
        you_com = FaultyYouCom(sandbox, random.Random(chance.random()))
        moves = max(10, round(minutes * 4))
        outages = at_random(chance, seconds, max(1, round(minutes * 0.5)))
        plan: list[tuple[float, Callable[[], None]]] = [
            *(
                (moment, told(f"Killing {component}.", partial(servers.kill, component)))
                for component, times in crashes.items()
                for moment in at_random(chance, seconds, times)
            ),
            *((seconds * move / moves, partial(balance.move, move / moves)) for move in range(1, moves)),
            *((seconds * step / top_ups, paying_runs.top_up) for step in range(top_ups)),
            *(
                (moment, told("Crashing the ledger's PostgreSQL.", partial(ledger.stop, signal.SIGQUIT)))
                for moment in outages
            ),
            *((moment + OUTAGE_SECONDS, told("Starting it again.", ledger.start)) for moment in outages),
        ]
        story.tell(f"Making trouble for {minutes:g} minutes. You.com gives faulty answers, too.")
        you_com.start()
        play(plan, seconds, servers.restart_the_dead)
        you_com.stop()
        story.tell("No more trouble. The account holds enough for every gate that still waits.")
        sandbox.set_balance(100)
        history = TaskHistory(postgres.connect())
        _wait_for_endings(airflow, servers, history, list(GATES), wanted)
        story.tell("Checking how each gate ended.")
        outcome = _judge(airflow, history)
        story.tell("Waiting for the runs that pay.")
        payments = paying_runs.finish(history, servers.restart_the_dead)
        story.tell("Sharing gates between two triggerers, one of which is killed.")
        shared = share_between_two_triggerers(airflow, sandbox, history)
    return {
        "minutes": minutes,
        "seed": seed,
        "gates": wanted,
        **outcome,
        "faults": dict(you_com.tried),
        "answers_struck": you_com.struck,
        "killed": {**servers.killed, "ledger": len(outages)},
        "died_of_it": dict(servers.died),
        "thresholds_crossed": balance.crossings,
        "paying_runs": payments,
        "two_triggerers": shared,
    }


@contextmanager
def _whole_airflow() -> Iterator[tuple[LocalAirflow, PrivatePostgres, PrivatePostgres, Sandbox]]:
    with (
        tempfile.TemporaryDirectory(prefix="soak-airflow-") as home,
        Sandbox(0, accounts={API_KEY: 0}, post_charges_after=SETTLE_SECONDS - 1) as sandbox,
        PrivatePostgres() as postgres,
        PrivatePostgres() as ledger,
    ):
        environment = {
            "AIRFLOW_CONN_YOUCOM_DEFAULT": sandbox.connection(),
            **payment_environment(sandbox, ledger),
        }
        airflow = LocalAirflow(Path(home), DAGS, environment=environment, database_url=postgres.url)
        with airflow:
            yield airflow, postgres, ledger, sandbox


def _start_gates(airflow: LocalAirflow, dag_id: str, gates: int) -> None:
    airflow.wait_for_dag(dag_id, timeout=300)
    for gate in range(gates):
        min_usd = THRESHOLDS_USD[gate % len(THRESHOLDS_USD)]
        airflow.trigger(dag_id, {"min_usd": str(min_usd)}, run_id=f"{min_usd}-{gate}")


def _wait_for_endings(
    airflow: LocalAirflow, servers: Servers, history: TaskHistory, dag_ids: list[str], wanted: int
) -> None:
    deadline = time.monotonic() + PATIENCE
    while sum(len(history.endings(dag_id)) for dag_id in dag_ids) < wanted and time.monotonic() < deadline:
        servers.restart_the_dead()
        time.sleep(1)


def _judge(airflow: LocalAirflow, history: TaskHistory) -> dict[str, object]:
    lost, twice, wrong = [], [], []
    states: Counter[str] = Counter()
    workers = {dag_id: history.worker_starts(dag_id) for dag_id in GATES}
    for dag_id, (gates, right) in GATES.items():
        endings, finals = history.endings(dag_id), history.final_states(dag_id)
        twice += [f"{dag_id}/{run_id}" for run_id, count in endings.items() if count > 1]
        states.update(state for state, _ in finals.values())
        for gate in range(gates):
            run_id = f"{THRESHOLDS_USD[gate % len(THRESHOLDS_USD)]}-{gate}"
            name = f"{dag_id}/{run_id}"
            if run_id not in endings:
                lost.append(name)
            elif finals[run_id][0] != right:
                wrong.append(f"{name}: {finals[run_id][0]}")
            elif right == "success" and _reading_usd(airflow, dag_id, run_id) < float(run_id.split("-")[0]):
                wrong.append(f"{name}: opened too early")
    return {
        "lost": lost,
        "twice": twice,
        "wrong": wrong,
        "states": dict(states),
        "worker_starts": workers,
    }


def _reading_usd(airflow: LocalAirflow, dag_id: str, run_id: str) -> float:
    """Return the balance that opened a gate, in dollars."""
    reading = airflow.xcom(dag_id, run_id, "gate")
    # Airflow encodes an XCom from the triggerer twice.
    while isinstance(reading, str):
        reading = json.loads(reading)
    return float(reading["balance_usd"])


def main() -> int:
    """Run, print the counts, and return 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10, help="minutes of trouble (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="seed of an earlier run (default: a new one)")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    story = Story()
    story.tell(f"The seed is {seed}.")
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "airflow": version("apache-airflow"),
        "machine": machine(),
        **soak(options.minutes, seed, story),
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    shared, paying = result["two_triggerers"], result["paying_runs"]
    assert isinstance(shared, dict)
    assert isinstance(paying, dict)
    gates = [result["lost"], result["twice"], result["wrong"], shared["lost"], shared["twice"]]
    payments = [paying[name] for name in ("refused", "dead", "lost", "twice", "left_reserved")]
    print(f"{'NOT every' if any(gates) else 'Every'} gate ended once, in the right state.")
    print(f"{'NOT every' if any(payments) else 'Every'} run that reserved paid, and left nothing reserved.")
    return int(any([*gates, *payments]))


if __name__ == "__main__":
    sys.exit(main())
