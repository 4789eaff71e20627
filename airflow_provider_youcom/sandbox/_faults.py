"""What goes wrong in the sandbox, on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


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
            ("status", self.status is None or is_whole(self.status, 100, 999), "a number from 100 to 999"),
            ("headers", _are_headers(self.headers), "an object of strings"),
            ("body", self.body is None or isinstance(self.body, str), "a string"),
            ("delay", _are_seconds(self.delay), "a number of seconds from 0 to 86400"),
            ("cut", self.cut in (None, "before", "inside"), '"before" or "inside"'),
            ("drip", _are_seconds(self.drip), "a number of seconds from 0 to 86400"),
            ("repeat", self._repeats_something(), "-1 with a body, or a number from 1 to 1000000"),
        ):
            if not is_valid:
                raise invalid(name, expected)

    def _repeats_something(self) -> bool:
        return is_whole(self.repeat, 1, 10**6) or (self.repeat == -1 and self.body != "")


def invalid(name: str, expected: str) -> ValueError:
    """Return the error for a value that the sandbox cannot use."""
    return ValueError(f"{name} is not valid: expected {expected}.")


def is_whole(value: object, least: int, most: int) -> bool:
    """Return whether a value is a whole number in a range; True and False are not."""
    return type(value) is int and least <= value <= most


def _are_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 86_400  # type: ignore[operator]


def _are_headers(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(text, str) for pair in value.items() for text in pair
    )
