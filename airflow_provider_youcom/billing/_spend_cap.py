"""Tell a key that has reached its spending cap from a rate limit: both are answered with HTTP 429."""

from __future__ import annotations

import re
import zlib
from contextlib import suppress

# https://you.com/docs/additional-resources/changelog/2026/10/5 names the code, but not where the body has it.
_CODE = re.compile(rb"\bspend_cap_exceeded\b", re.IGNORECASE)
_JSON_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)")
# zlib finds out by itself which of the two it is.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_LONGEST_TEXT = 64 * 1024


def names_spend_cap(body: bytes) -> bool:
    """
    Return whether the body of a 429 answer contains the code of a spending cap, as a word of its own.

    :param body: as it was sent, which may be compressed with gzip or deflate, or be cut short.
    """
    # In JSON, the n of a line break would be a letter in front of the code.
    return any(_CODE.search(_JSON_ESCAPE.sub(b" ", text)) for text in (body, *_unpacked(body)))


def _unpacked(body: bytes) -> list[bytes]:
    """Return the start of a compressed body, unpacked in each way that works."""
    texts = []
    for window_bits in (_GZIP_OR_ZLIB, -zlib.MAX_WBITS):
        with suppress(zlib.error):
            # Bounded: a small body can unpack to any size.
            texts.append(zlib.decompressobj(window_bits).decompress(body, _LONGEST_TEXT))
    return texts
