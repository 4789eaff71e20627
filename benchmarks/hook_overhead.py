"""
Compare a warm ``YouComHook.get_balance()`` with a bare call of requests.

Both call the same sandbox in turns, so that other load on the machine slows down both alike.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from airflow_provider_youcom.sandbox import BALANCE_PATH

LARGEST_RATIO = 1.3
WARM_UP = 50


def measure(calls: int) -> dict[str, float]:
    """
    Time both calls, in turns.

    :param calls: how many calls of each kind.
    """
    from airflow_provider_youcom.hooks.youcom import YouComHook

    with _sandbox_of_its_own() as connection:
        os.environ["AIRFLOW_CONN_YOUCOM_DEFAULT"] = json.dumps(connection)
        url, headers = connection["host"] + BALANCE_PATH, {"X-API-Key": connection["password"]}
        hook, session = YouComHook(), requests.Session()

        def bare() -> object:
            return session.get(url, headers=headers).json()

        hooked_seconds: list[float] = []
        bare_seconds: list[float] = []
        gc.disable()
        for turn in range(WARM_UP + calls):
            # The first call finds the caches as the other one left them, so they take turns at being first.
            ways = [(hook.get_balance, hooked_seconds), (bare, bare_seconds)]
            for ask, seconds in ways if turn % 2 else ways[::-1]:
                seconds.append(_time(ask))
        gc.enable()
    hooked, plain = (statistics.median(seconds[WARM_UP:]) for seconds in (hooked_seconds, bare_seconds))
    return {"hook_ms": hooked * 1000, "requests_ms": plain * 1000, "ratio": hooked / plain}


def _time(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return time.perf_counter() - started


@contextmanager
def _sandbox_of_its_own() -> Iterator[dict[str, str]]:
    """Run the sandbox in another process, so that it does not compete for the interpreter lock."""
    command = [sys.executable, "-m", "airflow_provider_youcom.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        base_url = said.removeprefix("You.com sandbox at ").split(",")[0]
        try:
            yield {"conn_type": "youcom", "host": base_url, "password": "sandbox-key"}
        finally:
            process.terminate()


def main() -> int:
    """Measure and print the result; return 0 if the ratio is small enough."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hook_overhead", description=__doc__)
    parser.add_argument("--calls", type=int, default=500, help="calls of each kind (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    options = parser.parse_args()
    if "AIRFLOW_HOME" not in os.environ:
        os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp()
    logging.disable(logging.WARNING)
    result = measure(options.calls)
    print(f"requests.Session().get(...).json()  {result['requests_ms']:.3f} ms")
    print(f"YouComHook().get_balance()          {result['hook_ms']:.3f} ms")
    met = result["ratio"] <= LARGEST_RATIO
    print(f"ratio {result['ratio']:.2f}, at most {LARGEST_RATIO}: {'passed' if met else 'NOT PASSED'}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
