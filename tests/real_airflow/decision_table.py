"""The decision table: what You.com answers, which options a gate has, and how its task must end."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from airflow_provider_youcom.sandbox import Account, Fault, Sandbox

MIN_USD = "5"


class Answer(Enum):
    """What You.com answers about a gate's account."""

    ENOUGH = "enough"
    SHORT = "short"
    UNAVAILABLE = "unavailable"
    BAD_KEY = "bad key"
    NO_SCOPE = "no scope"
    NOT_THE_CONTRACT = "not the contract"


ENOUGH, SHORT, UNAVAILABLE, BAD_KEY, NO_SCOPE, NOT_THE_CONTRACT = Answer

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
    "triggerer": {"deferrable": True, "start_from_trigger": True, "end_from_trigger": True},
    "reserving": {"deferrable": True, "reserve": True},
}
ON_A_WORKER = ("poke", "reschedule")
RESERVING = ("reserving",)


class Pace(NamedTuple):
    """
    How often a gate checks.

    :param poke_interval: seconds between two checks.
    :param timeout: seconds, for a gate with a ``timeout``.
    :param checks: how many checks get the first answer, if there is a second one.
    """

    poke_interval: int
    timeout: int
    checks: int


# If a gate resumes before the scheduler has noticed that it left the worker, the scheduler takes it for lost
# and retries it. Off the worker, a wait must be longer than one round of the scheduler on a busy machine.
_PACE = {
    "poke": Pace(poke_interval=1, timeout=2, checks=1),
    "reschedule": Pace(poke_interval=20, timeout=15, checks=1),
    "deferred": Pace(poke_interval=5, timeout=15, checks=3),
    "triggerer": Pace(poke_interval=5, timeout=15, checks=3),
    "reserving": Pace(poke_interval=5, timeout=15, checks=3),
}
_LONG = 600
# Long enough for a first check on a busy machine.
_EXECUTION_TIMEOUT = 15


@dataclass(frozen=True)
class Row:
    """
    One row of the table.

    :param name: its id in the tests.
    :param answers: what You.com answers, in order: the last one to every further check, the one before to
        one check, or to a few where the gate waits off the worker.
    :param options: the gate's options.
    :param state: the state in which the task ends.
    :param tries: the number of tries until then. Each task may have two.
    :param xcom: what the task returns: a ``balance``, an ``unknown`` one, or None for nothing.
    :param because: words that the task's log must contain, if the gate does not reserve.
    :param modes: the modes in which it holds.
    :param while_it_waits: whether the gate already waits when its condition arises.
    """

    name: str
    answers: Sequence[Answer]
    options: Mapping[str, Any]
    state: str
    tries: int
    xcom: str | None
    because: str
    modes: Sequence[str] = tuple(MODES)
    while_it_waits: bool = False

    @property
    def downstream(self) -> str:
        """The state in which the downstream task ends."""
        return "upstream_failed" if self.state == "failed" else self.state

    @property
    def waits(self) -> bool:
        """Whether the gate checks more than once in a try."""
        return len(self.answers) > 1 or bool(self.time_limits)

    @property
    def time_limits(self) -> set[str]:
        """The options of Airflow that end a wait."""
        return self.options.keys() & {"timeout", "execution_timeout"}

    def ends_like(self, other: Row) -> bool:
        """Return whether Airflow ends the task in the same way. The reason is decided without Airflow."""
        return (self.state, self.tries, self.xcom, self.waits, self.time_limits) == (
            other.state,
            other.tries,
            other.xcom,
            other.waits,
            other.time_limits,
        )


def _row(answers: Answer | Sequence[Answer], written: str, ends: str, because: str) -> Row:
    """Return a row; ``written`` is ``option=value, flag, …``, and ``ends`` is ``state, tries[, xcom]``."""
    said = (answers,) if isinstance(answers, Answer) else tuple(answers)
    options = {name: value or True for name, _, value in map(_halve, filter(None, written.split(", ")))}
    state, tries, *xcom = ends.split(", ")
    name = ", ".join(filter(None, [" then ".join(answer.value for answer in said), written]))
    # A gate that reserves must not open without a reservation: it is refused when the DAG is parsed.
    passes = options.get("on_unavailable") == "pass"
    modes = [mode for mode in MODES if not (passes and mode in RESERVING)]
    return Row(name, said, options, state, int(tries), xcom[0] if xcom else None, because, modes)


def _halve(option: str) -> tuple[str, str, str]:
    return option.partition("=")


_HOLDS_ENOUGH = "Open: $100.00 is enough for $5.00"
_HAS_RESERVED = "Open: $5.00 is reserved. The balance is $100.00, nothing else reserved"
_IS_SHORT = "$1.80 short of $5.00. The balance is $3.20"
_UNKNOWN = "the balance is unknown, not low"
_NO_BALANCE = "You.com returned no balance (HTTP 503"
_BLIND = "Open: the balance is unknown"
_CREATE_A_KEY = '(HTTP 401, "Invalid or missing API key"); create a key'
_GIVE_SCOPE = "give the key the billing scope"
_LAST_SAW_SHORT = "Last seen: $1.80 short of $5.00"
_LAST_SAW_NONE = "Last seen: the balance is unknown, not low"
_UNREADABLE = "You.com answered 200, but not with an account balance"

# fmt: off
_AT_THE_FIRST_CHECK = [
    #    You.com answers   options                           the task ends          its log says
    _row(ENOUGH,           "",                               "success, 1, balance", _HOLDS_ENOUGH),
    _row(SHORT,            "on_shortfall=fail",              "failed, 1",           _IS_SHORT),
    _row(SHORT,            "on_shortfall=fail, soft_fail",   "skipped, 1",          _IS_SHORT),
    _row(SHORT,            "on_shortfall=skip",              "skipped, 1",          _IS_SHORT),
    _row(UNAVAILABLE,      "on_unavailable=fail",            "failed, 2",           _NO_BALANCE),
    _row(UNAVAILABLE,      "on_unavailable=fail, soft_fail", "failed, 2",           _NO_BALANCE),
    _row(UNAVAILABLE,      "on_unavailable=pass",            "success, 1, unknown", _BLIND),
    _row(BAD_KEY,          "",                               "failed, 1",           _CREATE_A_KEY),
    _row(BAD_KEY,          "soft_fail",                      "failed, 1",           _CREATE_A_KEY),
    _row(BAD_KEY,          "never_fail",                     "skipped, 1",          _CREATE_A_KEY),
    _row(NO_SCOPE,         "",                               "failed, 1",           _GIVE_SCOPE),
    _row(NOT_THE_CONTRACT, "",                               "failed, 2",           _UNREADABLE),
    _row(NOT_THE_CONTRACT, "soft_fail",                      "failed, 2",           _UNREADABLE),
    _row(NOT_THE_CONTRACT, "never_fail",                     "skipped, 1",          _UNREADABLE),
]
_WAITS = [
    _row(SHORT,            "timeout",                        "failed, 1",           _LAST_SAW_SHORT),
    _row(SHORT,            "timeout, soft_fail",             "skipped, 1",          _IS_SHORT),
    _row(SHORT,            "timeout, never_fail",            "skipped, 1",          _IS_SHORT),
    _row(UNAVAILABLE,      "timeout",                        "failed, 1",           _LAST_SAW_NONE),
    _row(UNAVAILABLE,      "timeout, soft_fail",             "skipped, 1",          _UNKNOWN),
    _row((UNAVAILABLE, ENOUGH),      "",                     "success, 1, balance", _UNKNOWN),
    _row((NOT_THE_CONTRACT, ENOUGH), "silent_fail",          "success, 1, balance", _UNREADABLE),
]
# fmt: on
# In reschedule mode, execution_timeout applies to each check.
_TAKES_TOO_LONG = replace(
    _row(SHORT, "execution_timeout", "failed, 2", _IS_SHORT),
    modes=[mode for mode in MODES if mode != "reschedule"],
)


def _while_it_waits(row: Row) -> Row:
    """Return the row for a gate that already waits when its condition arises."""
    waits_for_credits = row.options.get("on_shortfall", "wait") == "wait"
    before = SHORT if waits_for_credits else UNAVAILABLE
    name = f"{row.name}, while it waits"
    return replace(row, name=name, answers=(before, *row.answers), while_it_waits=True)


ROWS = [_TAKES_TOO_LONG, *_AT_THE_FIRST_CHECK, *map(_while_it_waits, _AT_THE_FIRST_CHECK), *_WAITS]


@dataclass(frozen=True)
class Gate:
    """One row in one mode: a task with its own connection and account."""

    row: Row
    mode: str
    task_id: str = field(init=False)

    def __post_init__(self) -> None:
        words = re.sub(r"\W+", "_", self.row.name)
        object.__setattr__(self, "task_id", f"{words}.{self.mode}")

    @property
    def dag_id(self) -> str:
        """The id of the task's DAG."""
        return f"decision_table_{self.mode}"

    @property
    def because(self) -> str:
        """Words that the task's log must contain."""
        because = self.row.because
        return _HAS_RESERVED if because == _HOLDS_ENOUGH and self.mode in RESERVING else because

    @property
    def conn_id(self) -> str:
        """The id of the gate's connection, which is also its API key."""
        return f"gate_{ROWS.index(self.row)}_{self.mode}"

    @property
    def account_id(self) -> str:
        """The id of the account. Each gate has its own: what one reserves is not available to another."""
        return f"4f{GATES.index(self):03x}c"

    @property
    def is_like_another(self) -> bool:
        """Whether Airflow does the same for another row in this mode, so that one of them is enough."""
        # The rule tells what is wrong with the key or the answer, and has tests of its own.
        if self.row.answers[-1] in (NO_SCOPE, NOT_THE_CONTRACT):
            return True
        # On a worker, a later check is like the first.
        return self.mode in ON_A_WORKER and self.row.while_it_waits

    @property
    def ends_like_another(self) -> bool:
        """Whether Airflow ends the task of another row in the same way, so that one Airflow is enough."""
        before = (Gate(row, self.mode) for row in ROWS[: ROWS.index(self.row)] if self.mode in row.modes)
        return any(self.row.ends_like(other.row) for other in before if not other.is_like_another)

    @property
    def is_alike_on_all_airflows(self) -> bool:
        """Whether the oldest and the newest Airflow are enough."""
        # A gate that pokes needs nothing of Airflow until it ends; one that reserves is deferred like others.
        if self.mode == "deferred" and "reserving" in self.row.modes:
            return True
        # Whatever ends at the first check, on a worker, is like one that pokes.
        return self.mode == "poke" or (self.mode != "triggerer" and not self.row.waits)

    def arguments(self) -> dict[str, Any]:
        """Return the sensor's arguments as JSON."""
        pace = _PACE[self.mode]
        seconds = {"timeout": pace.timeout, "execution_timeout": _EXECUTION_TIMEOUT}
        times_out = {name: seconds[name] for name in self.row.time_limits}
        return {
            "timeout": _LONG,
            **self.row.options,
            **times_out,
            **MODES[self.mode],
            "task_id": self.task_id,
            "youcom_conn_id": self.conn_id,
            "min_usd": MIN_USD,
            "poke_interval": pace.poke_interval,
        }

    def open_account(self, sandbox: Sandbox) -> None:
        """
        Let You.com answer this gate's checks as its row says.

        :param sandbox: the You.com of the gate's connection.
        """
        *first, last = self.row.answers
        holds_cents = Decimal(320) if last is SHORT else Decimal(10_000)
        sandbox.accounts[self.conn_id] = Account(self.account_id, holds_cents, last is not NO_SCOPE)
        for answer in first:
            sandbox.inject(self._fault(answer), _PACE[self.mode].checks, self.conn_id)
        if last in _FAULTS:
            sandbox.inject(self._fault(last), None, self.conn_id)

    def _fault(self, answer: Answer) -> Fault:
        if answer is not SHORT:
            return _FAULTS[answer]
        account = {"type": "account", "id": self.account_id, "attributes": {"balance": 320}}
        return Fault(status=200, body=json.dumps({"data": account}))


GATES = [Gate(row, mode) for row in ROWS for mode in row.modes]

_FAULTS = {
    BAD_KEY: Fault(status=401, body='{"detail": "Invalid or missing API key"}'),
    UNAVAILABLE: Fault(status=503, body='{"detail": "Try again later"}'),
    NOT_THE_CONTRACT: Fault(status=200, body="<html>Welcome to the hotel's network</html>"),
}
