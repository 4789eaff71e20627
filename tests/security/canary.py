"""A key that is made to be seen, and the search for it in every form that it could leak in."""

from __future__ import annotations

import base64
import gc
import re
import types
from collections.abc import Iterator
from urllib.parse import quote

# Its odd characters make the URL-encoded form differ from the plain one.
CANARY_KEY = "ydc-canary/7Qe+0xL=f3a9-never-to-be-seen"

# Where a search of everything that an object holds would leave the object.
_ELSEWHERE = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.TracebackType,
    types.FrameType,
)


def forms_of(key: str) -> frozenset[bytes]:
    """Give a key as it would be seen in plain, URL-encoded and base64 text."""
    encoded = {quote(key), quote(key, safe="")}
    lower = {re.sub("%..", lambda escape: escape[0].lower(), text) for text in encoded}
    in_json = key.replace("/", "\\/")
    texts = {key, in_json, *encoded, *lower}
    return frozenset({text.encode() for text in texts} | set(_base64_forms(key.encode())))


def sightings(text: str | bytes, key: str = CANARY_KEY) -> int:
    """Count how often a key is seen in a text."""
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return sum(data.count(form) for form in forms_of(key))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Walk an exception and all that led to it."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is None or any(link is known for known in seen):
            continue
        seen.append(link)
        yield link
        waiting += [link.__cause__, link.__context__]


def everything_in(root: object) -> Iterator[str | bytes]:
    """Walk all the text that can be reached from an object, however deep inside."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        held = waiting.pop()
        if id(held) in seen or isinstance(held, _ELSEWHERE):
            continue
        seen.add(id(held))
        if isinstance(held, str | bytes | bytearray):
            yield bytes(held) if isinstance(held, bytearray) else held
            continue
        waiting += gc.get_referents(held)


def _base64_forms(key: bytes) -> Iterator[bytes]:
    """Give the three ways in which base64 writes a key, by where it stands in the encoded text."""
    for offset in range(3):
        padded = b"\0" * offset + key
        whole = len(padded) // 3 * 3
        # The first characters mix with what stands before the key, and the last with what follows.
        first = -(-offset * 8 // 6)
        yield base64.b64encode(padded[:whole])[first:]
        yield base64.urlsafe_b64encode(padded[:whole])[first:]
