"""The sandbox as a command."""

from __future__ import annotations

import argparse
import threading
from contextlib import suppress

from airflow_provider_youcom.money import format_usd
from airflow_provider_youcom.sandbox import BALANCE_PATH, DEFAULT_API_KEY, Sandbox


def main() -> None:
    """Run the sandbox until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_youcom.sandbox",
        description="A local You.com billing API.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one")
    parser.add_argument("--api-key", default=DEFAULT_API_KEY, help="the key to accept")
    parser.add_argument("--balance-usd", default="100", help="the balance of its account in dollars")
    parser.add_argument(
        "--account",
        action="append",
        type=_parse_account,
        default=argparse.SUPPRESS,
        metavar="KEY=USD",
        help="one more account",
    )
    parser.add_argument(
        "--post-charges-after", type=float, default=0, metavar="SECONDS", help="when a balance shows a charge"
    )
    options = vars(parser.parse_args())
    try:
        sandbox = Sandbox(accounts=dict(options.pop("account", [])), **options)
        sandbox.start()
    except (ValueError, OSError, OverflowError) as error:
        parser.error(str(error))
    print(f"You.com sandbox at {sandbox.base_url}, holding {format_usd(sandbox.balance_usd())}.")
    print(f"  check:  curl -H 'X-API-Key: <key>' {sandbox.base_url}{BALANCE_PATH}")
    print(f'  top up: curl -d \'{{"usd": "25"}}\' {sandbox.base_url}/sandbox/top-up', flush=True)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    sandbox.stop()


def _parse_account(account: str) -> tuple[str, str]:
    api_key, _, balance_usd = account.partition("=")
    return api_key, balance_usd


if __name__ == "__main__":
    main()
