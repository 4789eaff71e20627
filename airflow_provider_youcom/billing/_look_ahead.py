"""Read the start of an answer that is not a balance, and keep it for whoever reads the answer later."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import urllib3

from airflow_provider_youcom.billing._bounds import (
    LARGEST_BODY,
    CallTooLongError,
    bounded_call,
    seconds_left,
)

# A body usually comes with its head.
_LONGEST_LOOK = 5.0
_INCOMPLETE = (OSError, urllib3.exceptions.HTTPError, CallTooLongError)
_START = "youcom_start_of_body"


def look_ahead(response: urllib3.BaseHTTPResponse) -> bytes:
    """
    Return the start of a body as it was sent, up to ``LARGEST_BODY`` bytes; less if the rest is late.

    :param response: one whose body has not been read.
    """
    start = b""
    # Half of what is left, so that a body that never ends leaves time for another try.
    with suppress(*_INCOMPLETE), bounded_call(min(_LONGEST_LOOK, seconds_left() / 2)):
        # Each read returns what is there, so that what came before a failure is not lost.
        while piece := response.read1(LARGEST_BODY - len(start), decode_content=False):
            start += piece
    setattr(response, _START, start)
    return start


def whole(response: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
    """
    Return a response whose body can be read from its beginning.

    :param response: one that ``look_ahead`` may have read from.
    """
    start = getattr(response, _START, None)
    if start is None:
        return response
    return urllib3.HTTPResponse(
        io.BufferedReader(_Body(start, response)),
        headers=response.headers,
        status=response.status,
        version=response.version,
        reason=response.reason,
        preload_content=False,
        decode_content=False,
    )


class _Body(io.RawIOBase):
    def __init__(self, start: bytes, rest: urllib3.BaseHTTPResponse) -> None:
        self._start = io.BytesIO(start)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._start.read(len(buffer)) or self._rest.read1(len(buffer), decode_content=False)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._rest.close()
        super().close()
