"""The links on a task's page."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_youcom.exceptions import PLATFORM_URL


class TopUpCreditsLink(BaseOperatorLink):
    """Link to the page where credits are bought and keys are created."""

    name = "Top up credits"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """
        Return the URL, which is the same for every task.

        :param operator: the task.
        :param ti_key: the task instance.
        """
        return PLATFORM_URL
