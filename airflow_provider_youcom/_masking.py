"""Keep the key out of errors and logs."""

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
    Clear the frames and the context of an exception that leaves the block, since they may hold the key.

    Some error trackers report the variables of all frames. An error of requests holds the request, and
    would be the context of ours. The lines of the traceback stay. This applies to every exception, since
    Airflow's ``execution_timeout`` can raise one anywhere.
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
    """Return whether a text contains the key, in plain, URL-encoded or base64 form."""
    return any(form in text for form in _forms_of(api_key))


def mask_key(text: str, api_key: str) -> str:
    """Replace the key in a text with ``***``, in each of its forms."""
    for form in sorted(_forms_of(api_key), key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _forms_of(api_key: str) -> set[str]:
    encoded = {quote(api_key), quote(api_key, safe=""), *_base64_forms(api_key.encode())}
    encoded |= {re.sub("%..", lambda escape: escape[0].lower(), form) for form in encoded}
    return {api_key, *(form for form in encoded if len(form) >= _SHORTEST_ENCODED)}


def _base64_forms(key: bytes) -> Iterator[str]:
    """Yield the key in base64, by itself and as part of a longer text, where it depends on the position."""
    yield base64.b64encode(key).decode()
    yield base64.urlsafe_b64encode(key).decode()
    for bytes_before in range(3):
        text = bytes(bytes_before) + key
        # Leave out the first and last characters, which also hold bits of the text around the key.
        first = -(-bytes_before * 8 // 6)
        last = len(text) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(text).decode()[first:last]
