"""The commands as users type them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version

import pytest

from airflow_provider_youcom import __main__ as module
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.sandbox import Sandbox

Command = Callable[..., str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str, answer: str = "") -> str:
        monkeypatch.setattr(sys, "argv", ["youcom", *arguments])
        monkeypatch.setattr("builtins.input", lambda question: answer)
        # Airflow 2 logs the actions of the test itself to standard output.
        capsys.readouterr()
        module.main()
        return capsys.readouterr().out

    return run


def reserve_for(run: str, usd: str, dag_id: str = "pipeline") -> str:
    attempt = Attempt(Holder("production", dag_id, run, "gate"), f"{dag_id} {run}", run)
    claim = Claim(attempt, Decimal(usd))
    decision = YouComHook().ledger.reserve(claim, YouComHook().get_balance, settle_seconds=0)
    assert decision.reservation is not None
    return decision.reservation.id


def test_balance_shows_what_is_available(ledger: Ledger, command: Command):
    reserve_for("monday", "30.25")
    (row,) = json.loads(command("balance", "--output", "json"))
    assert (row["balance_usd"], row["reserved_usd"], row["available_usd"]) == ("100", "30.25", "69.75")


def test_balance_works_without_a_ledger(sandbox: Sandbox, command: Command):
    (row,) = json.loads(command("balance", "--output", "json"))
    assert (row["balance_usd"], row["reserved_usd"], row["available_usd"]) == ("100", "", "100")


def test_reservations_lists_who_has_reserved(ledger: Ledger, command: Command):
    monday, other = reserve_for("monday", "30"), reserve_for("monday", "10", dag_id="other")
    rows = json.loads(command("reservations", "--output", "json"))
    assert [(row["id"], row["usd"], row["dag_id"]) for row in rows] == [
        (monday, "30", "pipeline"),
        (other, "10", "other"),
    ]
    rows = json.loads(command("reservations", "--dag-id", "other", "--output", "json"))
    assert [row["id"] for row in rows] == [other]
    assert monday in command("reservations")


def test_reservations_lists_the_ended_ones_with_their_reason(ledger: Ledger, command: Command):
    ledger.end([reserve_for("monday", "30")], EndReason.RELEASED, by="release_gate")
    assert json.loads(command("reservations", "--output", "json")) == []
    (row,) = json.loads(command("reservations", "--ended", "--output", "json"))
    assert (row["end_reason"], row["ended_by"]) == ("released", "release_gate")


@pytest.mark.parametrize("answer", ["y", "Y", " y "])
def test_release_ends_reservations_once_confirmed(ledger: Ledger, command: Command, answer: str):
    monday = reserve_for("monday", "30")
    said = command("release", monday, answer=answer)
    assert "$30 for task gate of run monday in DAG pipeline, since" in said
    assert "Ended 1." in said
    (ended,) = ledger.get([monday])
    assert ended.end_reason is EndReason.BY_HAND


@pytest.mark.parametrize("answer", ["", "n", "yes please not"])
def test_release_ends_nothing_unless_confirmed(ledger: Ledger, command: Command, answer: str):
    monday = reserve_for("monday", "30")
    with pytest.raises(SystemExit, match="Nothing was ended"):
        command("release", monday, answer=answer)
    assert ledger.get([monday])[0].stands


def test_release_does_not_ask_with_the_option_yes(ledger: Ledger, command: Command):
    command("release", "--yes", reserve_for("monday", "30"), answer="n")
    assert ledger.standing() == []


def test_release_ends_nothing_if_one_of_the_ids_is_wrong(ledger: Ledger, command: Command):
    monday = reserve_for("monday", "30")
    with pytest.raises(SystemExit, match="No standing reservation has the id wrong, so nothing was ended"):
        command("release", "--yes", monday, "wrong")
    assert ledger.get([monday])[0].stands


def test_an_error_is_one_sentence_without_a_traceback(sandbox: Sandbox, command: Command):
    with pytest.raises(SystemExit, match="^Reserving credits needs a ledger, and connection"):
        command("reservations")


@pytest.mark.airflow_process
def test_airflow_has_the_commands_too_where_it_reads_them_from_providers(sandbox: Sandbox):
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "youcom", "balance", "--output", "json"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if tuple(map(int, version("apache-airflow").split(".")[:2])) < (3, 2):
        assert done.returncode != 0
        return
    # On Python 3.14, Airflow itself warns on standard output while it starts.
    assert json.loads(done.stdout.splitlines()[-1])[0]["balance_usd"] == "100"
