"""The plot of the simulated line."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.simulation.line.settings import LARGE, LESS, MORE, RULES, SMALL, Outcome

COLOURS = ("#9aa0a6", "#c4b5f0", "#7c5cd6")


def plot_line(outcomes: list[Outcome], note: str, path: Path) -> None:
    """
    Plot how long small and large runs wait by each rule, if less or more is wanted than comes in.

    :param outcomes: of the simulation.
    :param note: how it was simulated.
    :param path: the SVG file to write.
    """
    plt.rcParams.update(
        {"font.size": 9, "svg.hashsalt": "line", "svg.fonttype": "none", "text.parse_math": False}
    )
    figure, axes = plt.subplots(2, 2, figsize=(9, 3.6), sharey=True)
    for row, setting in zip(axes, (LESS, MORE), strict=True):
        shown = [each for each in outcomes if each.setting == setting]
        for axis, group in zip(row, (SMALL, LARGE), strict=True):
            hours = [each.result.waits[group].p99 / 3600 for each in shown]
            bars = axis.barh(range(len(shown)), hours, color=COLOURS)
            axis.bar_label(bars, labels=[f"{each:.1f}" for each in hours], padding=3)
            axis.set_title(f"{setting}:\nwait of a run of {group}, p99 (hours)")
            axis.margins(x=0.18)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_yticks(range(len(RULES)), RULES.values())
    axes[0][0].invert_yaxis()
    figure.text(0.01, 0.01, note, fontsize=7, color="#5f6368")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
