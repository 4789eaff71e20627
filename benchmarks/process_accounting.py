"""CPU time and memory of processes and of their children, including those that have exited. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class _Process:
    parent: int
    session: int
    ticks: int


def cpu_seconds(leaders: Iterable[int]) -> float:
    """
    Return the CPU seconds that these processes and all their descendants have used so far.

    A process that has exited is counted too, and only once: when its parent waits for it, the kernel adds its
    time to the parent's.

    :param leaders: process ids.
    """
    table = _table()
    return sum(table[pid].ticks for pid in _family(table, leaders)) / _TICKS_PER_SECOND


def memory_kb(leaders: Iterable[int]) -> int:
    """
    Return the memory of these processes and all their descendants. Shared memory is counted once.

    :param leaders: process ids.
    """
    return sum(_proportional_set_size(pid) for pid in _family(_table(), leaders))


def _family(table: dict[int, _Process], leaders: Iterable[int]) -> set[int]:
    # By session too: a process whose parent has died gets another parent.
    wanted = set(leaders)
    family = {pid for pid, process in table.items() if pid in wanted or process.session in wanted}
    while more := {pid for pid, process in table.items() if process.parent in family} - family:
        family |= more
    return family


def _table() -> dict[int, _Process]:
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # The process may have ended.
            with suppress(OSError):
                # The name in parentheses may contain blanks and parentheses.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                ticks = sum(int(field) for field in fields[11:15])
                table[int(entry.name)] = _Process(int(fields[1]), int(fields[3]), ticks)
    return table


def _proportional_set_size(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
