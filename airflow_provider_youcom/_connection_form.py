"""The connection form: which fields it shows, with their labels, defaults and limits."""

from __future__ import annotations

from typing import Any

from airflow_provider_youcom.billing import DEFAULT_BASE_URL, DEFAULT_RETRIES, DEFAULT_TIMEOUT_SECONDS
from airflow_provider_youcom.exceptions import PLATFORM_URL
from airflow_provider_youcom.ledger.line_rule import DEFAULT_HOLD_SECONDS
from airflow_provider_youcom.ledger.rule import DEFAULT_SETTLE_SECONDS

CONNECTION_TYPE = "youcom"
CONNECTION_TYPE_NAME = "You.com"
DEFAULT_CONN_ID = "youcom_default"


def form_behaviour() -> dict[str, Any]:
    """Return which standard fields the connection form shows, and their labels."""
    return {
        "hidden_fields": ["schema", "login", "port", "extra"],
        "relabeling": {"password": "API key", "host": "Base URL"},
        "placeholders": {
            "password": f"from {PLATFORM_URL}",
            "host": DEFAULT_BASE_URL,
            "timeout": f"{DEFAULT_TIMEOUT_SECONDS:g}",
            "retries": f"{DEFAULT_RETRIES}",
            "settle_seconds": f"{DEFAULT_SETTLE_SECONDS}",
            "hold_seconds": f"{DEFAULT_HOLD_SECONDS}",
        },
    }


def form_fields() -> dict[str, dict[str, Any]]:
    """Return the additional fields of the connection form, which are saved in the connection's extra."""
    return {
        "timeout": {
            "label": "Timeout (seconds)",
            "description": "How long one call may take, retries included. "
            f"Default: {DEFAULT_TIMEOUT_SECONDS:g}.",
            "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
        },
        "retries": {
            "label": "Retries per call",
            "description": f"How many times a call is retried within that time. Default: {DEFAULT_RETRIES}.",
            "schema": {"type": ["integer", "null"], "minimum": 0, "maximum": 10},
        },
        "ledger_conn_id": {
            "label": "Ledger connection",
            "description": "A connection to SQLite or PostgreSQL, where reserved credits are kept.",
            "schema": {"type": ["string", "null"]},
        },
        "settle_seconds": {
            "label": "Settle time (seconds)",
            "description": f"How late You.com may post a charge. Default: {DEFAULT_SETTLE_SECONDS}.",
            "schema": {"type": ["number", "null"], "minimum": 0, "maximum": 86400},
        },
        "hold_seconds": {
            "label": "Hold time (seconds)",
            "description": "How long credits are held for a gate in line while nothing opens and no more "
            f"come in. Set it to more than the time between two top-ups. Default: {DEFAULT_HOLD_SECONDS}.",
            "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 2592000},
        },
    }
