"""Read the fields of a connection, and refuse those that cannot be used."""

from __future__ import annotations

import json
import logging
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_youcom._connection_form import form_fields
from airflow_provider_youcom._masking import mask_key
from airflow_provider_youcom.billing import DEFAULT_BASE_URL, DEFAULT_RETRIES, DEFAULT_TIMEOUT_SECONDS
from airflow_provider_youcom.exceptions import YouComRefusedError
from airflow_provider_youcom.hooks._written import HOW_TO_WRITE
from airflow_provider_youcom.ledger.line_rule import DEFAULT_HOLD_SECONDS
from airflow_provider_youcom.ledger.rule import DEFAULT_SETTLE_SECONDS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_youcom.billing.client import BillingClient

log = logging.getLogger(__name__)

# Where other providers keep their key.
_NAME_OF_A_KEY = re.compile(r"(x[-_])?((youcom|ydc)[-_]?)?(api[-_]?)?(key|token|password)", re.IGNORECASE)
# A base URL has one of these.
_IN_A_HOST = re.compile(r"[.:/]|^localhost$", re.IGNORECASE)
# What was warned of in this process: a gate in the triggerer reads its connection for each check.
_warned: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Settings:
    """
    The settings in a connection.

    :param client: asks You.com, with the connection's key.
    :param ledger_conn_id: the connection to the ledger of reservations, or an empty string.
    :param settle_seconds: how late You.com may post a charge.
    :param hold_seconds: for how long credits are held for a gate while nothing opens and no more come in.
    """

    client: BillingClient
    ledger_conn_id: str
    settle_seconds: float
    hold_seconds: float


def read_connection(connection: Connection, conn_name: str) -> Settings:
    """
    Return the settings in a connection.

    :param connection: its password is the API key, its host the base URL.
    :param conn_name: how errors name the connection.
    :raises YouComRefusedError: if a field cannot be used; the message names it.
    """
    # This imports requests, which is not needed to parse a DAG.
    from airflow_provider_youcom.billing.client import BillingClient

    fields = _Fields(connection, conn_name)
    extra = fields.extra()
    client = BillingClient(
        fields.api_key(extra),
        fields.base_url(),
        timeout=read_number(extra, "timeout", DEFAULT_TIMEOUT_SECONDS, conn_name),
        retries=int(read_number(extra, "retries", DEFAULT_RETRIES, conn_name)),
        conn_name=conn_name,
    )
    settle_seconds = read_number(extra, "settle_seconds", DEFAULT_SETTLE_SECONDS, conn_name)
    hold_seconds = read_number(extra, "hold_seconds", DEFAULT_HOLD_SECONDS, conn_name)
    _warn_of_unread_fields(extra, fields.api_key(extra), conn_name)
    return Settings(client, _ledger_conn_id(extra, conn_name), settle_seconds, hold_seconds)


def read_number(extra: dict[str, Any], name: str, default: float, conn_name: str) -> float:
    """
    Return a number of the extra, or the default if there is none.

    :param extra: the connection's extra, parsed.
    :param name: a field of the connection form.
    :param default: for a field that is missing or empty.
    :param conn_name: how errors name the connection.
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
            f"{name}={repr(given)[:60]} in the extra of {conn_name} cannot be used: it must be {kind} "
            f"from {limits['minimum']} to {limits['maximum']}; correct it, or leave it out."
        )
    return number


def _warn_of_unread_fields(extra: dict[str, Any], api_key: str, conn_name: str) -> None:
    fields = form_fields()
    unread = ", ".join(name for name in extra if name not in fields and extra[name] not in (None, ""))
    unread = mask_key(unread[:200], api_key)
    if not unread or (conn_name, unread) in _warned:
        return
    _warned.add((conn_name, unread))
    log.warning(
        "Nobody reads these fields in the extra of %s: %s; the provider knows %s, so correct or remove them.",
        conn_name,
        unread,
        ", ".join(fields),
    )


def _ledger_conn_id(extra: dict[str, Any], conn_name: str) -> str:
    ledger_conn_id = extra.get("ledger_conn_id") or ""
    if not isinstance(ledger_conn_id, str):
        raise YouComRefusedError(
            f"ledger_conn_id in the extra of {conn_name} is {type(ledger_conn_id).__name__}, not text: put "
            "the id of a connection there, in quotation marks."
        )
    return ledger_conn_id.strip()


@dataclass(frozen=True)
class _Fields:
    """The fields of a connection, and how errors name it."""

    connection: Connection
    conn_name: str

    def extra(self) -> dict[str, Any]:
        # Not extra_dejson: it turns invalid JSON into an empty object, and calls the supervisor, which must
        # not happen on an event loop.
        extra = self._field("extra")
        if isinstance(extra, str):
            with suppress(ValueError, RecursionError):
                extra = json.loads(extra.strip() or "null")
        if extra is None:
            return {}
        if not isinstance(extra, dict):
            raise YouComRefusedError(
                f"The extra of {self.conn_name} is not a JSON object: "
                'write it as {"timeout": 10}, or leave it empty.'
            )
        return extra

    def api_key(self, extra: dict[str, Any]) -> str:
        api_key = self._text("password")
        if not api_key:
            self._check_other_places(extra)
        return api_key

    def base_url(self) -> str:
        """Join host, schema and port. If the host contains a scheme or a port too, they must agree."""
        host = self._text("host") or DEFAULT_BASE_URL
        schema = self._text("schema").lower()
        port = self._port()
        if schema not in ("", "http", "https"):
            raise self._unusable("schema", "is neither https nor http")
        scheme, separator, rest = host.partition("://")
        if not separator:
            scheme, rest = schema or "https", host
        elif schema not in ("", scheme.lower()):
            raise self._unusable("schema", "contradicts its Base URL")
        if host == DEFAULT_BASE_URL and port not in ("", "443"):
            raise self._unusable("port", "is not that of the default Base URL")
        authority, slash, path = rest.partition("/")
        if authority.count(":") > 1 and not authority.startswith("["):
            authority = f"[{authority}]"
        written = re.search(r":(\d+)$", authority)
        if written and port and int(written[1]) != int(port):
            raise self._unusable("port", "contradicts its Base URL")
        return f"{scheme.lower()}://{authority}{f':{port}' if port and not written else ''}{slash}{path}"

    def _check_other_places(self, extra: dict[str, Any]) -> None:
        schema, host = self._text("schema"), self._text("host")
        if schema and not self._field("conn_type"):
            raise YouComRefusedError(
                f"What is written for {self.conn_name} is neither a URI nor JSON: {HOW_TO_WRITE}."
            )
        places = ["login"] if self._text("login") else []
        places += ["schema"] if schema.lower() not in ("", "http", "https") else []
        places += ["host"] if host and not _IN_A_HOST.search(host) else []
        places += [f"extra field {name}" for name in extra if extra[name] and _NAME_OF_A_KEY.fullmatch(name)]
        if places:
            raise YouComRefusedError(
                f"The password of {self.conn_name} is empty, and its {places[0]} may hold the API key: "
                'move the key to the password, which the connection form calls "API key" and which is in '
                "front of the @ in a URI (youcom://:your-api-key@)."
            )

    def _port(self) -> str:
        port = self._field("port")
        if port in (None, ""):
            return ""
        if not str(port).isdecimal() or not 0 < int(port) < 2**16:
            raise self._unusable("port", "is not a number from 1 to 65535")
        return str(int(port))

    def _unusable(self, name: str, problem: str) -> YouComRefusedError:
        return YouComRefusedError(f"The {name} of {self.conn_name} {problem}: correct it, or leave it empty.")

    def _text(self, name: str) -> str:
        value = self._field(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise YouComRefusedError(
                f"The {name} of {self.conn_name} is {type(value).__name__}, not text: "
                "put it in quotation marks."
            )
        return value.strip()

    def _field(self, name: str) -> Any:
        try:
            return getattr(self.connection, name)
        except Exception:  # noqa: BLE001 - each Airflow version has another exception for a failed decryption
            raise YouComRefusedError(
                f"Airflow cannot decrypt the {name} of {self.conn_name}: check that [core] fernet_key is the "
                "one that it was saved with, or save the connection again."
            ) from None
