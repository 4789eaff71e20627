from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_youcom import exceptions
from airflow_provider_youcom.exceptions import (
    YouComConnectionNotFoundError,
    YouComError,
    YouComLedgerUnavailableError,
    YouComRefusedError,
    YouComResponseError,
    YouComShortfallError,
    YouComSpendCapError,
    YouComUnavailableError,
)
from airflow_provider_youcom.gate import Action, Verdict

# What version 0.1.0 wrote, and the classes that its worker knows.
WRITTEN_BY_0_1_0: dict[str, Any] = {
    "type": "YouComUnavailableError",
    "message": "You.com returned no balance.",
    "status_code": 503,
    "detail": "Maintenance",
}
KNOWN_TO_0_1_0 = {
    "YouComUnavailableError": YouComUnavailableError,
    "YouComRefusedError": YouComRefusedError,
    "YouComResponseError": YouComResponseError,
}
ALL = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, YouComError)]


def example(kind: type[YouComError]) -> YouComError:
    if kind is YouComShortfallError:
        return YouComShortfallError("$2.50 short.", missing_usd=Decimal("2.50"))
    if issubclass(kind, YouComUnavailableError):
        return kind("It is late.", status_code=429, detail="slow down", retry_after=21600.0)
    return kind("It is wrong.", status_code=401, detail="no")


@pytest.mark.parametrize("kind", ALL)
def test_an_error_arrives_as_it_was_sent(kind: type[YouComError]):
    sent = example(kind)
    arrived = YouComError.from_json(json.loads(json.dumps(sent.to_json())))
    assert type(arrived) is kind
    assert (str(arrived), vars(arrived)) == (str(sent), vars(sent))


@pytest.mark.parametrize("name", KNOWN_TO_0_1_0)
def test_an_error_that_version_0_1_0_wrote_is_read(name: str):
    arrived = YouComError.from_json({**WRITTEN_BY_0_1_0, "type": name})
    assert type(arrived) is KNOWN_TO_0_1_0[name]
    assert str(arrived) == "You.com returned no balance."
    assert (arrived.status_code, arrived.detail) == (503, "Maintenance")


@pytest.mark.parametrize(
    ("kind", "understood_as"),
    [
        (YouComUnavailableError, YouComUnavailableError),
        (YouComLedgerUnavailableError, YouComUnavailableError),
        (YouComRefusedError, YouComRefusedError),
        (YouComConnectionNotFoundError, YouComRefusedError),
        (YouComSpendCapError, YouComRefusedError),
        (YouComResponseError, YouComResponseError),
        # A gate of version 0.1.0 fails the try, as it does for an error of no known kind.
        (YouComError, YouComResponseError),
        (YouComShortfallError, YouComResponseError),
    ],
)
def test_version_0_1_0_reads_an_error_as_the_nearest_that_it_knows(
    kind: type[YouComError], understood_as: type[YouComError]
):
    sent = example(kind).to_json()
    assert WRITTEN_BY_0_1_0.keys() <= sent.keys()
    read = KNOWN_TO_0_1_0[sent["type"]](
        sent["message"], status_code=sent["status_code"], detail=sent["detail"]
    )
    assert type(read) is understood_as


@pytest.mark.parametrize(
    ("types", "understood_as"),
    [
        (["YouComQuotaError", "YouComSpendCapError", "YouComRefusedError"], YouComSpendCapError),
        (["YouComQuotaError", "YouComUnavailableError", "YouComError"], YouComUnavailableError),
        (["YouComQuotaError", "YouComError"], YouComError),
        (["YouComQuotaError"], YouComError),
        (["Decimal", "Mapping", "PLATFORM_URL", ""], YouComError),
    ],
)
def test_an_error_of_a_later_version_is_read_as_the_nearest_that_is_known(
    types: list[str], understood_as: type[YouComError]
):
    sent = {**WRITTEN_BY_0_1_0, "types": types, "since_version": 9}
    assert type(YouComError.from_json(sent)) is understood_as


@pytest.mark.parametrize("later", [{"type": "YouComQuotaError"}, {"types": [], "type": None}, {}])
def test_a_verdict_with_an_error_of_no_known_kind_can_be_read(later: dict[str, Any]):
    error = {"message": "Something new.", "status_code": None, "detail": None, **later}
    event = {"action": "retry", "reason": "Something new.", "balance": None, "error": error}
    verdict = Verdict.from_event(event)
    assert verdict.action is Action.RETRY
    assert type(verdict.error) is YouComError
