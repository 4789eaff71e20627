"""The sandbox as a command."""

from __future__ import annotations

import argparse
import threading
from contextlib import suppress

from airflow_provider_youcom.money import format_usd
from airflow_provider_youcom.sandbox import BALANCE_PATH, DEFAULT_API_KEY, Sandbox

DEFAULT_PORT = 8765


def main() -> None:
    """Run the sandbox until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_youcom.sandbox", description="A local You.com billing API."
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="default: %(default)s; 0 takes a free one"
    )
    parser.add_argument("--api-key", default=DEFAULT_API_KEY, help="the key to accept (default: %(default)s)")
    parser.add_argument("--balance-usd", default="100", help="what its account holds (default: %(default)s)")
    parser.add_argument("--account", action="append", default=[], metavar="KEY=USD", help="one more account")
    options = parser.parse_args()
    try:
        accounts = dict(account.split("=", 1) for account in options.account)
        sandbox = Sandbox(
            options.balance_usd,
            api_key=options.api_key,
            accounts=accounts,
            host=options.host,
            port=options.port,
        )
        sandbox.start()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"You.com sandbox at {sandbox.base_url}, holding {format_usd(sandbox.balance_usd())}.", flush=True)
    print("  look:   curl -H 'X-API-Key: <key>' " + sandbox.base_url + BALANCE_PATH)
    print('  top up: curl -d \'{"usd": "25"}\' ' + sandbox.base_url + "/sandbox/top-up", flush=True)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    sandbox.stop()


if __name__ == "__main__":
    main()
