"""The example DAGs that the installed Airflow can run."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "example_dags"
# They are the ones with an asset watcher.
NEED_AIRFLOW_3 = [
    FOLDER / "example_youcom_alert_once.py",
    FOLDER / "example_youcom_backlog.py",
    FOLDER / "example_youcom_low_credits.py",
]
ON_AIRFLOW_2 = version("apache-airflow").startswith("2.")
EXAMPLES = [file for file in sorted(FOLDER.glob("*.py")) if not (ON_AIRFLOW_2 and file in NEED_AIRFLOW_3)]
