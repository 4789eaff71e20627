from __future__ import annotations

import json
import logging
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

import pytest

from airflow_provider_youcom.balance import AccountBalance, AvailableCredits
from airflow_provider_youcom.exceptions import (
    YouComError,
    YouComRefusedError,
    YouComResponseError,
    YouComUnavailableError,
)
from airflow_provider_youcom.gate import (
    Action,
    CreditGate,
    OnShortfall,
    OnUnavailable,
    Reading,
    Verdict,
    judge,
)

pytestmark = pytest.mark.on_the_ends

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def holds(cents: str) -> AccountBalance:
    return AccountBalance("4f1c", Decimal(cents), NOW)


ENOUGH = holds("2500")
SHORT = holds("320")
UNAVAILABLE = YouComUnavailableError("You.com gave no answer.", status_code=503)
REFUSED = YouComRefusedError("You.com refused the key.", status_code=401, detail="Invalid key")
NOT_THE_CONTRACT = YouComResponseError("You.com answered nonsense.", status_code=200)

OPEN, WAIT, SKIP, FAIL, RETRY = Action.OPEN, Action.WAIT, Action.SKIP, Action.FAIL, Action.RETRY


def available(usd: str, reservation_id: str | None = None) -> AvailableCredits:
    return AvailableCredits(
        ENOUGH,
        available_usd=Decimal(usd),
        reserved_usd=Decimal(25) - Decimal(usd),
        reserved_runs=1,
        own_run_usd=Decimal(0),
        reservation_id=reservation_id,
    )


@pytest.mark.parametrize(
    ("reading", "policy", "action"),
    [
        (ENOUGH, {}, OPEN),
        (ENOUGH, {"on_shortfall": "fail", "on_unavailable": "fail"}, OPEN),
        (SHORT, {}, WAIT),
        (SHORT, {"on_shortfall": "wait"}, WAIT),
        (SHORT, {"on_shortfall": "fail"}, FAIL),
        (SHORT, {"on_shortfall": "skip"}, SKIP),
        (UNAVAILABLE, {}, WAIT),
        (UNAVAILABLE, {"on_unavailable": "wait", "on_shortfall": "fail"}, WAIT),
        (UNAVAILABLE, {"on_unavailable": "fail"}, RETRY),
        (UNAVAILABLE, {"on_unavailable": "pass"}, OPEN),
        (REFUSED, {}, FAIL),
        (REFUSED, {"on_unavailable": "pass", "on_shortfall": "skip"}, FAIL),
        (NOT_THE_CONTRACT, {}, RETRY),
        (NOT_THE_CONTRACT, {"on_unavailable": "pass", "on_shortfall": "skip"}, RETRY),
    ],
)
def test_the_decision_table(reading: Reading, policy: dict, action: Action):
    assert CreditGate(25, **policy).judge(reading).action is action


@pytest.mark.parametrize(
    ("cents", "min_usd", "action"),
    [
        ("2500", "25", OPEN),
        ("2499.5", "25", WAIT),
        ("2499.999999999999999999999999999999", "25", WAIT),
        ("2500.000000000000000000000000000001", "25.00000000000000000000000000000001", OPEN),
        ("-1", 0, WAIT),
        ("-0.0", 0, OPEN),
        ("30", 0.3, OPEN),
    ],
)
def test_amounts_are_compared_before_they_are_rounded(cents: str, min_usd: object, action: Action):
    assert CreditGate(min_usd).judge(holds(cents)).action is action


def test_a_reason_begins_with_what_is_missing():
    reason = "$21.80 short of $25.00. The balance is $3.20 (account 4f1c)."
    for policy in get_args(OnShortfall):
        assert CreditGate(25, policy).judge(SHORT).reason == reason


@pytest.mark.parametrize(
    ("reading", "policy", "line"),
    [
        (ENOUGH, {}, "Open: $25.00 is enough for $25.00 (account 4f1c)."),
        (SHORT, {}, "Waiting: $21.80 short of $25.00. The balance is $3.20 (account 4f1c)."),
        (SHORT, {"on_shortfall": "skip"}, "Skipped: $21.80 short of $25.00. The balance is"),
        (SHORT, {"on_shortfall": "fail"}, "Failed: $21.80 short of $25.00. The balance is"),
        (UNAVAILABLE, {}, "Waiting: the balance is unknown, not low. You.com gave no answer."),
        (UNAVAILABLE, {"on_unavailable": "fail"}, "Failed: You.com gave no answer."),
        (
            UNAVAILABLE,
            {"on_unavailable": "pass"},
            'Open: the balance is unknown, and on_unavailable is "pass". You.com gave no answer.',
        ),
        (REFUSED, {}, "Failed: You.com refused the key."),
        (NOT_THE_CONTRACT, {}, "Failed: You.com answered nonsense."),
    ],
)
def test_a_line_of_the_log_begins_with_what_the_gate_does(reading: Reading, policy: dict, line: str):
    assert CreditGate(25, **policy).judge(reading).log_line().startswith(line)


def test_a_gate_that_waits_after_an_answer_that_cannot_be_read_says_that_it_waits():
    verdict = CreditGate(25).judge(NOT_THE_CONTRACT)
    assert verdict.log_line(silent_fail=True) == "Waiting: You.com answered nonsense."
    assert CreditGate(25).judge(REFUSED).log_line(silent_fail=True) == "Failed: You.com refused the key."


@pytest.mark.parametrize(
    ("action", "reason", "line"),
    [
        (
            "open",
            "You.com account 4f1c holds $28.20, enough for the $25.00 that this gate needs.",
            "Open: You.com account 4f1c holds $28.20, enough for the $25.00 that this gate needs.",
        ),
        (
            "skip",
            "You.com account 4f1c holds $3.20, $21.80 short of the $25.00 that this gate needs.",
            "Skipped: You.com account 4f1c holds $3.20, $21.80 short of the $25.00 that this gate needs.",
        ),
    ],
)
def test_the_reason_of_an_event_that_version_0_1_0_sent_is_logged_as_it_came(
    action: str, reason: str, line: str
):
    assert Verdict.from_event({"action": action, "reason": reason, "balance": None}).log_line() == line


def test_only_the_beginning_of_a_long_account_id_is_logged():
    balance = AccountBalance("92b1f63ea74d16ec85da4b13", Decimal(320), NOW)
    assert CreditGate(25).judge(balance).reason.endswith("The balance is $3.20 (account 92b1f63e…).")
    assert CreditGate(1).judge(balance).reason.endswith("(account 92b1f63e…).")
    short = replace(available("5"), balance=balance)
    assert CreditGate(25).judge(short).reason.endswith("(account 92b1f63e…).")
    assert CreditGate(25).judge(balance).xcom["account_id"] == "92b1f63ea74d16ec85da4b13"


def test_a_balance_that_is_unknown_is_never_called_low():
    verdict = CreditGate(25).judge(UNAVAILABLE)
    assert verdict.log_line() == "Waiting: the balance is unknown, not low. You.com gave no answer."
    assert verdict.log_level == logging.WARNING
    assert verdict.balance is None


def test_a_gate_that_opens_without_a_balance_returns_nulls_and_warns():
    verdict = CreditGate(25, on_unavailable="pass").judge(UNAVAILABLE)
    assert verdict.log_level == logging.WARNING
    assert verdict.xcom == {
        "account_id": None,
        "balance_cents": None,
        "balance_usd": None,
        "checked_at": None,
    }


@pytest.mark.parametrize("reading", [ENOUGH, SHORT, UNAVAILABLE, REFUSED, NOT_THE_CONTRACT])
def test_a_verdict_survives_the_way_from_the_triggerer_to_the_worker(reading: Reading):
    sent = CreditGate(25).judge(reading)
    received = Verdict.from_event(json.loads(json.dumps(sent.to_event())))
    assert (received.action, received.reason, received.xcom) == (sent.action, sent.reason, sent.xcom)
    assert type(received.error) is type(sent.error)
    if isinstance(reading, YouComError):
        assert received.error is not None
        assert (str(received.error), received.error.status_code, received.error.detail) == (
            str(reading),
            reading.status_code,
            reading.detail,
        )


def test_a_verdict_that_version_0_1_0_wrote_is_read():
    verdict = Verdict.from_event(
        {
            "action": "fail",
            "reason": "You.com refused the key.",
            "balance": None,
            "error": {
                "type": "YouComRefusedError",
                "message": "You.com refused the key.",
                "status_code": 401,
                "detail": "Invalid key",
            },
        }
    )
    assert verdict.action is FAIL
    assert type(verdict.error) is YouComRefusedError
    assert (verdict.error.status_code, verdict.error.detail) == (401, "Invalid key")


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"on_shortfall": "ignore"}, "on_shortfall='ignore' is not a policy"),
        ({"on_shortfall": "pass"}, 'use one of "wait", "fail", "skip"'),
        ({"on_unavailable": "skip"}, "on_unavailable='skip' is not a policy"),
        ({"on_unavailable": None}, 'use one of "wait", "fail", "pass"'),
    ],
)
def test_an_unknown_policy_is_refused(policy: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        CreditGate(25, **policy)


def test_a_threshold_that_rendered_to_nonsense_is_refused():
    verdict = judge(ENOUGH, min_usd="ten", on_shortfall="skip", on_unavailable="pass")
    assert verdict.action is Action.FAIL
    assert isinstance(verdict.error, YouComRefusedError)
    assert verdict.reason.startswith("min_usd='ten' is not an amount in dollars")


def test_a_reservation_opens_the_gate_and_is_sent_with_the_verdict():
    verdict = CreditGate("19.991").judge(available("20", "r1"))
    assert (verdict.action, verdict.reservation_id, verdict.error) == (OPEN, "r1", None)
    assert verdict.xcom == available("20", "r1").to_json()
    assert verdict.reason == (
        "$20.00 is reserved. The balance is $25.00, of which 1 run had already reserved $5.00 (account 4f1c)."
    )
    assert verdict.to_event()["reservation_id"] == "r1"
    assert Verdict.from_event(verdict.to_event()) == verdict


@pytest.mark.parametrize(
    ("reserved_usd", "runs", "own_run_usd", "reserved", "had_reserved"),
    [
        (0, 0, 0, "nothing reserved", "nothing else reserved"),
        (50, 2, 0, "of which 2 runs have reserved $50.00", "of which 2 runs had already reserved $50.00"),
        (50, 1, 50, "of which this run has reserved $50.00", "of which this run had already reserved $50.00"),
        (
            50,
            2,
            15,
            "of which 2 runs have reserved $50.00, $15.00 of it this run",
            "of which 2 runs had already reserved $50.00, $15.00 of it this run",
        ),
    ],
)
def test_a_reason_tells_who_has_reserved_and_who_had_before_this_gate_did(
    reserved_usd: int, runs: int, own_run_usd: int, reserved: str, had_reserved: str
):
    reading = AvailableCredits(
        holds("5320"), Decimal("53.2") - reserved_usd, Decimal(reserved_usd), runs, Decimal(own_run_usd)
    )
    assert (
        CreditGate(75)
        .judge(reading)
        .reason.endswith(f" short of $75.00. The balance is $53.20, {reserved} (account 4f1c).")
    )
    assert CreditGate("3.20").judge(replace(reading, reservation_id="r1")).reason == (
        f"$3.20 is reserved. The balance is $53.20, {had_reserved} (account 4f1c)."
    )


@pytest.mark.parametrize(("policy", "action"), [("wait", WAIT), ("fail", FAIL), ("skip", SKIP)])
def test_what_is_reserved_by_others_makes_a_gate_short(policy: OnShortfall, action: Action):
    verdict = CreditGate("20.01", policy).judge(available("20.001"))
    assert verdict == Verdict(
        action,
        "$0.01 short of $20.01. The balance is $25.00, of which 1 run has reserved $5.00 (account 4f1c).",
        available("20.001").to_json(),
    )
    assert "reservation_id" not in verdict.to_event()


def test_a_minimum_and_what_is_missing_are_shown_to_the_cent_above():
    assert CreditGate("25.001").judge(holds("2500")).reason == (
        "$0.01 short of $25.01. The balance is $25.00 (account 4f1c)."
    )


def test_a_verdict_holds_the_error_that_took_the_place_of_the_balance():
    for reading in (REFUSED, NOT_THE_CONTRACT):
        verdict = CreditGate(25).judge(reading)
        assert (verdict.reason, verdict.error, verdict.balance) == (str(reading), reading, None)
    for policy in get_args(OnUnavailable):
        assert CreditGate(25, on_unavailable=policy).judge(UNAVAILABLE).error is UNAVAILABLE
    assert CreditGate(25, on_unavailable="fail").judge(UNAVAILABLE).reason == "You.com gave no answer."
    assert CreditGate(25, on_unavailable="pass").judge(UNAVAILABLE).reason == (
        'the balance is unknown, and on_unavailable is "pass". You.com gave no answer.'
    )


def test_a_balance_that_is_known_is_logged_as_information():
    assert CreditGate(25).judge(SHORT).log_level == logging.INFO
    assert CreditGate(25).judge(ENOUGH).log_level == logging.INFO


@pytest.mark.parametrize(
    ("action", "silent_fail", "waits"),
    [
        (WAIT, False, True),
        (WAIT, True, True),
        (RETRY, False, False),
        (RETRY, True, True),
        (FAIL, True, False),
        (SKIP, True, False),
        (OPEN, True, False),
    ],
)
def test_a_gate_keeps_waiting_after_an_answer_that_cannot_be_read_if_it_fails_silently(
    action: Action, silent_fail: bool, waits: bool
):
    assert Verdict(action, "because").keeps_waiting(silent_fail) is waits


def test_a_verdict_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        CreditGate(25).judge(SHORT).action = OPEN  # type: ignore[misc]


def test_a_policy_that_rendered_to_nonsense_is_refused():
    verdict = judge(ENOUGH, min_usd=25, on_shortfall="maybe", on_unavailable="wait")
    assert (verdict.action, verdict.reason) == (FAIL, str(verdict.error))
    assert verdict.reason.startswith("on_shortfall='maybe' is not a policy")
    assert judge(SHORT, min_usd=25, on_shortfall="skip", on_unavailable="wait").action is SKIP
    assert judge(UNAVAILABLE, min_usd=25, on_shortfall="skip", on_unavailable="fail").action is RETRY


@pytest.mark.parametrize("reading", [ENOUGH, SHORT])
def test_a_verdict_holds_the_balance_that_it_is_about(reading: AccountBalance):
    assert CreditGate(25).judge(reading).balance == reading.to_json()


IN_LINE = {"place": 3, "held_usd": Decimal("7.5"), "held_for": "run monday of DAG archive"}
NOT_IN_LINE = {**IN_LINE, "place": None}


@pytest.mark.parametrize(
    ("line", "short", "end"),
    [
        ({}, "$15.00", ""),
        ({"place": 3}, "$15.00", " Place 3 in line."),
        (IN_LINE, "$22.50", " Place 3 in line; $7.50 is held for run monday of DAG archive."),
        (NOT_IN_LINE, "$22.50", " $7.50 is held for run monday of DAG archive."),
    ],
)
@pytest.mark.parametrize(("policy", "action"), [("wait", WAIT), ("fail", FAIL), ("skip", SKIP)])
def test_a_gate_says_its_place_in_line_and_for_whom_something_is_held(
    line: dict[str, Any], short: str, end: str, policy: OnShortfall, action: Action
):
    verdict = CreditGate(25, policy).judge(replace(available("10"), **line))
    balance = "The balance is $25.00, of which 1 run has reserved $15.00 (account 4f1c)."
    assert (verdict.action, verdict.reason) == (action, f"{short} short of $25.00. {balance}{end}")


def test_the_xcom_of_a_gate_that_reserves_does_not_change_with_the_line():
    assert replace(available("10"), **IN_LINE).to_json() == available("10").to_json()
