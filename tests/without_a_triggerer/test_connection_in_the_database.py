"""``airflow dags test`` of a gate whose connection is in Airflow's database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from airflow.models.connection import Connection
from airflow.providers.common.compat.sdk import BaseOperator
from airflow.utils.session import create_session

from airflow_provider_youcom.sandbox import DEFAULT_API_KEY, Sandbox
from tests.without_a_triggerer.test_without_a_triggerer import SETTINGS

AIRFLOW_2 = BaseOperator.__module__.startswith("airflow.models")
CONN_ID = "in_the_database"
SHORT = "Waiting: $900.00 short of $1,000.00."
pytestmark = [
    pytest.mark.real_airflow,
    pytest.mark.scenario,
    pytest.mark.on_the_ends,
    pytest.mark.timeout(1200),
]


def save_connection(base_url: str) -> None:
    with create_session() as session:
        session.add(Connection(CONN_ID, "youcom", host=base_url, password=DEFAULT_API_KEY))


def remove_connection() -> None:
    with create_session() as session:
        session.execute(sa.delete(Connection).where(Connection.conn_id == CONN_ID))


@contextmanager
def waiting_gate() -> Iterator[subprocess.Popen[str]]:
    """``airflow dags test``, in which a gate has checked three times."""
    with Sandbox(100) as sandbox:
        save_connection(sandbox.base_url)
        command = [sys.executable, "-m", "airflow", "dags", "test", "gate_of_the_database"]
        process = subprocess.Popen(
            command,
            env={**os.environ, **SETTINGS},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout
            seen = ""
            # The first check is a worker's, and the others are those of the wait.
            while seen.count(SHORT) < 3:
                line = process.stdout.readline()
                seen += line
                assert line, seen
            yield process
        finally:
            process.kill()
            process.wait()


def test_the_gate_reads_it_while_it_waits_and_ends_at_once_when_it_is_removed(airflow_database: None):
    with waiting_gate() as process:
        remove_connection()
        said, _ = process.communicate(timeout=600)
    assert f"There is no connection '{CONN_ID}' that Airflow can read: add one of type You.com" in said
    assert "any more" not in said


@pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 itself raises AirflowTaskTerminated")
def test_sigterm_ends_the_wait(airflow_database: None):
    with waiting_gate() as process:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)
    remove_connection()
    assert process.returncode == 128 + signal.SIGTERM
