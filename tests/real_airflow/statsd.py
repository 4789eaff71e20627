"""A StatsD server that records what it receives."""

from __future__ import annotations

import socket
from threading import Thread
from types import TracebackType
from typing import Self


class StatsdServer:
    """A UDP socket on 127.0.0.1, for as long as a ``with`` block lasts."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = Thread(target=self._listen)
        self.received: set[str] = set()

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which Airflow sends the provider's metrics here, and no others."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
            "AIRFLOW__METRICS__METRICS_ALLOW_LIST": "youcom",
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An empty datagram ends the thread.
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65_536):
            self.received.update(datagram.decode().splitlines())
