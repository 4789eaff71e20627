from __future__ import annotations

import json
import logging
import re
import time
import traceback
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import pytest

from airflow_provider_youcom.billing.client import BillingClient
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.gate import CreditGate, OnShortfall, OnUnavailable, Reading, Verdict
from tests.faults.fault_matrix import CASES, WITHOUT_END, Case
from tests.security.canary import CANARY_KEY, chain, everything_in, sightings

pytestmark = [pytest.mark.long, pytest.mark.on_one_airflow]

# Less than the 5 s and 10 s that one connect and one read may take in a longer call.
LATEST_END = 4.0
MOST_MEMORY = 4_000_000


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_ends_in_its_error_in_little_memory_and_without_the_key(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    with case.place() as base_url, caplog.at_level(logging.DEBUG), at_most(MOST_MEMORY):
        reading = call(base_url, case.timeout)

    assert type(reading) is case.outcome.kind
    assert re.search(case.message, str(reading), re.DOTALL)
    assert "\n" not in str(reading)
    assert keys_in(reading) + sightings(caplog.text) == 0
    for on_shortfall in get_args(OnShortfall):
        verdicts = [CreditGate(0, on_shortfall, policy).judge(reading) for policy in get_args(OnUnavailable)]
        actions = tuple(verdict.action for verdict in verdicts)
        assert actions == case.outcome.actions, "a fault is no shortfall"
        for verdict in verdicts:
            event = json.dumps(verdict.to_event())
            assert Verdict.from_event(json.loads(event)).to_event() == verdict.to_event()
            assert sightings(event) == 0


@pytest.mark.parametrize("case", WITHOUT_END, ids=lambda case: case.name)
def test_a_call_to_a_server_that_never_stops_sending_ends_at_its_timeout(case: Case) -> None:
    with case.place() as base_url:
        started = time.monotonic()
        call(base_url, case.timeout)
        assert time.monotonic() - started < LATEST_END


def call(base_url: str, timeout: float) -> Reading:
    # urllib3 does not wait before the first retry.
    client = BillingClient(CANARY_KEY, base_url, timeout=timeout, retries=1)
    try:
        return client.get_balance()
    except YouComError as error:
        return error
    finally:
        client.close()


@contextmanager
def at_most(memory: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= memory
    finally:
        tracemalloc.stop()


def keys_in(reading: Reading) -> int:
    """Count the keys in everything that a log, an error tracker or a person could see of a reading."""
    texts: list[str | bytes] = [str(reading), repr(reading), *everything_in(reading)]
    if isinstance(reading, YouComError):
        texts += [f"{link!s} {link!r} {link.args!r}" for link in chain(reading)]
        frames = traceback.TracebackException.from_exception(reading, capture_locals=True)
        texts += frames.format()
    return sum(sightings(text) for text in texts)
