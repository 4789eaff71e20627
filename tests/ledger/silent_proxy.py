"""A TCP proxy that can stop forwarding while its connections stay open, like a server that is silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SilentProxy:
    """
    Forward connections to a port of this machine.

    :param port: where to.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._speaks = threading.Event()
        self._speaks.set()
        self._left: int | None = None
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self, after_answers: int = 0) -> None:
        """Forward nothing any more, from now on or after some more answers of the server."""
        if after_answers:
            self._left = after_answers
        else:
            self._speaks.clear()

    def speak(self) -> None:
        """Forward again, what is new; what was swallowed stays lost."""
        self._left = None
        self._speaks.set()

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connect_for(client)
                if server is None:
                    continue
                self._open += (client, server)
                for source, target, is_answer in ((client, server, False), (server, client, True)):
                    threading.Thread(
                        target=self._forward, args=(source, target, is_answer), daemon=True
                    ).start()

    def _connect_for(self, client: socket.socket) -> socket.socket | None:
        try:
            return socket.create_connection(self._target)
        except OSError:
            client.close()
            return None

    def _forward(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self._left is not None:
                    self._left -= 1
                    if self._left < 0:
                        self._speaks.clear()
                if self._speaks.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def silent_proxy(port: int) -> Iterator[SilentProxy]:
    """Run a proxy for the length of a ``with`` block."""
    proxy = SilentProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
