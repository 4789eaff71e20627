"""What Airflow would know of a task."""

from __future__ import annotations

import pytest

from airflow_provider_youcom import _airflow


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's Variable needs a task; the tests in real Airflow have one."""
    monkeypatch.setattr(_airflow, "_deployment_id", lambda: "deployment")
