"""Rows are printed letter for letter, in each format, in a pipe and in a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
import yaml

from airflow_provider_youcom._cli.printing import print_rows
from airflow_provider_youcom.ledger.ledger import Ledger
from tests.cli.as_a_user import in_a_terminal, reserve_for

Rows = list[dict[str, str]]

ID = "0f3c9a5e7b1d4c2e8a6f0b9d3e5c7a1f"
LONG_RUN_ID = f"scheduled__2026-11-27T00:00:00+00:00_{'x' * 300}"
TEXTS = [
    "7189250",
    "0.00001",
    "1e5",
    "007",
    "[red]x[/]",
    "[/]",
    "[bold",
    ":smile:",
    "true",
    "null",
    "12:30",
    "a run with spaces",
    "中文",
    LONG_RUN_ID,
]


def from_columns(text: str, between: str) -> Rows:
    header, *lines = (re.split(between, line.strip()) for line in text.splitlines() if line.strip(" =+"))
    return [dict(zip(header, cells, strict=True)) for cells in lines]


def unquoted_yaml_values(text: str) -> list[str]:
    return re.findall(r": ([^\"].*)$", text, re.MULTILINE)


READERS: dict[str, Callable[[str], Rows]] = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "plain": lambda text: from_columns(text, r"  +"),
    "table": lambda text: from_columns(text, r" +\| +"),
}


@pytest.mark.parametrize("output", READERS)
@pytest.mark.parametrize("columns", ["20", "80", "1000"])
def test_each_format_keeps_every_text(
    output: str, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", columns)
    rows = [{"id": ID, "usd": text, "dag_id": text, "run_id": text} for text in TEXTS]
    print_rows(rows, output)
    assert READERS[output](capsys.readouterr().out) == rows


def test_yaml_quotes_every_value_since_readers_disagree_about_numbers(capsys: pytest.CaptureFixture[str]):
    print_rows([{"id": ID, "dag_id": "1e5", "run_id": "x"}], "yaml")
    assert unquoted_yaml_values(capsys.readouterr().out) == []


@pytest.mark.parametrize("output", ["plain", "table"])
def test_a_line_break_or_a_control_character_does_not_break_a_row(
    output: str, capsys: pytest.CaptureFixture[str]
):
    print_rows([{"id": ID, "run_id": "a\nb\x1b[31m\tc"}], output)
    assert READERS[output](capsys.readouterr().out) == [{"id": ID, "run_id": r"a\nb\x1b[31m\tc"}]


@pytest.mark.parametrize("terminal", ["dumb", "xterm"])
def test_colours_in_a_pipe_do_not_split_an_id(
    terminal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", terminal)
    print_rows([{"run_id": LONG_RUN_ID, "id": ID}], "table")
    assert re.search(f"{re.escape(LONG_RUN_ID)} .*{ID}", capsys.readouterr().out)


@pytest.mark.parametrize("output", READERS)
def test_nothing_to_list_is_no_error(output: str, capsys: pytest.CaptureFixture[str]):
    print_rows([], output)
    said = capsys.readouterr().out.strip()
    assert said == ("[]" if output in {"json", "yaml"} else "No data found")


@pytest.mark.on_the_ends
@pytest.mark.airflow_process
def test_a_terminal_of_80_columns_shows_lists_in_place_of_a_wide_table(ledger: Ledger):
    monday, tuesday = reserve_for("monday", "30"), reserve_for("tuesday", "7.5")
    with in_a_terminal("reservations") as terminal:
        first, second = terminal.read_to_the_end().strip().split("\n\n")
    assert first.splitlines()[:2] == [f"id            {monday}", "usd           30"]
    assert second.splitlines()[:2] == [f"id            {tuesday}", "usd           7.5"]
    assert "run_id        tuesday" in second
    assert max(len(line) for line in [*first.splitlines(), *second.splitlines()]) <= 80
