from __future__ import annotations

import logging
import re
import time
import traceback
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import get_args

import pytest

from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.gate import CreditGate, OnShortfall, OnUnavailable, Reading
from tests.faults.fault_matrix import CASES, Case
from tests.faults.tally import Tally
from tests.security.canary import CANARY_KEY, chain, everything_in, sightings

TIMEOUT = 2.0
LONGEST = TIMEOUT + 1
MOST_MEMORY = 20_000_000


@dataclass
class Cost:
    seconds: float = field(default=0.0)
    memory: int = field(default=0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_ends_in_its_error_soon_in_little_memory_and_without_the_key(
    case: Case, tally: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    tally.tried += 1
    with case.place() as base_url, caplog.at_level(logging.DEBUG), costing() as cost:
        reading = ask(base_url)
    tally.slowest = max(tally.slowest, (cost.seconds, case.name))
    tally.largest = max(tally.largest, (cost.memory, case.name))
    keys = keys_in(reading) + sightings(caplog.text)
    tally.keys_found += keys

    assert type(reading) is case.outcome.kind
    assert re.search(case.message, str(reading), re.DOTALL)
    assert "\n" not in str(reading)
    for on_shortfall in get_args(OnShortfall):
        assert verdicts(reading, on_shortfall) == [
            case.outcome.wait,
            case.outcome.fail,
            case.outcome.pass_,
        ], "a fault is no shortfall"
    assert keys == 0
    assert cost.seconds <= LONGEST
    assert cost.memory <= MOST_MEMORY
    tally.by_kind[case.outcome.kind.__name__] += 1
    tally.survived += 1


def ask(base_url: str) -> Reading:
    client = BillingClient(CANARY_KEY, base_url, timeout=TIMEOUT)
    try:
        return client.get_balance()
    except YouComError as error:
        return error
    finally:
        client.close()


@contextmanager
def costing() -> Iterator[Cost]:
    cost = Cost()
    tracemalloc.start()
    started = time.monotonic()
    try:
        yield cost
        cost.seconds = time.monotonic() - started
        cost.memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def verdicts(reading: Reading, on_shortfall: OnShortfall) -> list[object]:
    return [CreditGate(0, on_shortfall, policy).judge(reading).action for policy in get_args(OnUnavailable)]


def keys_in(reading: Reading) -> int:
    """Count the keys in all that a log, an error tracker or a person could make of a reading."""
    texts: list[str | bytes] = [str(reading), repr(reading), *everything_in(reading)]
    if isinstance(reading, YouComError):
        texts += [f"{link!s} {link!r} {link.args!r}" for link in chain(reading)]
        frames = traceback.TracebackException.from_exception(reading, capture_locals=True)
        texts += frames.format()
    return sum(sightings(text) for text in texts)
