"""The host name of an :class:`~dev.airflow_machine.AirflowMachine`, on the path of its processes alone."""

from __future__ import annotations

import os


def private_host_name() -> str:
    """Return the name that this machine was given."""
    return os.environ["PRIVATE_HOST_NAME"]
