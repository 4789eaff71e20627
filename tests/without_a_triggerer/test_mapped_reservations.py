"""Each index of a mapped gate tells its teardown in which ledger it has reserved."""

from __future__ import annotations

import pytest

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from tests.without_a_triggerer.test_without_a_triggerer import airflow, parse  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.real_airflow,
    pytest.mark.scenario,
    pytest.mark.on_the_ends,
    pytest.mark.timeout(1200),
]


def test_what_the_indexes_of_a_gate_have_reserved_is_released(ledger: Ledger):
    run = parse("mapped_reservations").test()
    states = {f"{each.task_id}[{each.map_index}]": str(each.state) for each in run.get_task_instances()}
    assert set(states.values()) == {"success"}, states
    ends = sorted((each.amount_usd, each.end_reason) for each in ledger.history())
    assert ends == [(usd, EndReason.RELEASED) for usd in (2, 3, 4, 5)]
