"""The id of the deployment: made once, by many tasks at once, through every failure, and never replaced."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from airflow_provider_youcom import _deployment
from airflow_provider_youcom._deployment import CANDIDATE_VARIABLE, DEPLOYMENT_VARIABLE, deployment_id
from tests.airflow_task import in_a_task


def test_a_try(airflow_database: None, monkeypatch):
    monkeypatch.setattr(_deployment, "UNCHANGED_FOR", 0.5)
    monkeypatch.setattr(_deployment, "LOOK_EVERY", 0.1)
    with in_a_task():
        first = deployment_id()
        assert deployment_id() == first
        print(first)
