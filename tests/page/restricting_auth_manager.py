"""An auth manager with a user who may read one DAG only."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

from tests.page.conftest import READABLE_DAG


class RestrictingAuthManager(SimpleAuthManager):
    """Lets the user ``restricted`` read one DAG, and all others what their roles allow."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **others: Any) -> bool:
        """Return whether a user may do something with a DAG."""
        if user.username == "restricted" and (details is None or details.id != READABLE_DAG):
            return False
        return super().is_authorized_dag(user=user, details=details, **others)
