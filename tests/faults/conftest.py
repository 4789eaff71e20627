"""A network of our own for all tests here, and the table of what was tried printed at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.places import authority
from tests.faults.tally import TALLY, Tally


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return request.config.stash.setdefault(TALLY, Tally())


@pytest.fixture(autouse=True, scope="session")
def network_of_our_own() -> Iterator[None]:
    """No proxy of this machine in the way, and our own authority trusted."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        patch.setenv("REQUESTS_CA_BUNDLE", str(authority().bundle))
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.stash.get(TALLY, None)
    if tally is not None:
        terminalreporter.section("fault matrix")
        for line in tally.lines():
            terminalreporter.write_line(line)
