"""
Leave a whole Airflow running to click through: the examples, their connections, and a You.com sandbox.

Run it with ``make airflow``.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_youcom._deployment import DEPLOYMENT_VARIABLE
from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.sandbox import Sandbox
from dev.ledger_history import add_history
from dev.local_airflow import LocalAirflow, LocalAirflowError
from dev.story import Story

PROJECT = Path(__file__).parents[1]
HOME = PROJECT / "build" / "airflow"
EXAMPLES = PROJECT / "example_dags"
# The keys of the sandbox behind the connections that the examples name, and what their accounts hold.
ACCOUNTS = {
    "youcom_default": ("default-key", "3.20"),
    "youcom_research": ("research-key", "80"),
    "youcom_support": ("support-key", "12.50"),
}
LEDGER = "youcom_ledger"
DEPLOYMENT = "make-airflow"
RESERVING = "example_youcom_reserved_run"
# The DAGs of the made-up month: nightly, daily and weekly.
HAVE_RUN = (RESERVING, "example_youcom_preflight_gate", "example_youcom_backlog")

WELCOME = """
  Airflow     {airflow}   (nobody has to log in)
  You.com     {sandbox}   (a sandbox; {connections} lead there)

  Two runs of example_youcom_reserved_run wait: each needs $25, and the account holds $3.20.
  Top it up, and one of them reserves its $25 within 10 s. The other one goes on waiting:

    curl -d '{{"usd": "25"}}' {sandbox}/sandbox/top-up

  Open Credits in the navigation, and watch them there: {airflow}/plugin/youcom-credits

  Trigger example_youcom_preflight_gate: its gate only looks, and reserves nothing.

  Ctrl-C stops it all. The next `make airflow` starts afresh.
"""


def add_connections(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    """
    Add the connections where the UI shows them.

    :param airflow: the Airflow, without these connections.
    :param sandbox: the You.com that they connect to.
    """
    for connection_id, (api_key, _) in ACCOUNTS.items():
        connection = json.loads(sandbox.connection(api_key))
        extra = {**json.loads(connection["extra"]), "ledger_conn_id": LEDGER}
        airflow.add_connection(connection_id, {**connection, "extra": json.dumps(extra)})
    airflow.add_connection(LEDGER, {"conn_type": "sqlite", "host": str(airflow.home / "ledger.db")})


def add_month(airflow: LocalAirflow, sandbox: Sandbox) -> None:
    """
    Add a made-up month to the ledger, so that the credits page has something to show at once.

    :param airflow: the Airflow, before its first gate reserves.
    :param sandbox: the You.com whose first account has had that month.
    """
    # Airflow would make an id only at the first reservation, and the month's runs need it.
    airflow.cli("variables", "set", DEPLOYMENT_VARIABLE, DEPLOYMENT)
    conn_id, (api_key, _) = next(iter(ACCOUNTS.items()))
    balance = BillingClient(api_key, sandbox.base_url, conn_name=conn_id).get_balance()
    engine = sa.create_engine(f"sqlite:///{airflow.home / 'ledger.db'}")
    add_history(Ledger(engine), balance, DEPLOYMENT, HAVE_RUN)
    engine.dispose()


def serve(story: Story) -> None:
    """
    Start everything, and keep it running until it is interrupted.

    :param story: prints what happens.
    """
    (default_key, default_usd), *others = ACCOUNTS.values()
    with Sandbox(default_usd, api_key=default_key, accounts=dict(others)) as sandbox:
        shutil.rmtree(HOME, ignore_errors=True)
        airflow = LocalAirflow(HOME, EXAMPLES)
        with story.waiting(f"Starting a private Airflow {airflow.version}, some 30 s"):
            airflow.start()
        with airflow:
            add_connections(airflow, sandbox)
            with story.waiting("Making up a month of spending"):
                add_month(airflow, sandbox)
            with story.waiting("Reading the examples"):
                for example in sorted(EXAMPLES.glob("*.py")):
                    airflow.wait_for_dag(example.stem)
            for run_id in ("run_a", "run_b"):
                airflow.trigger(RESERVING, run_id=run_id)
            story.tell("All of it runs.")
            connections = ", ".join(ACCOUNTS)
            print(
                WELCOME.format(airflow=airflow.base_url, sandbox=sandbox.base_url, connections=connections),
                flush=True,
            )
            watch(airflow)


def watch(airflow: LocalAirflow) -> None:
    """
    Wait for an interrupt, or for a part of Airflow that ends by itself.

    :param airflow: the Airflow, running.
    """
    clock = threading.Event()
    while not clock.wait(1):
        if trouble := airflow.trouble():
            raise LocalAirflowError(trouble)


def main() -> int:
    """Serve until interrupted, and return 0 if nothing failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(Story())
    except LocalAirflowError as error:
        print(f"\nAirflow ended early. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nAirflow and the sandbox are stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
