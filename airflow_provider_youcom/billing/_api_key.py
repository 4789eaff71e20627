"""Check an API key before it is sent."""

from __future__ import annotations

import re

from airflow_provider_youcom.exceptions import PLATFORM_URL, YouComRefusedError

_PLACEHOLDER = re.compile(
    r"""\$\w+ | \$\{.*\} | \$\(.*\) | %\(.*\)s | <.*> | .*\{\{.*\}\}.* | \{\w+\} | none | null | change-?me
    | (your|my)[-_ ]?(youcom|you\.com)?[-_ ]?(api)?[-_ ]?key([-_ ]here)?""",
    re.IGNORECASE | re.VERBOSE,
)


def check_api_key(api_key: str, conn_name: str) -> str:
    """
    Return a key without the whitespace around it.

    :param api_key: as the user wrote it.
    :param conn_name: how errors name the connection.
    :raises YouComRefusedError: if it is empty, a placeholder, or cannot be sent in a header.
    """
    key = api_key.strip()
    if not key:
        raise YouComRefusedError(
            f"There is no API key: create one at {PLATFORM_URL} and make it the password of {conn_name}."
        )
    problem = _problem_with(key)
    if problem:
        raise YouComRefusedError(f"The API key of {conn_name} {problem}.")
    return key


def _problem_with(key: str) -> str | None:
    if not key.strip("*"):
        return (
            "is the row of asterisks that Airflow shows in place of a saved password; "
            "type the key again, or save the connection before you test it"
        )
    if key[0] in "\"'`" or key[-1] in "\"'`":
        return "has quotation marks around it; remove them"
    if _PLACEHOLDER.fullmatch(key):
        return f"is a placeholder; replace it with a key from {PLATFORM_URL}"
    if not key.isascii() or not key.isprintable() or " " in key:
        return f"contains a character that no key has; copy it again from {PLATFORM_URL}"
    return None
