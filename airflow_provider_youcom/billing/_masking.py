"""Keep the key out of what people and logs get to see."""

from __future__ import annotations

import base64
import re
import traceback
from collections.abc import Iterator
from types import TracebackType
from urllib.parse import quote

# A shorter piece of base64 could be anything.
_SHORTEST_ENCODED = 8


class no_key_in_errors:  # noqa: N801 - used as a statement
    """
    Let an exception out without what holds the key: the variables of its frames, and its context.

    Some error trackers report all variables. An error of requests holds the request, and it would go along
    as the context of ours. The lines of the traceback stay. This applies to every exception, since Airflow's
    ``execution_timeout`` can raise one anywhere.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        if error is not None:
            error.__context__ = None
            traceback.clear_frames(frames)


def holds_key(text: str, api_key: str) -> bool:
    """
    Return whether a text holds the key: as it is, URL-encoded or in base64.

    :param text: what a server said.
    :param api_key: the key that it was sent.
    """
    return any(form in text for form in _forms_of(api_key))


def mask_key(text: str, api_key: str) -> str:
    """
    Replace the key by ``***`` wherever a text holds it.

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
    """Yield the key in base64, alone or inside a longer text, where its form depends on its position."""
    yield base64.b64encode(key).decode()
    yield base64.urlsafe_b64encode(key).decode()
    for bytes_before in range(3):
        text = bytes(bytes_before) + key
        # The first characters also hold bits of what comes before the key, and the last ones of what follows.
        first = -(-bytes_before * 8 // 6)
        last = len(text) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(text).decode()[first:last]
