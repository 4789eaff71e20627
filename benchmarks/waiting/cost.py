"""What it cost to let some gates wait and open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DEFERRED_MODES = "cde"


@dataclass(frozen=True)
class Cost:
    """
    What was measured while some gates waited and opened.

    CPU seconds are those of all Airflow processes, less what an idle Airflow uses in the same time.
    """

    mode: str
    gates: int
    api_calls_per_minute: float | None
    """Counted over whole intervals; None if none was over before the top-up."""
    cpu_per_gate_minute: float
    """For one minute in which all gates wait."""
    cpu_per_gate_life: float
    """From the start of the runs to their end, with one minute of waiting for each gate."""
    cpu_per_gate_measured: float
    """From the start of the runs to their end, for as long as the gates waited."""
    cpu_per_gate_by_component: dict[str, float]
    """How much of that each component used. The workers are the scheduler's children."""
    database_cpu_per_gate: float
    mean_wait: float
    """Seconds for which a gate waited on the empty account."""
    triggerer_idle_kb: int
    triggerer_waiting_kb: int
    worker_starts: int
    seconds_to_all_waiting: float
    sample_after_top_up: float
    first_done_after_top_up: float
    last_done_after_top_up: float
    last_done_after_sample: float
    lost: int
    """Gates that did not end in success."""
    twice: int
    load: float

    @property
    def name(self) -> str:
        """The mode and the number of gates."""
        return f"{self.mode} × {self.gates}"

    def kb_per_gate(self, costs: Sequence[Cost]) -> float | None:
        """
        Return the triggerer's memory for one more gate, compared with the fewest gates in the same mode.

        :param costs: all results.
        """
        fewest = min((each for each in costs if each.mode == self.mode), key=lambda each: each.gates)
        if self.mode not in DEFERRED_MODES or fewest.gates == self.gates:
            return None
        return (self.triggerer_waiting_kb - fewest.triggerer_waiting_kb) / (self.gates - fewest.gates)
