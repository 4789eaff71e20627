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

from airflow_provider_youcom.billing._base_url import DEFAULT_BASE_URL
from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.money import format_usd
from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow, LocalAirflowError
from dev.story import Story

PROJECT = Path(__file__).parents[1]
HOME = PROJECT / "build" / "demo"
DAG_ID = "example_youcom_preflight_gate"
TASKS = ("enough_credit", "research", "report")
TOO_LITTLE_USD = "3.20"
TOP_UP_USD = 25
KEY_VARIABLE = "YDC_API_KEY"

_GATE_SAYS = re.compile(r"You\.com account \S+ holds .*? that this gate needs\.")
_REPORT_SAYS = re.compile(r"\d+ answers: .*? left\.")

NEXT_AFTER_SANDBOX = f"""
Next:
  make airflow                  leaves this Airflow running, to click through
  {KEY_VARIABLE}=... make demo     does the same with your own account, and spends nothing
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
    One run of the example in an Airflow.

    :param airflow: where it runs.
    :param conf: the run's parameters, where they differ from the example's own.
    """

    airflow: LocalAirflow
    conf: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""

    def start(self) -> None:
        """Start the run as soon as Airflow has read the DAG."""
        self.airflow.wait_for_dag(DAG_ID)
        self.run_id = self.airflow.trigger(DAG_ID, self.conf)

    def wait_for(self, task_id: str, state: str) -> None:
        """
        Wait until a task is in a state.

        :param task_id: the task.
        :param state: the state; ending in another one is an error.
        """
        self.airflow.wait_for_task(DAG_ID, self.run_id, task_id, state)

    def finish(self) -> None:
        """Wait for the end; anything but success of every task is an error."""
        self.airflow.wait_for_run(DAG_ID, self.run_id, "success")
        states = self.airflow.task_states(DAG_ID, self.run_id)
        unlike = {task_id: states.get((task_id, -1)) for task_id in TASKS}
        if set(unlike.values()) != {"success"}:
            raise LocalAirflowError(f"not every task ended in success: {unlike}")

    def said(self, task_id: str, sentence: re.Pattern[str]) -> str:
        """
        Give the last sentence of a kind in a task's log.

        :param task_id: the task.
        :param sentence: what to look for.
        """
        found = self.airflow.wait_until(
            f"a line like {sentence.pattern!r} in the log of {task_id}",
            lambda: sentence.findall(self.airflow.task_log(DAG_ID, self.run_id, task_id)),
            bool,
        )
        return str(found[-1])


def show_with_sandbox(story: Story) -> None:
    """
    Hold the pipeline, top up the account, and let it through.

    :param story: where it is told.
    """
    with Sandbox(TOO_LITTLE_USD) as sandbox:
        story.tell(f"A You.com sandbox runs on this machine; its account holds {held(sandbox)}.")
        with new_airflow(story, sandbox.connection()) as airflow:
            run = GateRun(airflow)
            with story.waiting(f"Starting the DAG {DAG_ID}"):
                run.start()
                run.wait_for("enough_credit", "deferred")
            story.tell(
                "The gate enough_credit waits in the triggerer; no worker is held, and nothing is spent.",
                run.said("enough_credit", _GATE_SAYS),
            )
            sandbox.top_up(TOP_UP_USD)
            story.tell(f"Somebody tops up the account with ${TOP_UP_USD}; it now holds {held(sandbox)}.")
            with story.waiting("The gate looks again every 10 s"):
                run.wait_for("enough_credit", "success")
            story.tell("The gate is open.", run.said("enough_credit", _GATE_SAYS))
            with story.waiting("The task research asks paid questions"):
                run.finish()
            story.tell(
                "The task research has asked its questions, and report says by how much the balance fell.",
                run.said("report", _REPORT_SAYS),
            )
    story.tell("Airflow and the sandbox are stopped; every task ended in success.")
    print(NEXT_AFTER_SANDBOX)


def show_with_key(story: Story, api_key: str, base_url: str) -> None:
    """
    Let the pipeline through on a real account, and ask nothing that costs.

    :param story: where it is told.
    :param api_key: the account's key.
    :param base_url: where You.com is.
    """
    balance = BillingClient(api_key, base_url, key_name=KEY_VARIABLE).get_balance()
    story.tell(f"{base_url} knows the key in {KEY_VARIABLE}.", f"{balance}")
    if balance.balance_usd < 0:
        raise LocalAirflowError("The account is overdrawn, and even a gate of $0 stays shut: top it up.")
    connection = {"conn_type": "youcom", "host": base_url, "password": api_key.strip()}
    with new_airflow(story, json.dumps(connection)) as airflow:
        run = GateRun(airflow, {"min_usd": 0, "questions": []})
        with story.waiting(f"Running the DAG {DAG_ID} with a gate of $0 and no questions"):
            run.start()
            run.finish()
        story.tell("The gate is open.", run.said("enough_credit", _GATE_SAYS))
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


def new_airflow(story: Story, connection: str) -> LocalAirflow:
    """
    Start a private Airflow that knows the examples and one connection.

    :param story: where it is told.
    :param connection: the connection ``youcom_default``, as JSON.
    """
    shutil.rmtree(HOME, ignore_errors=True)
    airflow = LocalAirflow(
        HOME, PROJECT / "example_dags", environment={"AIRFLOW_CONN_YOUCOM_DEFAULT": connection}
    )
    with story.waiting(f"Starting a private Airflow {airflow.version}, some 30 s"):
        airflow.start()
    story.tell(f"Airflow {airflow.version} runs: {', '.join(airflow.components)}.")
    return airflow


def main() -> int:
    """Run the demo, and tell by the exit status whether all went as it should."""
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
