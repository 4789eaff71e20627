"""Read the fields of a connection, and refuse those that cannot be used."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_youcom.exceptions import YouComRefusedError
from airflow_provider_youcom.get_provider_info import form_fields
from airflow_provider_youcom.reservations.rule import DEFAULT_SETTLE_SECONDS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_youcom.billing.client import BillingClient

# Where other providers keep their key.
_NAME_OF_A_KEY = re.compile(r"(x[-_])?((youcom|ydc)[-_]?)?(api[-_]?)?(key|token|password)", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """
    The settings in a connection.

    :param client: asks You.com, with the connection's key.
    :param ledger_conn_id: the connection to the ledger of reservations, or an empty string.
    :param settle_seconds: how late You.com may post a charge.
    """

    client: BillingClient
    ledger_conn_id: str
    settle_seconds: float


def read_connection(connection: Connection, key_name: str) -> Settings:
    """
    Return the settings in a connection.

    :param connection: its password is the API key, its host the base URL.
    :param key_name: the name of the connection in error messages.
    :raises YouComRefusedError: if a field cannot be used; the message names it.
    """
    # This imports requests, which is not needed to parse a DAG.
    from airflow_provider_youcom.billing.client import DEFAULT_RETRIES, DEFAULT_TIMEOUT, BillingClient

    extra = _extra(connection, key_name)
    client = BillingClient(
        _api_key(connection, extra, key_name),
        _base_url(connection, key_name),
        timeout=read_number(extra, "timeout", DEFAULT_TIMEOUT, key_name),
        retries=int(read_number(extra, "retries", DEFAULT_RETRIES, key_name)),
        key_name=key_name,
    )
    settle_seconds = read_number(extra, "settle_seconds", DEFAULT_SETTLE_SECONDS, key_name)
    return Settings(client, _ledger_conn_id(extra, key_name), settle_seconds)


def read_number(extra: dict[str, Any], name: str, default: float, key_name: str) -> float:
    """
    Return a number of the extra, or the default if there is none.

    :param extra: the connection's extra, parsed.
    :param name: a field of the connection form.
    :param default: for a field that is missing or empty.
    :param key_name: the name of the connection in error messages.
    :raises YouComRefusedError: if the field is not a number within the form's limits.
    """
    limits = form_fields()[name]["schema"]
    given = extra.get(name)
    if given is None or given == "":
        return default
    try:
        number = float(given) if not isinstance(given, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    whole = "integer" in limits["type"]
    if not limits["minimum"] <= number <= limits["maximum"] or (whole and number != int(number)):
        kind = "a whole number" if whole else "a number"
        raise YouComRefusedError(
            f"{name}={repr(given)[:60]} in the extra of {key_name} cannot be used: it must be {kind} "
            f"from {limits['minimum']} to {limits['maximum']}; correct it, or leave it out."
        )
    return number


def _extra(connection: Connection, key_name: str) -> dict[str, Any]:
    # Not extra_dejson: it turns invalid JSON into an empty object, and calls the supervisor, which must not
    # happen on an event loop.
    extra = _field(connection, "extra", key_name)
    if isinstance(extra, str):
        with suppress(ValueError, RecursionError):
            extra = json.loads(extra.strip() or "null")
    if extra is None:
        return {}
    if not isinstance(extra, dict):
        raise YouComRefusedError(
            f'The extra of {key_name} is not a JSON object: write it as {{"timeout": 10}}, or leave it empty.'
        )
    return extra


def _ledger_conn_id(extra: dict[str, Any], key_name: str) -> str:
    ledger_conn_id = extra.get("ledger_conn_id") or ""
    if not isinstance(ledger_conn_id, str):
        raise YouComRefusedError(
            f"ledger_conn_id in the extra of {key_name} is {type(ledger_conn_id).__name__}, not text: put "
            "the id of a connection there, in quotation marks."
        )
    return ledger_conn_id.strip()


def _api_key(connection: Connection, extra: dict[str, Any], key_name: str) -> str:
    api_key = _text(connection, "password", key_name)
    if not api_key:
        _check_other_places(connection, extra, key_name)
    return api_key


def _check_other_places(connection: Connection, extra: dict[str, Any], key_name: str) -> None:
    places = ["login"] if _text(connection, "login", key_name) else []
    places += [f"extra field {name}" for name in extra if extra[name] and _NAME_OF_A_KEY.fullmatch(name)]
    if places:
        raise YouComRefusedError(
            f"The password of {key_name} is empty, and its {places[0]} may hold the API key: "
            'move the key to the password, which the connection form calls "API key".'
        )


def _base_url(connection: Connection, key_name: str) -> str:
    """Join host, schema and port. If the host contains a scheme or a port too, they must agree."""
    from airflow_provider_youcom.billing._base_url import DEFAULT_BASE_URL

    host = _text(connection, "host", key_name) or DEFAULT_BASE_URL
    schema = _text(connection, "schema", key_name).lower()
    port = _port(connection, key_name)
    if schema not in ("", "http", "https"):
        raise _unusable("schema", key_name, "is neither https nor http")
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = schema or "https", host
    elif schema not in ("", scheme.lower()):
        raise _unusable("schema", key_name, "contradicts its Base URL")
    if host == DEFAULT_BASE_URL and port not in ("", "443"):
        raise _unusable("port", key_name, "is not that of the default Base URL")
    authority, slash, path = rest.partition("/")
    if authority.count(":") > 1 and not authority.startswith("["):
        authority = f"[{authority}]"
    written = re.search(r":(\d+)$", authority)
    if written and port and int(written[1]) != int(port):
        raise _unusable("port", key_name, "contradicts its Base URL")
    return f"{scheme.lower()}://{authority}{f':{port}' if port and not written else ''}{slash}{path}"


def _port(connection: Connection, key_name: str) -> str:
    port = _field(connection, "port", key_name)
    if port in (None, ""):
        return ""
    if not str(port).isdecimal() or not 0 < int(port) < 2**16:
        raise _unusable("port", key_name, "is not a number from 1 to 65535")
    return str(int(port))


def _unusable(field: str, key_name: str, problem: str) -> YouComRefusedError:
    return YouComRefusedError(f"The {field} of {key_name} {problem}: correct it, or leave it empty.")


def _text(connection: Connection, name: str, key_name: str) -> str:
    value = _field(connection, name, key_name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise YouComRefusedError(
            f"The {name} of {key_name} is {type(value).__name__}, not text: put it in quotation marks."
        )
    return value.strip()


def _field(connection: Connection, name: str, key_name: str) -> Any:
    try:
        return getattr(connection, name)
    except Exception:  # noqa: BLE001 - each Airflow version has another exception for a failed decryption
        raise YouComRefusedError(
            f"Airflow cannot decrypt the {name} of {key_name}: check that [core] fernet_key is the one "
            "that it was saved with, or save the connection again."
        ) from None
