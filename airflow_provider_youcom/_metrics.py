"""
The metrics of gates and checks, sent through Airflow's own ``Stats`` to StatsD, Datadog or OpenTelemetry.

Each is sent twice, since plain StatsD drops tags: under a plain name with the connection as a tag, and under
a name that contains the connection.
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from decimal import Decimal
from typing import Any

log = logging.getLogger(__name__)

# Airflow refuses a name of more than 250 characters, and with InfluxDB the tag is a part of the name.
_LONGEST_NAME = 100
_ORDINARY_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST_NAME}}}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_DIGEST_LENGTH = 8


def increment_gates_opened(youcom_conn_id: object) -> None:
    """Count a gate that has opened."""
    _increment("gates_opened", youcom_conn_id)


def increment_gates_skipped(youcom_conn_id: object) -> None:
    """Count a gate that has ended as skipped."""
    _increment("gates_skipped", youcom_conn_id)


def increment_gates_failed(youcom_conn_id: object) -> None:
    """Count an attempt of a gate that has failed."""
    _increment("gates_failed", youcom_conn_id)


def increment_checks_without_balance(youcom_conn_id: object) -> None:
    """Count a check that got no balance."""
    _increment("checks_without_balance", youcom_conn_id)


def set_balance(youcom_conn_id: object, balance_usd: Decimal) -> None:
    """Set the gauge of what an account holds."""
    _set("balance_usd", youcom_conn_id, balance_usd)


def set_reserved(youcom_conn_id: object, *, reserved_usd: Decimal, available_usd: Decimal) -> None:
    """Set the gauges of what is reserved, and of what is left."""
    _set("reserved_usd", youcom_conn_id, reserved_usd)
    _set("available_usd", youcom_conn_id, available_usd)


def set_waiting(youcom_conn_id: object, *, gates: int, needed_usd: Decimal) -> None:
    """Set the gauges of how many gates wait in line, and of what they need together."""
    _set("waiting_gates", youcom_conn_id, Decimal(gates))
    _set("waiting_usd", youcom_conn_id, needed_usd)


def _increment(name: str, youcom_conn_id: object) -> None:
    _send("incr", name, youcom_conn_id)


def _set(name: str, youcom_conn_id: object, value: Decimal) -> None:
    _send("gauge", name, youcom_conn_id, float(value))


def _send(method: str, name: str, youcom_conn_id: object, *value: float) -> None:
    conn_id = _name_of(str(youcom_conn_id))
    for full_name, tags in (f"youcom.{conn_id}.{name}", None), (f"youcom.{name}", {"conn_id": conn_id}):
        try:
            getattr(_stats(), method)(full_name, *value, tags=tags)
        except Exception as error:  # noqa: BLE001 - whatever a backend raises, the gate goes on
            log.debug("The metric %s was not sent (%s: %s)", full_name, type(error).__name__, error)


def _name_of(conn_id: str) -> str:
    """Return a name for a connection that no other connection has and that every backend accepts."""
    if _ORDINARY_NAME.fullmatch(conn_id):
        return conn_id
    digest = hashlib.sha256(conn_id.encode(errors="backslashreplace")).hexdigest()[:_DIGEST_LENGTH]
    cleaned = _NOT_IN_A_NAME.sub("_", conn_id)[: _LONGEST_NAME - len(digest) - 1]
    return f"{cleaned}-{digest}"


def _stats() -> Any:
    # In the triggerer of Airflow 3.2 and later, nothing else initializes the Stats of the Task SDK.
    with suppress(ImportError):
        import airflow.sdk.serde  # noqa: F401
    from airflow.providers.common.compat.sdk import Stats

    return Stats
