"""The plot of the fleet."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.fleet.outcome import RESERVING, Outcome
from benchmarks.fleet.report import FleetReport

SUCCEEDED_COLOUR, DIED_COLOUR, BALANCE_COLOUR, QUIET_COLOUR = "#3d1fa8", "#d93025", "#7c5cd6", "#5f6368"
TITLES = {
    "fleet_checking": "Gates that check",
    "fleet_pool": "Gates that check, a pool, a second check",
    "fleet_reserving": "Gates that reserve",
    "fleet_mixed": "Gates that reserve, one of a large run",
}


def plot(report: FleetReport, path: Path) -> None:
    """
    Plot for each arm which runs succeeded and which died, and below what the account held.

    :param report: the results.
    :param path: the SVG file to write.
    """
    plt.rcParams.update(
        {"font.size": 9, "svg.hashsalt": "fleet", "svg.fonttype": "none", "text.parse_math": False}
    )
    columns = len(report.outcomes)
    figure, axes = plt.subplots(
        2, columns, figsize=(4 * columns, 4.6), sharex=True, sharey="row", height_ratios=[3, 1], squeeze=False
    )
    for outcome, runs_axis, balance_axis in zip(report.outcomes, *axes, strict=True):
        _plot_runs(runs_axis, report, outcome)
        minutes, usd = zip(*[(at / 60, usd) for at, usd in outcome.balances], strict=True)
        balance_axis.fill_between(minutes, usd, step="post", color=BALANCE_COLOUR)
        balance_axis.set_xlabel("minutes after the first top-up")
        for axis in (runs_axis, balance_axis):
            axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("runs")
    axes[1][0].set_ylabel("balance ($)")
    axes[0][0].set_ylim(0, report.plan.runs * 1.05)
    figure.text(
        0.01,
        0.01,
        f"Airflow {report.conditions['airflow']}, {report.conditions['machine']}, "
        f"{report.conditions['date']}. Settle time {report.plan.settle_seconds:g} s, charges posted after "
        f"{report.plan.posted_after_seconds:g} s.",
        fontsize=7,
        color=QUIET_COLOUR,
    )
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _plot_runs(axis: Axes, report: FleetReport, outcome: Outcome) -> None:
    last = max(each.seconds for each in report.outcomes)
    for moments, label, colour in (
        (outcome.succeeded_at, "succeeded", SUCCEEDED_COLOUR),
        (outcome.died_at, "died", DIED_COLOUR),
    ):
        minutes = [0.0, *(at / 60 for at in moments), last / 60]
        runs = [*range(len(moments) + 1), len(moments)]
        axis.step(minutes, runs, where="post", color=colour, linewidth=2, label=f"{len(moments)} {label}")
    if outcome.arm == RESERVING:
        ideal = report.ideal_ends(outcome)
        axis.step(
            [0.0, *(at / 60 for at in ideal)],
            range(len(ideal) + 1),
            where="post",
            color=QUIET_COLOUR,
            linestyle="dotted",
            label="ideal schedule",
        )
    axis.set_title(
        f"{TITLES[outcome.arm]}\n{outcome.dead} of {outcome.runs} runs died, "
        f"{outcome.refused} payments refused, ${outcome.lost_usd:,.0f} lost",
        fontsize=9,
    )
    axis.legend(loc="best", frameon=False)
