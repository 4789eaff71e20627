"""Find the key where a server repeats it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import quote

# A shorter piece of base64 could be anything.
_SHORTEST_ENCODED = 8


def holds_key(text: str, api_key: str) -> bool:
    """
    Tell whether a key stands in a text: in plain, URL-encoded or in base64.

    :param text: what a server said.
    :param api_key: the key that it was sent.
    """
    return any(form in text for form in _forms_of(api_key))


def mask_key(text: str, api_key: str) -> str:
    """
    Give a text with ``***`` wherever the key stands.

    :param text: what a server said.
    :param api_key: the key that it was sent.
    """
    for form in sorted(_forms_of(api_key), key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _forms_of(api_key: str) -> set[str]:
    encoded = {quote(api_key), quote(api_key, safe=""), *_base64_forms(api_key.encode())}
    encoded |= {re.sub("%..", lambda escape: escape[0].lower(), form) for form in encoded}
    return {api_key, *(form for form in encoded if len(form) >= _SHORTEST_ENCODED)}


def _base64_forms(key: bytes) -> Iterator[str]:
    """Give what base64 makes of the key, alone or in a longer text: that depends on where it begins there."""
    yield base64.b64encode(key).decode()
    yield base64.urlsafe_b64encode(key).decode()
    for bytes_before in range(3):
        text = bytes(bytes_before) + key
        # The first characters hold bits of what stands before, and the last ones of what comes behind.
        first = -(-bytes_before * 8 // 6)
        last = len(text) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(text).decode()[first:last]
