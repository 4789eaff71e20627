"""Run the commands in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from airflow_provider_youcom import __main__ as module
from tests.cli.as_a_user import Command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run one command and return what it prints; ``answer`` returns what the user types."""

    def run(*arguments: str, answer: Callable[[], str] = str) -> str:
        monkeypatch.setattr(sys, "argv", ["youcom", *arguments])
        monkeypatch.setattr("builtins.input", lambda question: answer())
        # Airflow 2 logs the actions of the test itself to standard output.
        capsys.readouterr()
        module.main()
        return capsys.readouterr().out

    return run
