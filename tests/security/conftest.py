"""What was searched for the key, printed at the end of the run."""

from __future__ import annotations

import pytest

from tests.security.search import SUMMARY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(SUMMARY, [])
    if lines:
        terminalreporter.section("the key is invisible")
    for line in lines:
        terminalreporter.write_line(line)
