"""How a connection is written as text, in the environment or in a secrets backend."""

from __future__ import annotations

import os

HOW_TO_WRITE = (
    "write it as youcom://:your-api-key@, with the key percent-encoded, or as "
    '{"conn_type": "youcom", "password": "your-api-key"}, with a timeout and the like in "extra"'
)


def problem_in_environment(conn_id: object) -> str | None:
    """
    Return why Airflow cannot read a connection that this process has in its environment; None if it has none.

    :param conn_id: a connection that Airflow did not find.
    """
    name = f"AIRFLOW_CONN_{conn_id}".upper()
    written = os.environ.get(name)
    if written is None:
        return None
    problem = "is set, but Airflow cannot read what it contains" if written.strip() else "is empty"
    return f"{name} {problem}; {HOW_TO_WRITE}"
