"""A task that asks for the id of the deployment at the same moment as others, and prints it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from airflow_provider_youcom import _deployment
from tests.airflow_task import in_a_task


def main(meeting_place: Path, name: str, unchanged_for: float) -> None:
    _deployment.UNCHANGED_FOR = unchanged_for
    _deployment.LOOK_EVERY = unchanged_for / 10
    with in_a_task():
        # Airflow's API starts at the first question.
        _deployment.read_variable("nothing")
        (meeting_place / name).touch()
        while not (meeting_place / "go").exists():
            time.sleep(0.01)
        sys.stdout.write(f"id={_deployment.deployment_id()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
