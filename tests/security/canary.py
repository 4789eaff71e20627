"""A key that is easy to find, and the search for it in every form in which it could leak."""

from __future__ import annotations

import base64
import gc
import re
import types
from collections.abc import Iterator
from urllib.parse import quote

# Its odd characters make the URL-encoded form differ from the plain one.
CANARY_KEY = "ydc-canary/7Qe+0xL=f3a9-never-to-be-seen"

# A search of everything that an object holds stops at this depth.
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
    """Return the forms of a key: in plain text, URL-encoded and in base64."""
    encoded = {quote(key), quote(key, safe="")}
    lower = {re.sub("%..", lambda escape: escape[0].lower(), text) for text in encoded}
    in_json = key.replace("/", "\\/")
    texts = {key, in_json, *encoded, *lower}
    return frozenset({text.encode() for text in texts} | set(_base64_forms(key.encode())))


def sightings(text: str | bytes, key: str = CANARY_KEY) -> int:
    """Return how often a text contains a key."""
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return sum(data.count(form) for form in forms_of(key))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and all its causes and contexts."""
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
    """Yield every text that can be reached from an object."""
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
    """Yield the base64 of a key at each of the three offsets in an encoded text."""
    for offset in range(3):
        padded = b"\0" * offset + key
        whole = len(padded) // 3 * 3
        # The first characters also hold bits of what precedes the key, and the last bits of what follows.
        first = -(-offset * 8 // 6)
        yield base64.b64encode(padded[:whole])[first:]
        yield base64.urlsafe_b64encode(padded[:whole])[first:]
