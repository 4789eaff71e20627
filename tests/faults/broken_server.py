"""A server that says what no HTTP library would say."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Speech = Callable[[socket.socket], None]


class BrokenServer:
    """
    Hears a request out, and answers by a speech: a function that is given the connection.

    :param speech: what to say; None hangs up at once, before anything is heard.
    :param tls: whose certificate to show; None speaks plain HTTP.
    """

    def __init__(self, speech: Speech | None, tls: ssl.SSLContext | None = None) -> None:
        self.heard: list[bytes] = []
        self._speech = speech
        self._tls = tls
        self._connections: list[socket.socket] = []
        self._over = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        scheme = "http" if tls is None else "https"
        self.base_url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """Cut all connections, and take no more."""
        self._over = True
        for sock in [self._listener, *self._connections]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                if self._over:
                    connection.close()
                    return
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # A client that gives up in the middle is what these tests are about.
        with suppress(OSError, ssl.SSLError):
            if self._speech is None:
                connection.close()
                return
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            self.heard.append(_request_head(connection))
            self._speech(connection)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def says(*parts: bytes) -> Speech:
    """Say this, and hang up."""
    whole = b"".join(parts)
    return lambda connection: connection.sendall(whole)


def says_for_ever(start: bytes, more: bytes, pause: float = 0.0) -> Speech:
    """Say the start, and then the same again and again until nobody listens."""

    def speech(connection: socket.socket) -> None:
        connection.sendall(start)
        hung_up = threading.Event()
        while not hung_up.wait(pause):
            connection.sendall(more)

    return speech


def says_and_resets(start: bytes) -> Speech:
    """Say the start, and reset the connection instead of closing it."""

    def speech(connection: socket.socket) -> None:
        connection.sendall(start)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return speech


def says_nothing(connection: socket.socket) -> None:
    """Keep the line open until the other side hangs up."""
    connection.recv(1)


def _request_head(connection: socket.socket) -> bytes:
    head = b""
    # A TLS handshake on a plain port never comes to an end that looks like HTTP's.
    while b"\r\n\r\n" not in head and not head.startswith(b"\x16"):
        received = connection.recv(65536)
        if not received:
            break
        head += received
    return head
