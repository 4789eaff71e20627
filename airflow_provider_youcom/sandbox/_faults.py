"""What goes wrong in the sandbox, on purpose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from airflow_provider_youcom.sandbox._checks import SECONDS, invalid, is_seconds, is_whole

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


@dataclass(frozen=True)
class Fault:
    """
    What goes wrong with an answer of the billing API; the rest of the answer stays as it is.

    :param status: HTTP status of the answer.
    :param headers: headers to add or to replace, such as ``{"Retry-After": "5"}``.
    :param body: body of the answer.
    :param delay: seconds of silence before the answer.
    :param cut: cut the connection ``"before"`` the answer or ``"inside"`` its body.
    :param drip: seconds between any two bytes of the answer.
    :param repeat: number of times that the body is sent; -1 sends it without end.
    :raises ValueError: if a value has the wrong type or is out of range.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    delay: float = 0.0
    cut: Literal["before", "inside"] | None = None
    drip: float = 0.0
    repeat: int = 1

    def __post_init__(self) -> None:
        # A fault that comes over HTTP can hold any JSON.
        for name, is_valid, expected in (
            ("status", self.status is None or is_whole(self.status, 200, 999), "a number from 200 to 999"),
            ("headers", _are_headers(self.headers), "an object of names and values that HTTP allows"),
            ("body", self.body is None or isinstance(self.body, str), "a string"),
            ("delay", is_seconds(self.delay), SECONDS),
            ("cut", self.cut in (None, "before", "inside"), '"before" or "inside"'),
            ("drip", is_seconds(self.drip), SECONDS),
            ("repeat", self._repeats_something(), "-1 with a body, or a number from 1 to 1000000"),
        ):
            if not is_valid:
                raise invalid(name, expected)

    def _repeats_something(self) -> bool:
        return is_whole(self.repeat, 1, 10**6) or (self.repeat == -1 and self.body != "")


def _are_headers(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        _is(_HEADER_NAME, name) and _is(_HEADER_VALUE, text) for name, text in value.items()
    )


def _is(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
