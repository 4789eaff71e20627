"""What the scenarios of a simulated line vary."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_youcom.ledger import line_rule
from benchmarks.simulation.line.lines import FirstFit, TheLine
from benchmarks.simulation.line.runs import Change, unchanged
from benchmarks.simulation.line.top_ups import IN_STEPS, AutoTopUp, Steps
from benchmarks.simulation.scenario import Scenario


@dataclass(frozen=True)
class LineScenario(Scenario):
    """
    What a scenario varies, in addition to what every simulated fleet varies.

    :param rule: whose turn it is.
    :param hold_seconds: for how long nothing may move before a hold ends, in seconds.
    :param top_ups: how money comes in.
    :param change: adds and changes runs.
    :param timeout_seconds: after how long a gate gives up; Airflow's default.
    """

    rule: type[FirstFit] = TheLine
    hold_seconds: float = line_rule.DEFAULT_HOLD_SECONDS
    top_ups: Steps | AutoTopUp = IN_STEPS
    change: Change = unchanged
    timeout_seconds: float = 7 * 24 * 60 * 60
