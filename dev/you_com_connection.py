"""The connection of gates that reserve."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_youcom.sandbox import Sandbox


def connection_with_ledger(
    sandbox: Sandbox, ledger_conn_id: str, *, settle_seconds: float, api_key: str | None = None
) -> str:
    """
    Return the JSON for an ``AIRFLOW_CONN_…`` variable.

    :param sandbox: the You.com that it connects to.
    :param ledger_conn_id: the connection to the ledger.
    :param settle_seconds: the settle time.
    :param api_key: key of the account; the first one by default.
    """
    extra = {"ledger_conn_id": ledger_conn_id, "settle_seconds": settle_seconds}
    return json.dumps({**json.loads(sandbox.connection(api_key)), "extra": extra})
