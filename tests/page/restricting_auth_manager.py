"""An auth manager with a user who may read one DAG only, and one who may read no runs."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

from tests.page.conftest import READABLE_DAG


class RestrictingAuthManager(SimpleAuthManager):
    """
    Lets the user ``restricted`` read one DAG, and ``without_runs`` no runs.

    All others may read what their roles allow.
    """

    def is_authorized_dag(self, *, user: Any, details: Any = None, **others: Any) -> bool:
        """Return whether a user may do something with a DAG."""
        if user.username == "without_runs" and others.get("access_entity") is DagAccessEntity.RUN:
            return False
        if user.username == "restricted" and (details is None or details.id != READABLE_DAG):
            return False
        return super().is_authorized_dag(user=user, details=details, **others)
