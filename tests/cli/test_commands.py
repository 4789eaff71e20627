"""The commands as users type them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pytest

from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.sandbox import Sandbox
from tests.cli.as_a_user import YOUCOM, Command, in_a_terminal, reserve_for
from tests.connections import connect

NOBODY_ANSWERED = "Nothing was ended, since nobody answered: run the command in a terminal, or add --yes."
# Python's getpass reads them in this order.
NAMES_OF_THE_USER = {"LOGNAME", "USER", "LNAME", "USERNAME"}


def test_balance_shows_what_is_available(ledger: Ledger, command: Command):
    reserve_for("monday", "30.25")
    (row,) = json.loads(command("balance", "--output", "json"))
    assert (row["balance_usd"], row["reserved_usd"], row["available_usd"]) == ("100", "30.25", "69.75")


def test_balance_stores_what_it_reads(ledger: Ledger, sandbox: Sandbox, command: Command):
    sandbox.set_balance("71.25")
    command("balance")
    (account_id,) = ledger.accounts.ids()
    assert ledger.accounts.overview(account_id).readings[-1].balance_usd == Decimal("71.25")


def test_balance_works_without_a_ledger(sandbox: Sandbox, command: Command):
    (row,) = json.loads(command("balance", "--output", "json"))
    assert (row["balance_usd"], row["reserved_usd"], row["available_usd"]) == ("100", "", "100")


@pytest.mark.parametrize(
    ("ledger_connection", "reason"),
    [
        ({"conn_type": "postgres", "host": "127.0.0.1", "port": 1}, "What is reserved is unknown"),
        ({"conn_type": "mysql", "host": "127.0.0.1"}, "use one of type sqlite"),
        (None, "There is no connection 'ledger'"),
    ],
)
def test_balance_is_shown_although_the_ledger_cannot_be_read(
    sandbox: Sandbox,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ledger_connection: dict[str, object] | None,
    reason: str,
):
    connect(monkeypatch, sandbox, ledger_conn_id="ledger")
    if ledger_connection:
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(ledger_connection))
    with pytest.raises(SystemExit, match=reason):
        command("balance", "--output", "json")
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["balance_usd"], row["reserved_usd"], row["available_usd"]) == ("100", "", "")


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


def test_reservations_of_scripts_are_those_of_no_dag(ledger: Ledger, command: Command):
    reserve_for("monday", "30")
    script = reserve_for("host:4711", "10", dag_id="")
    rows = json.loads(command("reservations", "--dag-id", "", "--output", "json"))
    assert [row["id"] for row in rows] == [script]


def test_reservations_lists_an_ended_one_as_long_as_it_counts(ledger: Ledger, command: Command):
    standing = reserve_for("monday", "30")
    counting = reserve_for("tuesday", "20", settle_seconds=3600)
    (ended,) = ledger.end([counting], EndReason.RELEASED, by="release_gate")
    ledger.end([reserve_for("sunday", "10")], EndReason.RELEASED, by="release_gate")
    rows = json.loads(command("reservations", "--output", "json"))
    until = ended.counts_until.isoformat(timespec="seconds")
    assert [(row["id"], row["counts_until"]) for row in rows] == [(standing, ""), (counting, until)]
    (balance,) = json.loads(command("balance", "--output", "json"))
    assert balance["reserved_usd"] == "50"


def test_reservations_lists_the_ended_ones_with_their_reason(ledger: Ledger, command: Command):
    ledger.end([reserve_for("monday", "30")], EndReason.RELEASED, by="release_gate")
    assert json.loads(command("reservations", "--output", "json")) == []
    (row,) = json.loads(command("reservations", "--ended", "--output", "json"))
    assert (row["end_reason"], row["ended_by"]) == ("released", "release_gate")


def test_the_list_with_the_ended_ones_leaves_out_nothing_that_counts(ledger: Ledger, command: Command):
    oldest = reserve_for("monday", "30")
    later = [reserve_for(f"run {number}", "0.01") for number in range(100)]
    ledger.end(later, EndReason.RELEASED, by="release_gate")
    rows = json.loads(command("reservations", "--ended", "--output", "json"))
    assert {row["id"] for row in rows} == {oldest, *later}
    assert rows[0]["id"] == oldest


@pytest.mark.parametrize("answer", ["y", "Y", " y "])
def test_release_ends_reservations_once_confirmed(ledger: Ledger, command: Command, answer: str):
    monday = reserve_for("monday", "30")
    said = command("release", monday, answer=lambda: answer)
    assert "$30 for task gate of run monday in DAG pipeline, since" in said
    assert "Ended 1." in said
    (ended,) = ledger.get([monday])
    assert ended.end_reason is EndReason.BY_HAND


@pytest.mark.parametrize("answer", ["", "n", "yes please not"])
def test_release_ends_nothing_unless_confirmed(ledger: Ledger, command: Command, answer: str):
    monday = reserve_for("monday", "30")
    with pytest.raises(SystemExit, match="Nothing was ended"):
        command("release", monday, answer=lambda: answer)
    assert ledger.get([monday])[0].stands


def test_release_does_not_ask_with_the_option_yes(ledger: Ledger, command: Command):
    command("release", "--yes", reserve_for("monday", "30"), answer=lambda: "n")
    assert ledger.standing() == []


def test_release_takes_the_first_characters_of_an_id(ledger: Ledger, command: Command):
    monday = reserve_for("monday", "30")
    said = command("release", "--yes", monday[:4], f" {monday[:9]} ", monday)
    assert said.count(f"{monday}: $30 for task gate of run monday in DAG pipeline") == 1
    assert "Ended 1." in said
    assert ledger.standing() == []


def test_release_says_whose_reservation_it_ends_outside_of_a_dag(ledger: Ledger, command: Command):
    script = reserve_for("host:4711", "30", dag_id="", task_id="")
    assert f"{script}: $30 for host:4711, since" in command("release", "--yes", script)


@pytest.mark.parametrize("wrong", ["wrong", "", " ", "%", "_"])
def test_release_ends_nothing_if_one_of_the_ids_is_wrong(ledger: Ledger, command: Command, wrong: str):
    monday = reserve_for("monday", "30")
    with pytest.raises(SystemExit, match="No standing reservation has an id that begins with '.*', so not"):
        command("release", "--yes", monday, wrong)
    assert ledger.get([monday])[0].stands


def test_release_lists_all_that_an_ambiguous_id_may_mean(ledger: Ledger, command: Command):
    # An id begins with one of sixteen characters.
    ids = sorted(reserve_for(f"run {number}", "1") for number in range(17))
    first = next(one[0] for one, another in pairwise(ids) if one[0] == another[0])
    with pytest.raises(SystemExit, match="begin with .*, so nothing was ended: type more") as refused:
        command("release", "--yes", first)
    assert [each in str(refused.value) for each in ids] == [each[0] == first for each in ids]
    assert "\n" not in str(refused.value)
    assert len(ledger.standing()) == 17


def test_release_refuses_an_id_that_may_also_mean_an_ended_one(ledger: Ledger, command: Command):
    ids = sorted(reserve_for(f"run {number}", "1", settle_seconds=3600) for number in range(17))
    ended, standing = next(pair for pair in pairwise(ids) if pair[0][0] == pair[1][0])
    ledger.end([each for each in ids if each != standing], EndReason.RELEASED, by="release_gate")
    with pytest.raises(SystemExit, match=ended):
        command("release", "--yes", standing[0])
    assert ledger.get([standing])[0].stands


def test_release_says_that_a_reservation_has_already_ended(ledger: Ledger, command: Command):
    monday = reserve_for("monday", "30")
    ledger.end([monday], EndReason.RELEASED, by="release_gate")
    with pytest.raises(SystemExit, match=rf"{monday} has already ended \(released, by release_gate\)"):
        command("release", "--yes", monday)


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
def test_release_counts_only_what_it_has_ended_itself(ledger: Ledger):
    monday, tuesday = reserve_for("monday", "30"), reserve_for("tuesday", "20")
    with in_a_terminal("release", monday, tuesday) as terminal:
        terminal.read_until("[y/N]")
        (by_another,) = ledger.end([monday], EndReason.BY_HAND, by="another user")
        terminal.type("y\n")
        said = terminal.read_to_the_end()
    assert "Ended 1. 1 had already ended when you confirmed. What was reserved goes on counting until" in said
    assert ledger.get([monday]) == [by_another]
    (ended,) = ledger.get([tuesday])
    assert f"{ended.counts_until:%F %T}" in said
    assert ended.counts_until - ended.ended_at == timedelta(minutes=2)


def test_release_says_so_if_others_have_ended_everything(ledger: Ledger, command: Command):
    monday = reserve_for("monday", "30")

    def too_late() -> str:
        ledger.end([monday], EndReason.BY_HAND, by="another user")
        return "y"

    said = command("release", monday, answer=too_late)
    assert said.endswith("Ended 0. 1 had already ended when you confirmed.\n")


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
def test_release_ends_nothing_at_ctrl_d(ledger: Ledger):
    monday = reserve_for("monday", "30")
    with in_a_terminal("release", monday) as terminal:
        terminal.read_until("[y/N]")
        terminal.type("\x04")
        shown = terminal.read_to_the_end()
    assert shown.endswith(f"\n{NOBODY_ANSWERED}\n")
    assert "Traceback" not in shown
    assert ledger.get([monday])[0].stands


def test_release_ends_nothing_at_ctrl_c(ledger: Ledger, command: Command):
    monday = reserve_for("monday", "30")

    # Python may miss a key that is typed just after the question, and would wait for another one.
    def interrupted() -> str:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="^Nothing was ended.$"):
        command("release", monday, answer=interrupted)
    assert ledger.get([monday])[0].stands


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
@pytest.mark.parametrize(
    ("redirected", "said"),
    [("</dev/null", NOBODY_ANSWERED), ("<&-", NOBODY_ANSWERED), ("<<< $'\\xff'", "Nothing was ended.")],
)
def test_release_ends_nothing_without_a_terminal(ledger: Ledger, redirected: str, said: str):
    monday = reserve_for("monday", "30")
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {redirected}', "bash", *YOUCOM, "release", monday],
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:strict"},
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (1, f"{said}\n")
    assert ledger.get([monday])[0].stands


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
def test_release_works_for_a_uid_without_a_name(ledger: Ledger):
    if shutil.which("setpriv") is None or os.getuid() != 0:
        pytest.skip("only root can run a process as another uid, with setpriv")
    monday = reserve_for("monday", "30")
    as_uid = ["setpriv", "--reuid=12345", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    nameless = {name: value for name, value in os.environ.items() if name not in NAMES_OF_THE_USER}
    done = subprocess.run(
        [*as_uid, *YOUCOM, "release", "--yes", monday],
        capture_output=True,
        env=nameless,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (ended,) = ledger.get([monday])
    assert ended.end_reason is EndReason.BY_HAND
    assert ended.ended_by is not None
    assert ended.ended_by.startswith("uid 12345@")


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
@pytest.mark.parametrize("output", ["table", "yaml"])
def test_a_reader_that_stops_reading_gets_no_traceback(ledger: Ledger, output: str):
    reserve_for("monday", "30")
    done = subprocess.run(
        ["bash", "-c", '"$@" | true', "bash", *YOUCOM, "reservations", "--output", output],
        capture_output=True,
        # By default, Python writes to a pipe only when it ends.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        text=True,
        timeout=300,
    )
    assert done.stderr == ""


@pytest.mark.airflow_process
def test_standard_output_is_json_alone_whatever_airflow_prints_while_it_is_imported(
    ledger: Ledger, tmp_path: Path
):
    monday = reserve_for("monday", "30")
    Path(tmp_path, "airflow_local_settings.py").write_text("print('These are the settings of our company')")
    done = subprocess.run(
        [*YOUCOM, "reservations", "--output", "json"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        text=True,
        timeout=300,
    )
    assert "These are the settings of our company" in done.stderr
    assert [row["id"] for row in json.loads(done.stdout)] == [monday]


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


def test_waiting_lists_the_line_with_what_each_gate_is_missing(
    ledger: Ledger, sandbox: Sandbox, command: Command
):
    sandbox.set_balance("12.25")
    for run, usd in (("monday", "30"), ("tuesday", "12.5")):
        attempt = Attempt(Holder("production", "pipeline", run, "gate"), run, run)
        ledger.line.join(Claim(attempt, Decimal(usd)), YouComHook().get_balance().account_id, 60)
    first, second = json.loads(command("waiting", "--output", "json"))
    assert first.pop("waits_since").startswith("20")
    assert first == {
        "place": "1",
        "dag_id": "pipeline",
        "run_id": "monday",
        "task_id": "gate",
        "map_index": "-1",
        "needs_usd": "30",
        "missing_usd": "17.75",
        "is_held": "no",
    }
    assert (second["place"], second["run_id"], second["missing_usd"]) == ("2", "tuesday", "0.25")


@pytest.mark.usefixtures("ledger")
def test_waiting_says_when_nobody_is_in_line(command: Command):
    assert command("waiting", "--output", "table").strip() == "No data found"
