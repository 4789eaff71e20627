"""The provider's metadata. It imports nothing heavy, since Airflow reads it at every start."""

from __future__ import annotations

from typing import Any

from airflow_provider_youcom import __version__
from airflow_provider_youcom._connection_form import (
    CONNECTION_TYPE,
    CONNECTION_TYPE_NAME,
    DEFAULT_CONN_ID,
    form_behaviour,
    form_fields,
)

_INTEGRATION = "You.com"
_LINK = "airflow_provider_youcom.links.TopUpCreditsLink"


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
        "config": {
            "youcom": {
                "description": "The credits page of the You.com provider.",
                "options": {
                    "page_conn_ids": {
                        "description": "The You.com connections whose ledgers the page shows, separated by "
                        "commas. Airflow 3.1.1 and later have the page.",
                        "version_added": "0.2.0",
                        "type": "string",
                        "example": "youcom_default, youcom_research",
                        "default": DEFAULT_CONN_ID,
                    }
                },
            }
        },
        "cli": ["airflow_provider_youcom._cli.definition.get_youcom_cli_commands"],
    }


def _modules(*modules: str) -> list[dict[str, Any]]:
    return [{"integration-name": _INTEGRATION, "python-modules": list(modules)}]
