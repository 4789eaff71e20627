"""What the fault matrix came to, printed at the end of the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest


@dataclass
class Tally:
    """Counts of one run."""

    tried: int = 0
    survived: int = 0
    keys_found: int = 0
    gates: int = 0
    gates_right: int = 0
    slowest: tuple[float, str] = (0.0, "none")
    largest: tuple[int, str] = (0, "none")
    by_kind: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Give the summary table."""
        rows = [
            ("faults tried", f"{self.tried}"),
            ("faults survived", f"{self.survived}"),
            *((f"  {kind}", f"{count}") for kind, count in sorted(self.by_kind.items())),
            ("gates that met a fault while waiting", f"{self.gates}"),
            ("gates lost", f"{self.gates - self.gates_right}"),
            ("keys found", f"{self.keys_found}"),
            ("slowest", f"{self.slowest[0]:.2f} s of 3 s ({self.slowest[1]})"),
            ("most memory", f"{self.largest[0] / 1e6:.2f} MB of 20 MB ({self.largest[1]})"),
        ]
        return [f"{name:<38} {value}" for name, value in rows]


TALLY = pytest.StashKey[Tally]()
