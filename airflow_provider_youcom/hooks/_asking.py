"""Ask You.com without blocking the event loop."""

from __future__ import annotations

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.hooks._off_the_loop import run_off_the_loop


async def ask(client: BillingClient) -> AccountBalance:
    """
    Return what the account holds.

    :param client: asks You.com, within its timeout.
    """
    try:
        return await run_off_the_loop(client.get_balance, client.timeout)
    except TimeoutError:
        raise client.too_late() from None
