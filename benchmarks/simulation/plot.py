"""The plot of the simulation."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.simulation.result import Result

IDEAL_COLOUR, COLOUR = "#9aa0a6", "#7c5cd6"


def plot(results: dict[str, Result], note: str, path: Path) -> None:
    """
    Plot the money that lies idle, and how long small and large runs wait.

    :param results: by what was varied; the ideal comes first.
    :param note: how it was simulated.
    :param path: the SVG file to write.
    """
    shown = list(results.values())
    panels = (
        ("Money that lies idle, mean ($)", [each.idle_usd for each in shown]),
        ("Wait of a run of $1 to $10,\np99 (minutes)", [each.waits["$1 to $10"].p99 / 60 for each in shown]),
        (
            "Wait of a run of $100 to $400,\np99 (hours)",
            [each.waits["$100 to $400"].p99 / 3600 for each in shown],
        ),
    )
    plt.rcParams.update(
        {"font.size": 9, "svg.hashsalt": "simulation", "svg.fonttype": "none", "text.parse_math": False}
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(12, 0.36 * len(shown) + 1.4), sharey=True)
    for axis, (title, values) in zip(axes, panels, strict=True):
        bars = axis.barh(range(len(shown)), values, color=[IDEAL_COLOUR, *[COLOUR] * (len(shown) - 1)])
        axis.bar_label(
            bars, labels=[f"{value:.1f}" if value < 10 else f"{value:.0f}" for value in values], padding=3
        )
        axis.set_title(title)
        axis.margins(x=0.18)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(shown)), list(results))
    axes[0].invert_yaxis()
    figure.text(0.01, 0.01, note, fontsize=7, color="#5f6368")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
