"""Print what happens line by line, with the seconds since the beginning."""

from __future__ import annotations

import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_INDENT = " " * 7
_WIDTH = 100


class Story:
    """Prints what happens. The seconds count from its construction."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> int:
        """Seconds since the beginning."""
        return int(time.monotonic() - self._began)

    def tell(self, what: str, *quotes: str) -> None:
        """
        Print what happened.

        :param what: one sentence.
        :param quotes: what somebody else said about it, word for word.
        """
        print(_wrapped(f"{self.seconds:4} s ", what), flush=True)
        for quote in quotes:
            print(_wrapped(f"{_INDENT}  | ", quote), flush=True)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """
        Print what is waited for. On a terminal the seconds count up, and the next line replaces this one.

        :param what: what is waited for.
        """
        if not sys.stdout.isatty():
            self.tell(f"{what} ...")
            yield
            return
        over = threading.Event()
        clock = threading.Thread(target=self._count, args=(what, over))
        clock.start()
        try:
            yield
        finally:
            over.set()
            clock.join()

    def _count(self, what: str, over: threading.Event) -> None:
        while True:
            # A line that wraps could not be replaced.
            line = f"{self.seconds:4} s {what} ..."[: shutil.get_terminal_size().columns - 1]
            print(f"\r{line}", end="", flush=True)
            if over.wait(0.5):
                print("\r\033[K", end="", flush=True)
                return


def _wrapped(first: str, text: str) -> str:
    later = first if first.endswith("| ") else _INDENT
    return textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False)
