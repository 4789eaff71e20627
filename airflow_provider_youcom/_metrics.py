"""
Send metrics through Airflow's own ``Stats``, to StatsD, Datadog or OpenTelemetry.

Each is sent twice: under a plain name with the connection as a tag, and, since plain StatsD drops tags, under
a name that contains the connection.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from decimal import Decimal
from typing import Any

log = logging.getLogger(__name__)

OPENED = "gates_opened"
SKIPPED = "gates_skipped"
FAILED = "gates_failed"
CHECK_FAILED = "checks_without_balance"

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")


def count(name: str, youcom_conn_id: object) -> None:
    """
    Increment a counter.

    :param name: the counter.
    :param youcom_conn_id: the connection.
    """
    _send("incr", name, youcom_conn_id)


def gauge(name: str, amount_usd: Decimal, youcom_conn_id: object) -> None:
    """
    Set a gauge.

    :param name: the gauge.
    :param amount_usd: its value in dollars.
    :param youcom_conn_id: the connection.
    """
    _send("gauge", name, youcom_conn_id, float(amount_usd))


def _send(method: str, name: str, youcom_conn_id: object, *value: float) -> None:
    conn_id = _NOT_IN_A_NAME.sub("_", str(youcom_conn_id))
    try:
        send = getattr(_stats(), method)
        send(f"youcom.{conn_id}.{name}", *value)
        send(f"youcom.{name}", *value, tags={"conn_id": str(youcom_conn_id)})
    except Exception as error:  # noqa: BLE001 - whatever a backend raises, the gate goes on
        log.debug("The metric %s was not sent (%s: %s)", name, type(error).__name__, error)


def _stats() -> Any:
    # In the triggerer of Airflow 3.2 and later, nothing else initializes the Stats of the Task SDK.
    with suppress(ImportError):
        import airflow.sdk.serde  # noqa: F401
    from airflow.providers.common.compat.sdk import Stats

    return Stats
