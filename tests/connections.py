"""Connections that tests change while they run."""

from __future__ import annotations

import json

import pytest

from airflow_provider_youcom.sandbox import Sandbox


def connect(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, **extra: object) -> None:
    """Make the sandbox the connection ``youcom_default``, with this extra."""
    connection = {**json.loads(sandbox.connection()), "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps(connection))
