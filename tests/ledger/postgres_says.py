"""A server that speaks just enough of PostgreSQL's protocol to refuse whoever connects, in its own words."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


@contextmanager
def postgres_that_says(
    message: str, sqlstate: str, severity: str = "FATAL", encoding: str = "utf-8"
) -> Iterator[int]:
    """Run the server for the length of a ``with`` block, and return its port."""
    fields = {"S": severity, "V": "FATAL", "C": sqlstate, "M": message}
    body = b"".join(kind.encode() + text.encode(encoding) + b"\0" for kind, text in fields.items()) + b"\0"
    answer = b"E" + struct.pack("!I", len(body) + 4) + body
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client:
                _refuse(client, answer)


def _refuse(client: socket.socket, answer: bytes) -> None:
    with suppress(OSError, struct.error):
        while True:
            length, code = struct.unpack("!II", client.recv(8))
            if code not in (_SSL_REQUEST, _GSS_REQUEST):
                break
            client.sendall(b"N")
        client.recv(length)
        client.sendall(answer)
        # Until the driver has read it: a reset would overtake it.
        client.shutdown(socket.SHUT_WR)
        client.recv(65536)
