"""The sandbox as a command."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from airflow_provider_youcom.money import format_usd
from airflow_provider_youcom.sandbox import BALANCE_PATH, DEFAULT_API_KEY, Sandbox


def main() -> None:
    """Run the sandbox until it is interrupted or terminated."""
    # The first process of a container ignores a SIGTERM that it does not handle.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), _started() as sandbox:
        _greet(sandbox)
        threading.Event().wait()


@contextmanager
def _started() -> Iterator[Sandbox]:
    parser = _parser()
    options = vars(parser.parse_args())
    accounts = options.pop("account", [])
    if len(dict(accounts)) < len(accounts):
        parser.error("argument --account: the same key is given twice")
    try:
        sandbox = Sandbox(accounts=dict(accounts), **options)
        sandbox.start()
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(str(error.strerror))
    try:
        yield sandbox
    finally:
        sandbox.stop()


def _greet(sandbox: Sandbox) -> None:
    text = f"""\
You.com sandbox at {sandbox.base_url}, holding {format_usd(sandbox.balance_usd())}.
  check:  curl -H 'X-API-Key: <key>' {sandbox.base_url}{BALANCE_PATH}
  top up: curl -d '{{"usd": "25"}}' {sandbox.base_url}/sandbox/top-up
"""
    try:
        # In one piece, also if Python does not buffer, for a reader that goes away after the first line.
        print(text, end="", flush=True)
    except BrokenPipeError:
        # Nobody reads, as with "| true", and Python would write what it has buffered once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _parser() -> argparse.ArgumentParser:
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
        "--spending-cap-usd", default=argparse.SUPPRESS, help="the most that the key may spend, in dollars"
    )
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
    return parser


def _parse_account(account: str) -> tuple[str, str]:
    # A key may contain the sign, and an amount does not.
    api_key, sign, balance_usd = account.rpartition("=")
    if not sign:
        raise argparse.ArgumentTypeError("expected KEY=USD, such as team=50")
    return api_key, balance_usd


if __name__ == "__main__":
    main()
