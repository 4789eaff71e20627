"""The provider's metadata. It imports nothing heavy, since Airflow reads it at every start."""

from __future__ import annotations

from typing import Any

from airflow_provider_youcom import __version__

CONNECTION_TYPE = "youcom"
CONNECTION_TYPE_NAME = "You.com"
_INTEGRATION = "You.com"
_LINK = "airflow_provider_youcom.links.TopUpCreditsLink"


def form_behaviour() -> dict[str, Any]:
    """Return which standard fields the connection form shows, and their labels."""
    return {
        "hidden_fields": ["schema", "login", "port", "extra"],
        "relabeling": {"password": "API key", "host": "Base URL"},
        "placeholders": {
            "password": "from https://you.com/platform",
            "host": "https://api.you.com",
            "timeout": "30",
            "retries": "2",
            "settle_seconds": "60",
        },
    }


def form_fields() -> dict[str, dict[str, Any]]:
    """Return the additional fields of the connection form, which are saved in the connection's extra."""
    return {
        "timeout": {
            "label": "Timeout (seconds)",
            "description": "How long one call may take, retries included. Default: 30.",
            "schema": {"type": ["number", "null"], "minimum": 1, "maximum": 600},
        },
        "retries": {
            "label": "Retries per call",
            "description": "How many times a call is retried within that time. Default: 2.",
            "schema": {"type": ["integer", "null"], "minimum": 0, "maximum": 10},
        },
        "ledger_conn_id": {
            "label": "Ledger connection",
            "description": "A connection to SQLite or PostgreSQL, where reserved credits are kept.",
            "schema": {"type": ["string", "null"]},
        },
        "settle_seconds": {
            "label": "Settle time (seconds)",
            "description": "How late You.com may post a charge. Default: 60.",
            "schema": {"type": ["number", "null"], "minimum": 0, "maximum": 86400},
        },
    }


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as a new dict each time, since callers may change it."""
    behaviour = form_behaviour()
    return {
        "package-name": "airflow-provider-youcom",
        "name": "You.com",
        "description": "Hold a pipeline until the You.com account can pay for it.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://you.com/docs/api-reference/billing/get-account-balance",
                "tags": ["service"],
            }
        ],
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-class-name": "airflow_provider_youcom.hooks.youcom.YouComHook",
                "hook-name": CONNECTION_TYPE_NAME,
                "conn-fields": form_fields(),
                "ui-field-behaviour": {
                    "hidden-fields": behaviour["hidden_fields"],
                    "relabeling": behaviour["relabeling"],
                    "placeholders": behaviour["placeholders"],
                },
            }
        ],
        "hooks": _modules("airflow_provider_youcom.hooks.youcom"),
        "operators": _modules(
            "airflow_provider_youcom.operators.balance", "airflow_provider_youcom.operators.release"
        ),
        "sensors": _modules("airflow_provider_youcom.sensors.balance"),
        "triggers": _modules(
            "airflow_provider_youcom.triggers.balance",
            "airflow_provider_youcom.triggers.balance_event",
            "airflow_provider_youcom.triggers.reserving",
        ),
        "extra-links": [_LINK],
        "cli": ["airflow_provider_youcom._cli.definition.get_youcom_cli_commands"],
    }


def _modules(*modules: str) -> list[dict[str, Any]]:
    return [{"integration-name": _INTEGRATION, "python-modules": list(modules)}]
