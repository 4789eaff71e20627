"""Run the tests on the sources, or on the built wheel where that is wanted, and in several processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parent
# Behind site-packages, where a wheel is: the tests import dev, benchmarks and one another from here.
sys.path.append(str(PROJECT))

import airflow_provider_youcom  # noqa: E402 - found by the path above, if nowhere else

PROVIDER = Path(airflow_provider_youcom.__file__).parent
# All tests of this folder share one Airflow.
ONE_AIRFLOW = "tests/real_airflow/"
LONGEST_FIRST = ["real_airflow", "airflow_process", "long"]


def pytest_report_header() -> str:
    """Say which provider is tested."""
    return f"airflow-provider-youcom: {airflow_provider_youcom.__version__} from {PROVIDER}"


def pytest_configure() -> None:
    """Refuse to test these sources in place of the wheel."""
    if "TEST_INSTALLED_PROVIDER" in os.environ and PROVIDER.parent == PROJECT:
        raise pytest.UsageError(f"{PROVIDER} is not the installed provider: run pytest, not python -m pytest")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each process a file of tests at a time."""
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return ONE_AIRFLOW if nodeid.startswith(ONE_AIRFLOW) else nodeid.partition("::")[0]

    return Files(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use Airflow's metadata database, and put the files that take longest first."""
    for item in items:
        # A process of Airflow creates the database.
        if "airflow_database" in getattr(item, "fixturenames", ()):
            item.add_marker("airflow_process")
    rank: dict[Path, int] = {}
    for item in items:
        rank[item.path] = min(rank.get(item.path, len(LONGEST_FIRST)), _rank(item))
    items.sort(key=lambda item: rank[item.path])


def _rank(item: pytest.Item) -> int:
    marks = [mark.name for mark in item.iter_markers()]
    return next((rank for rank, name in enumerate(LONGEST_FIRST) if name in marks), len(LONGEST_FIRST))
