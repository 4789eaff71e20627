"""Test the provider that is installed; only what is not installed comes out of this folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent
# Behind site-packages, where a wheel is: the tests import dev, benchmarks and one another from here.
sys.path.append(str(PROJECT))

import airflow_provider_youcom  # noqa: E402 - found by the path above, if nowhere else

PROVIDER = Path(airflow_provider_youcom.__file__).parent


def pytest_report_header() -> str:
    """Say which provider is tested."""
    return f"airflow-provider-youcom: {airflow_provider_youcom.__version__} from {PROVIDER}"


def pytest_configure() -> None:
    """Refuse to test these sources in place of the wheel."""
    if "TEST_INSTALLED_PROVIDER" in os.environ and PROVIDER.parent == PROJECT:
        raise pytest.UsageError(f"{PROVIDER} is not the installed provider: run pytest, not python -m pytest")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use Airflow's metadata database, since a process of Airflow creates it."""
    for item in items:
        if "airflow_database" in getattr(item, "fixturenames", ()):
            item.add_marker("airflow_process")
