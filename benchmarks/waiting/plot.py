"""The benchmark's plot."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.waiting.cost import Cost

NAMES = {
    "a": "HttpSensor,\nreschedule",
    "b": "BalanceSensor,\nreschedule",
    "c": "BalanceSensor,\ndeferred",
    "d": "BalanceSensor,\nin the triggerer",
    "e": "BalanceSensor,\ndeferred, reserving",
}
COLOURS = {"a": "#9aa0a6", "b": "#b7a6e8", "c": "#7c5cd6", "d": "#3d1fa8", "e": "#b3549c"}


def plot(costs: list[Cost], conditions: dict[str, str], path: Path) -> None:
    """
    Plot the CPU time of a gate, the API calls a minute, and the time until the last gate is done.

    :param costs: the results.
    :param conditions: date, versions and machine.
    :param path: the SVG file to write.
    """
    shown = [cost for cost in costs if cost.gates > 1]
    panels: tuple[tuple[str, list[float | None]], ...] = (
        ("CPU seconds a gate,\none minute of waiting included", [cost.cpu_per_gate_life for cost in shown]),
        ("API calls a minute", [cost.api_calls_per_minute for cost in shown]),
        ("Last gate done,\nseconds after the top-up", [cost.last_done_after_top_up for cost in shown]),
    )
    plt.rcParams.update({"font.size": 9, "svg.hashsalt": "waiting", "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, len(panels), figsize=(12, 0.42 * len(shown) + 1.8), sharey=True)
    for axis, (title, values) in zip(axes, panels, strict=True):
        lengths = [value or 0.0 for value in values]
        labels = ["not counted" if value is None else f"{value:.3g}" for value in values]
        bars = axis.barh(range(len(shown)), lengths, color=[COLOURS[cost.mode] for cost in shown])
        axis.bar_label(bars, labels=labels, padding=3)
        axis.set_title(title)
        axis.margins(x=0.18)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(
        range(len(shown)), [f"{NAMES[cost.mode].replace(chr(10), ' ')} × {cost.gates}" for cost in shown]
    )
    axes[0].invert_yaxis()
    figure.text(
        0.01,
        0.01,
        f"Airflow {conditions['airflow']}, {conditions['machine']}, {conditions['date']}",
        fontsize=7,
        color="#5f6368",
    )
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
