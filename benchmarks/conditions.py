"""When, with which versions and on which machine something was measured."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def airflow_conditions() -> dict[str, str]:
    """Return when, with which versions and on which machine a whole Airflow is measured, for a report."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "airflow": version("apache-airflow"),
        "provider": version("airflow-provider-youcom"),
        "python": sys.version.split()[0],
        "machine": machine(),
    }


def machine() -> str:
    """Return the cores, the processor and the memory of this machine, for a report."""
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024**2
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].split(":")[1].strip() if names else os.uname().machine
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GB"
