"""
Show the credit gate at work: in a real Airflow, with a You.com on this machine or the real one.

Run it with ``make demo``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_youcom.billing import DEFAULT_BASE_URL
from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.money import format_usd
from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow, LocalAirflowError
from dev.story import Story

PROJECT = Path(__file__).parents[1]
HOME = PROJECT / "build" / "demo"
LEDGER = "youcom_ledger"
CHECKING_DAG = "example_youcom_preflight_gate"
RESERVING_DAG = "example_youcom_reserved_run"
GATE = "enough_credit"
RELEASE = f"release_{GATE}"
TOO_LITTLE_USD = "3.20"
TOP_UP_USD = 25
KEY_VARIABLE = "YDC_API_KEY"

_GATE_SAYS = re.compile(r"(?:Open|Waiting): .*?\(account \S+\)\.")
_GATE_SAYS_RESERVED = re.compile(r"Waiting: .*? of which 1 run has reserved .*?\(account \S+\)\.")
_RELEASE_SAYS = re.compile(r"Released \$\S+ after \S+")
_REPORT_SAYS = re.compile(r"\d+ answers: .*? left\.")

NEXT_AFTER_SANDBOX = f"""
Next:
  make airflow                  leaves this Airflow running, to click through: see Credits in its navigation
  {KEY_VARIABLE}=... make demo     opens a gate with your own account, and spends nothing
  README.md                     puts the gate into your own DAG
"""
NEXT_AFTER_YOU = """
Next:
  make airflow                  leaves an Airflow running with a sandbox, to click through
  README.md                     puts the gate into your own DAG
"""


@dataclass
class GateRun:
    """
    One run of an example in an Airflow.

    :param airflow: where it runs.
    :param dag_id: the example.
    :param name: the run's id.
    :param conf: the run's parameters, where they differ from the example's own.
    """

    airflow: LocalAirflow
    dag_id: str
    name: str
    conf: Mapping[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        """Start the run as soon as Airflow has read the DAG."""
        self.airflow.wait_for_dag(self.dag_id)
        self.airflow.trigger(self.dag_id, self.conf, self.name)

    def wait_for_gate(self, state: str) -> None:
        """
        Wait until the gate is in a state.

        :param state: the state; ending in another one is an error.
        """
        self.airflow.wait_for_task(self.dag_id, self.name, GATE, state)

    def has_opened(self) -> bool:
        """Return whether the gate has opened."""
        return self.airflow.task_states(self.dag_id, self.name).get((GATE, -1)) == "success"

    def finish(self) -> None:
        """Wait for the end; it is an error unless every task succeeds."""
        self.airflow.wait_for_run(self.dag_id, self.name, "success")
        states = self.airflow.task_states(self.dag_id, self.name)
        if set(states.values()) != {"success"}:
            raise LocalAirflowError(f"not every task ended in success: {states}")

    def said(self, task_id: str, sentence: re.Pattern[str]) -> str:
        """
        Return the last sentence of a kind in a task's log.

        :param task_id: the task.
        :param sentence: what to search for.
        """
        found = self.airflow.wait_until(
            f"a line like {sentence.pattern!r} in the log of {task_id}",
            lambda: sentence.findall(self.airflow.task_log(self.dag_id, self.name, task_id)),
            bool,
        )
        return str(found[-1])


def show_with_sandbox(story: Story) -> None:
    """
    Hold two runs, top up the account for one of them, and let them through one after the other.

    :param story: prints what happens.
    """
    with Sandbox(TOO_LITTLE_USD) as sandbox:
        story.tell(f"A You.com sandbox runs on this machine; its account holds {held(sandbox)}.")
        with new_airflow(story, connections_with_ledger(sandbox)) as airflow:
            story.tell(f"Watch who waits and who holds credits: {airflow.base_url}/plugin/youcom-credits")
            runs = [GateRun(airflow, RESERVING_DAG, name) for name in ("run_a", "run_b")]
            hold(story, runs)
            sandbox.top_up(TOP_UP_USD)
            story.tell(
                f"Somebody tops up the account with ${TOP_UP_USD}; it now holds {held(sandbox)}, enough for "
                "one run."
            )
            let_through(story, runs, sandbox)
    story.tell("Airflow and the sandbox are stopped; every task ended in success.")
    print(NEXT_AFTER_SANDBOX)


def hold(story: Story, runs: list[GateRun]) -> None:
    """
    Start runs, and wait until their gates wait.

    :param story: prints what happens.
    :param runs: the runs.
    """
    with story.waiting(f"Starting two runs of {RESERVING_DAG}, which need $25 each"):
        for run in runs:
            run.start()
        for run in runs:
            run.wait_for_gate("deferred")
    story.tell(
        "Both gates wait in the triggerer; they hold no worker, and nothing is spent.",
        runs[0].said(GATE, _GATE_SAYS),
    )


def let_through(story: Story, runs: list[GateRun], sandbox: Sandbox) -> None:
    """
    Wait until one run has spent and released its credits, and then the other one.

    :param story: prints what happens.
    :param runs: two runs, whose gates wait.
    :param sandbox: their account, which can pay for one of them.
    """
    with story.waiting("The gates check again every 5 s"):
        opened = runs[0].airflow.wait_until(
            "an open gate", lambda: [run for run in runs if run.has_opened()], bool
        )
    first, second = opened[0], runs[1 - runs.index(opened[0])]
    story.tell(f"The gate of {first.name} opens, and reserves the $25.", first.said(GATE, _GATE_SAYS))
    story.tell(f"The gate of {second.name} stays shut.", second.said(GATE, _GATE_SAYS_RESERVED))
    with story.waiting(f"{first.name} asks paid questions"):
        first.finish()
    story.tell(
        f"{first.name} has paid for its answers, and released what it had reserved.",
        first.said(RELEASE, _RELEASE_SAYS),
    )
    with story.waiting(f"The gate of {second.name} checks again every 5 s"):
        second.wait_for_gate("success")
    story.tell(f"Now the gate of {second.name} opens.", second.said(GATE, _GATE_SAYS))
    with story.waiting(f"{second.name} asks paid questions"):
        second.finish()
    story.tell(f"{second.name} is done too, and the account holds {held(sandbox)}.")


def connections_with_ledger(sandbox: Sandbox) -> dict[str, str]:
    """
    Return the connections to a sandbox and to a ledger in the demo's home, as environment variables.

    :param sandbox: the sandbox.
    """
    you_com = json.loads(sandbox.connection())
    you_com["extra"] = {**json.loads(you_com["extra"]), "ledger_conn_id": LEDGER}
    ledger = {"conn_type": "sqlite", "host": str(HOME / "ledger.db")}
    return {
        "AIRFLOW_CONN_YOUCOM_DEFAULT": json.dumps(you_com),
        f"AIRFLOW_CONN_{LEDGER.upper()}": json.dumps(ledger),
    }


def show_with_key(story: Story, api_key: str, base_url: str) -> None:
    """
    Let the pipeline run on a real account, without a call that costs credits.

    :param story: prints what happens.
    :param api_key: the account's key.
    :param base_url: where You.com is.
    """
    balance = BillingClient(api_key, base_url, conn_name=KEY_VARIABLE).get_balance()
    story.tell(f"{base_url} knows the key in {KEY_VARIABLE}.", f"{balance}")
    if balance.balance_usd < 0:
        raise LocalAirflowError("The account is overdrawn, and even a gate of $0 stays shut: top it up.")
    connection = {"conn_type": "youcom", "host": base_url, "password": api_key.strip()}
    with new_airflow(story, {"AIRFLOW_CONN_YOUCOM_DEFAULT": json.dumps(connection)}) as airflow:
        run = GateRun(airflow, CHECKING_DAG, "run_a", {"min_usd": 0, "questions": []})
        with story.waiting(f"Running the DAG {CHECKING_DAG} with a gate of $0 and no questions"):
            run.start()
            run.finish()
        story.tell("The gate is open.", run.said(GATE, _GATE_SAYS))
        story.tell(
            "The task research had nothing to ask, and report says by how much the balance fell.",
            run.said("report", _REPORT_SAYS),
        )
    story.tell("Airflow is stopped; every task ended in success.")
    print(NEXT_AFTER_YOU)


def held(sandbox: Sandbox) -> str:
    """
    Show what the sandbox's account holds.

    :param sandbox: the sandbox.
    """
    return format_usd(sandbox.balance_usd())


def new_airflow(story: Story, connections: Mapping[str, str]) -> LocalAirflow:
    """
    Start a private Airflow that knows the examples and some connections.

    :param story: prints what happens.
    :param connections: environment variables.
    """
    shutil.rmtree(HOME, ignore_errors=True)
    airflow = LocalAirflow(HOME, PROJECT / "example_dags", environment=connections)
    with story.waiting(f"Starting a private Airflow {airflow.version}, some 30 s"):
        airflow.start()
    story.tell(f"Airflow {airflow.version} runs: {', '.join(airflow.components)}.")
    return airflow


def main() -> int:
    """Run the demo, and return 0 if everything worked."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--base-url", default=DEFAULT_BASE_URL, help=f"where {KEY_VARIABLE} is sent to")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    story = Story()
    api_key = os.environ.get(KEY_VARIABLE, "")
    try:
        if api_key.strip():
            show_with_key(story, api_key, options.base_url)
        else:
            show_with_sandbox(story)
    except (YouComError, LocalAirflowError) as error:
        print(f"\nThe demo ended early. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo was interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
