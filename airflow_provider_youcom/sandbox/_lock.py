"""A lock that keeps a forked process from changing a copy that nobody serves."""

from __future__ import annotations

import os
import threading


class ProcessLock:
    """A reentrant lock for the threads of one process. To take it in a fork of that process is an error."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()

    @property
    def is_ours(self) -> bool:
        """Whether it was made in this process."""
        return os.getpid() == self._pid

    def __enter__(self) -> None:
        if not self.is_ours:
            raise RuntimeError(
                "This process was forked from the one that runs the sandbox, and holds only a copy of the "
                "accounts: send requests to the paths under /sandbox instead."
            )
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
