"""The rule: what a gate does with a reading. It is the same in every mode."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import Enum
from typing import Any, Literal, get_args

from airflow_provider_youcom.balance import UNKNOWN_BALANCE, AccountBalance, AvailableCredits
from airflow_provider_youcom.exceptions import YouComError, YouComRefusedError, YouComUnavailableError
from airflow_provider_youcom.money import describe_shortfall, format_usd, parse_usd

OnShortfall = Literal["wait", "fail", "skip"]
OnUnavailable = Literal["wait", "fail", "pass"]
Reading = AccountBalance | AvailableCredits | YouComError


class Action(Enum):
    """What a gate does next."""

    OPEN = "open"
    WAIT = "wait"
    SKIP = "skip"
    FAIL = "fail"
    """Fail now: a retry cannot help."""
    RETRY = "retry"
    """Fail this attempt: Airflow retries it if ``retries`` is set."""


# Airflow's UI cuts a long line of the log at its end.
_LOG_LINES_BEGIN = {
    Action.OPEN: "Open",
    Action.WAIT: "Waiting",
    Action.SKIP: "Skipped",
    Action.FAIL: "Failed",
    Action.RETRY: "Failed",
}


@dataclass(frozen=True)
class Verdict:
    """
    What a gate decided about a reading, and why.

    :param action: what to do next.
    :param reason: why. It begins with what is missing.
    :param balance: the balance as JSON; None when it is unknown.
    :param error: the error that took the place of a balance, if there was one.
    :param reservation_id: what the gate has reserved; None if nothing.
    """

    action: Action
    reason: str
    balance: dict[str, Any] | None = None
    error: YouComError | None = None
    reservation_id: str | None = None

    def log_line(self, silent_fail: bool = False) -> str:
        """
        Return the line for the task's log: what the gate does, and why.

        :param silent_fail: see ``keeps_waiting``. Default: False.
        """
        action = Action.WAIT if self.keeps_waiting(silent_fail) else self.action
        return f"{_LOG_LINES_BEGIN[action]}: {self.reason}"

    @property
    def log_level(self) -> int:
        """The level of that line: a warning if the balance is unknown."""
        return logging.INFO if self.error is None else logging.WARNING

    @property
    def xcom(self) -> dict[str, Any]:
        """The task's return value: the reading that opened the gate."""
        return self.balance or dict(UNKNOWN_BALANCE)

    def keeps_waiting(self, silent_fail: bool) -> bool:
        """
        Return whether the gate stays shut and checks again.

        :param silent_fail: whether to go on waiting after an answer that cannot be read; Airflow's option.
        """
        return self.action is Action.WAIT or (self.action is Action.RETRY and silent_fail)

    def to_event(self) -> dict[str, Any]:
        """Return the verdict as plain JSON, to send it from the triggerer to a worker."""
        event: dict[str, Any] = {"action": self.action.value, "reason": self.reason, "balance": self.balance}
        if self.reservation_id is not None:
            event["reservation_id"] = self.reservation_id
        if self.error is not None:
            event["error"] = self.error.to_json()
        return event

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Verdict:
        """
        Return the verdict that ``to_event`` wrote.

        :param event: the payload of the trigger's event.
        """
        error = event.get("error")
        return cls(
            action=Action(event["action"]),
            reason=event["reason"],
            balance=event.get("balance"),
            error=error and YouComError.from_json(error),
            reservation_id=event.get("reservation_id"),
        )


class CreditGate:
    """
    The rule of one gate: a minimum, and a policy for each reason not to open.

    :param min_usd: the least that the account must hold, in dollars; a number or a str.
    :param on_shortfall: what to do when it holds less: ``"wait"`` (default), ``"fail"`` or ``"skip"``.
    :param on_unavailable: what to do when You.com does not answer: ``"wait"`` (default), ``"fail"`` or
        ``"pass"``, which opens without knowing the balance.
    :raises ValueError: if an argument is not valid.
    """

    def __init__(
        self, min_usd: object, on_shortfall: OnShortfall = "wait", on_unavailable: OnUnavailable = "wait"
    ) -> None:
        self.min_usd: Decimal = parse_usd(min_usd, "min_usd")
        check_policies(on_shortfall, on_unavailable)
        self.on_shortfall = on_shortfall
        self.on_unavailable = on_unavailable

    def judge(self, reading: Reading) -> Verdict:
        """
        Decide about one reading.

        :param reading: a balance, what is available of it, or the error that took its place.
        """
        if isinstance(reading, AccountBalance):
            return self._judge_balance(reading)
        if isinstance(reading, AvailableCredits):
            return self._judge_available(reading)
        if isinstance(reading, YouComUnavailableError):
            return self._judge_unavailable(reading)
        action = Action.FAIL if isinstance(reading, YouComRefusedError) else Action.RETRY
        return Verdict(action, str(reading), error=reading)

    def _judge_balance(self, balance: AccountBalance) -> Verdict:
        if balance.balance_usd < self.min_usd:
            return self._judge_short(balance, balance.balance_usd)
        enough = f"{format_usd(balance.balance_usd)} is enough for {self._min_usd}"
        return Verdict(Action.OPEN, f"{enough} (account {balance.short_account_id}).", balance.to_json())

    def _judge_available(self, available: AvailableCredits) -> Verdict:
        if available.reservation_id is None:
            return self._judge_short(available, available.not_held_usd)
        reason = f"{self._min_usd} is reserved. {available.sentence}"
        return Verdict(Action.OPEN, reason, available.to_json(), reservation_id=available.reservation_id)

    def _judge_short(self, reading: AccountBalance | AvailableCredits, usd: Decimal) -> Verdict:
        reason = f"{describe_shortfall(usd, self.min_usd)}. {reading.sentence}"
        return Verdict(self._shortfall, reason, reading.to_json())

    @property
    def _min_usd(self) -> str:
        return format_usd(self.min_usd, ROUND_CEILING)

    @property
    def _shortfall(self) -> Action:
        return {"wait": Action.WAIT, "fail": Action.FAIL, "skip": Action.SKIP}[self.on_shortfall]

    def _judge_unavailable(self, error: YouComUnavailableError) -> Verdict:
        if self.on_unavailable == "fail":
            return Verdict(Action.RETRY, str(error), error=error)
        if self.on_unavailable == "pass":
            reason = f'the balance is unknown, and on_unavailable is "pass". {error}'
            return Verdict(Action.OPEN, reason, error=error)
        return Verdict(Action.WAIT, f"the balance is unknown, not low. {error}", error=error)


def check_policies(on_shortfall: object, on_unavailable: object) -> None:
    """
    Check the names of the policies.

    :param on_shortfall: see ``CreditGate``.
    :param on_unavailable: see ``CreditGate``.
    :raises ValueError: if one of them does not exist.
    """
    _check_policy("on_shortfall", on_shortfall, get_args(OnShortfall))
    _check_policy("on_unavailable", on_unavailable, get_args(OnUnavailable))


def _check_policy(name: str, policy: object, known: tuple[str, ...]) -> None:
    if policy not in known:
        choices = ", ".join(f'"{choice}"' for choice in known)
        raise ValueError(f"{name}={policy!r} is not a policy of this gate: use one of {choices}.")


def judge(
    reading: Reading, *, min_usd: object, on_shortfall: OnShortfall, on_unavailable: OnUnavailable
) -> Verdict:
    """
    Decide about a reading by options that a template may have rendered.

    :param reading: a balance, what is available of it, or the error that came instead.
    :param min_usd: see ``CreditGate``. If it is not valid, the verdict is to fail, since no retry helps.
    :param on_shortfall: see ``CreditGate``.
    :param on_unavailable: see ``CreditGate``.
    """
    try:
        gate = CreditGate(min_usd, on_shortfall, on_unavailable)
    except ValueError as error:
        reading = YouComRefusedError(str(error))
        return Verdict(Action.FAIL, str(error), error=reading)
    return gate.judge(reading)
