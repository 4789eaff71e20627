"""A server that sends what no HTTP library would send."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Speech = Callable[[socket.socket], None]


class BrokenServer:
    """
    Reads the head of each request, and lets a function answer it.

    :param speech: the function, called with the connection. None closes the connection before it reads.
    :param tls: the context that holds the server's certificate. None speaks plain HTTP.
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
        """Cut all connections, and accept no more."""
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
        # These tests are about clients that give up halfway.
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
    """Send these bytes, and close the connection."""
    whole = b"".join(parts)
    return lambda connection: connection.sendall(whole)


def says_without_end(start: bytes, more: bytes, pause: float = 0.0) -> Speech:
    """Send the start, and then the same bytes again and again until the client hangs up."""

    def speech(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            time.sleep(pause)
            connection.sendall(more)

    return speech


def says_and_resets(start: bytes) -> Speech:
    """Send the start, and reset the connection instead of closing it."""

    def speech(connection: socket.socket) -> None:
        connection.sendall(start)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return speech


def says_and_holds(start: bytes) -> Speech:
    """Send the start, and nothing more until the client hangs up."""

    def speech(connection: socket.socket) -> None:
        connection.sendall(start)
        connection.recv(1)

    return speech


def leads_to(answer: bytes) -> Speech:
    """Agree to be a tunnel, and answer the first bytes that are sent through it."""

    def speech(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.recv(65536)
        connection.sendall(answer)
        connection.recv(1)

    return speech


says_nothing = says_and_holds(b"")


def _request_head(connection: socket.socket) -> bytes:
    head = b""
    # A TLS handshake on a plain port has no such end.
    while b"\r\n\r\n" not in head and not head.startswith(b"\x16"):
        received = connection.recv(65536)
        if not received:
            break
        head += received
    return head
