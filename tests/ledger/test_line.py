"""The line in each database: who joins, who stays, and how many of them there may be."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.exceptions import YouComLedgerRefusedError
from airflow_provider_youcom.ledger import _line_transactions
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from tests.ledger.spending import (
    NOON,
    account_with,
    attempt_of,
    call_decide,
    claim_of,
    pass_time,
    statements_sent_from_now,
)
from tests.ledger.waiting import (
    ACCOUNT,
    HOLD_SECONDS,
    held,
    hold,
    in_line,
    keep,
    look,
    others_reserve,
    scalar,
)

pytestmark = pytest.mark.on_the_ends

DOLLAR = 10_000_000
HOUR = 3600
MUCH = 10**7


# Join, stay, leave.


def test_a_gate_that_joins_is_told_its_place_once(ledger: Ledger) -> None:
    before = ledger.note().time
    assert [ledger.line.join(claim_of(run), ACCOUNT, 60) for run in ("monday", "tuesday")] == [1, 2]
    assert ledger.line.join(claim_of("monday"), ACCOUNT, 60) is None
    after = ledger.note().time
    monday, tuesday = ledger.line.places()
    assert (monday.holder, monday.account_id) == (attempt_of("monday").holder, ACCOUNT)
    assert (monday.amount_usd, monday.patience, monday.is_held) == (25, 4, False)
    assert before <= monday.joined_at.timestamp() * 1_000_000 <= after
    assert monday.number < tuesday.number


def test_a_place_is_told_among_those_that_still_wait(ledger: Ledger, engine: sa.engine.Engine) -> None:
    ledger.line.join(claim_of("monday"), ACCOUNT, 60)
    pass_time(engine, HOUR)
    assert ledger.line.join(claim_of("tuesday"), ACCOUNT, 60) == 1


def test_gates_that_check_together_keep_their_places_and_those_without_one_join(ledger: Ledger) -> None:
    keep(ledger, claim_of("monday"), claim_of("tuesday"))
    keep(ledger, claim_of("wednesday"), claim_of("tuesday"), claim_of("monday"))
    assert in_line(ledger) == ["monday", "tuesday", "wednesday"]
    numbers = [place.number for place in ledger.line.places()]
    assert numbers == sorted(set(numbers))
    assert all(place.amount_usd == 25 for place in ledger.line.places())


def test_two_attempts_of_a_gate_that_check_together_have_one_place(ledger: Ledger) -> None:
    keep(ledger, claim_of("monday", attempt=1), claim_of("monday", attempt=2))
    keep(ledger, claim_of("monday", attempt=1), claim_of("monday", attempt=2))
    assert in_line(ledger) == ["monday"]


def test_a_new_attempt_keeps_the_place_and_its_count_and_takes_what_it_needs_now(ledger: Ledger) -> None:
    look(ledger, claim_of("monday", 30), 0)
    look(ledger, claim_of("tuesday"), 0)
    others_reserve(ledger, 81)
    assert held(ledger) == []
    look(ledger, claim_of("monday", 20, attempt=2), 0)
    assert in_line(ledger) == ["monday", "tuesday"]
    assert [place.amount_usd for place in ledger.line.places()] == [20, 25]
    assert held(ledger) == ["monday"]


def test_the_line_of_another_account_starts_anew(ledger: Ledger) -> None:
    look(ledger, claim_of("monday"), 0)
    look(ledger, claim_of("tuesday"), 0)
    others_reserve(ledger, 200)
    assert ledger.line.join(claim_of("tuesday"), "another", 60) == 1
    (place,) = ledger.line.places("another")
    assert (place.holder.run_id, place.is_held) == ("tuesday", False)
    assert [place.account_id for place in ledger.line.places()] == [ACCOUNT, ACCOUNT, "another"]
    other = ledger.decide(claim_of("wednesday"), account_with(25, "another"), ledger.note())
    assert other.reservation is not None, "what is held in one account is not held in another"
    assert in_line(ledger) == ["monday", "tuesday"]


def test_the_lines_of_all_accounts_are_listed_one_after_the_other(ledger: Ledger) -> None:
    for account_id in ("b", "a", "c"):
        ledger.line.join(claim_of("monday"), account_id, 60)
    for account_id in ("c", "b", "a"):
        ledger.line.join(claim_of("tuesday"), account_id, 60)
    listed = [(place.account_id, place.holder.run_id) for place in ledger.line.places()]
    assert listed == [(account_id, run) for account_id in "abc" for run in ("monday", "tuesday")]


def test_what_happens_in_one_account_changes_nothing_in_the_line_of_another(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    def of_another() -> list[Any]:
        with engine.connect() as connection:
            return [
                list(connection.exec_driver_sql(f"SELECT * FROM {table} WHERE account_id = 'another'"))
                for table in ("youcom_line", "youcom_accounts")
            ]

    ledger.line.join(claim_of("tuesday", "0.0001"), "another", 10_000)
    ledger.decide(claim_of("wednesday"), account_with(25, "another"), ledger.note())
    assert [place.is_held for place in ledger.line.places("another")] == [True]
    pass_time(engine, 100)
    before = of_another()
    assert ledger.line.join(claim_of("tuesday"), ACCOUNT, 60) == 1
    keep(ledger, claim_of("tuesday"))
    look(ledger, claim_of("tuesday"), 20, pause_seconds=10_000)
    assert of_another() == before
    others_reserve(ledger, 101)
    pass_time(engine, HOLD_SECONDS + 30)
    before = of_another()
    look(ledger, claim_of("tuesday"), 0)
    look(ledger, claim_of("monday", attempt=2), 25)
    look(ledger, claim_of("tuesday"), 25)
    assert of_another() == before
    keep(ledger, claim_of("tuesday"))
    ledger.line.keep([claim_of("monday", attempt=1), claim_of("tuesday")], "another", 60)
    assert [place.holder.run_id for place in ledger.line.places()] == ["tuesday", "monday"]
    assert [ledger.line.join(claim_of(run), ACCOUNT, 60) for run in ("wednesday", "thursday")] == [1, 2]


def test_an_opened_gate_leaves_the_line_of_its_account_alone(ledger: Ledger) -> None:
    for run in ("monday", "tuesday"):
        look(ledger, claim_of(run), 0)
    ledger.line.join(claim_of("tuesday"), "another", 60)
    look(ledger, claim_of("tuesday"), 25)
    assert in_line(ledger) == ["monday"]
    assert len(ledger.line.places("another")) == 1


@pytest.mark.parametrize(
    ("pause", "life"), [(10, 120), (60, 180), (10_000, HOUR)], ids=["two minutes", "three pauses", "an hour"]
)
@pytest.mark.parametrize("together", [False, True])
def test_a_place_is_alive_for_as_long_as_its_gate_checks(
    ledger: Ledger, engine: sa.engine.Engine, pause: float, life: float, together: bool
) -> None:
    for _ in range(2):
        if together:
            keep(ledger, claim_of("monday"), pause_seconds=pause)
        else:
            ledger.line.join(claim_of("monday"), ACCOUNT, pause)
        # Four times this gap and what the calls take is still less than two minutes.
        pass_time(engine, 20)
    pass_time(engine, life - 50)
    assert in_line(ledger) == ["monday"]
    pass_time(engine, 30)
    assert in_line(ledger) == []


@pytest.mark.parametrize(("gap", "life"), [(700, 2800), (1000, HOUR), (HOUR, HOUR)])
def test_a_place_is_alive_for_four_times_the_gap_between_its_last_two_checks_up_to_an_hour(
    ledger: Ledger, engine: sa.engine.Engine, gap: float, life: float
) -> None:
    keep(ledger, claim_of("monday"))
    pass_time(engine, gap)
    assert in_line(ledger) == []
    keep(ledger, claim_of("monday"))
    pass_time(engine, life - 30)
    assert in_line(ledger) == ["monday"]
    pass_time(engine, 60)
    assert in_line(ledger) == []


def test_a_long_gap_between_earlier_checks_does_not_matter(ledger: Ledger, engine: sa.engine.Engine) -> None:
    keep(ledger, claim_of("monday"))
    pass_time(engine, 1000)
    keep(ledger, claim_of("monday"))
    keep(ledger, claim_of("monday"))
    pass_time(engine, 180)
    assert in_line(ledger) == []


def test_a_gate_whose_check_is_overdue_has_its_place_back_when_it_checks(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for run in ("monday", "tuesday"):
        look(ledger, claim_of(run), 0)
    # Dead after 180 s, and gone an hour later.
    pass_time(engine, 180 + HOUR - 30)
    look(ledger, claim_of("wednesday"), 0)
    look(ledger, claim_of("tuesday", attempt=2), 0)
    look(ledger, claim_of("monday"), 0)
    assert in_line(ledger) == ["monday", "tuesday", "wednesday"]


@pytest.mark.parametrize("together", [False, True])
def test_a_place_that_has_been_dead_for_an_hour_is_gone(
    ledger: Ledger, engine: sa.engine.Engine, together: bool
) -> None:
    for run in ("monday", "tuesday", "wednesday"):
        ledger.line.join(claim_of(run), ACCOUNT, 60)
    ledger.line.join(claim_of("monday"), "another", 60)
    pass_time(engine, HOUR)
    ledger.line.join(claim_of("tuesday"), ACCOUNT, 60)
    pass_time(engine, 180)
    if together:
        keep(ledger, claim_of("monday"))
    else:
        assert ledger.line.join(claim_of("monday"), ACCOUNT, 60) == 2
    assert in_line(ledger) == ["tuesday", "monday"]
    places = "SELECT count(*) FROM youcom_line WHERE account_id = "
    assert scalar(engine, f"{places}'{ACCOUNT}'") == 2, "wednesday's is deleted as well"
    assert scalar(engine, f"{places}'another'") == 1, "another account's line is not touched"


def test_a_purge_deletes_the_places_that_are_gone_in_each_account_after_writing_its_row(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for account_id in (ACCOUNT, "another"):
        for run in ("sunday", "monday"):
            ledger.line.join(claim_of(run), account_id, 60)
    pass_time(engine, 180)
    for account_id in (ACCOUNT, "without one that is gone"):
        ledger.line.join(claim_of("tuesday"), account_id, 60)
    pass_time(engine, HOUR)
    sent = statements_sent_from_now(engine)

    ledger.purge()
    assert scalar(engine, "SELECT count(*) FROM youcom_line") == 2
    assert scalar(engine, "SELECT count(*) FROM youcom_line WHERE run_id = 'tuesday'") == 2
    before = [
        sent[index - 1] for index, each in enumerate(sent) if each.startswith("DELETE FROM youcom_line")
    ]
    assert [each.startswith("UPDATE youcom_accounts SET version") for each in before] == [True, True]


def test_places_are_numbered_by_a_counter_whatever_the_clock_does(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    ledger.line.join(claim_of("monday"), ACCOUNT, 60)
    pass_time(engine, -1000)
    ledger.line.join(claim_of("tuesday"), ACCOUNT, 60)
    pass_time(engine, 1000)
    keep(ledger, claim_of("tuesday"), claim_of("wednesday"), claim_of("monday"))
    pass_time(engine, -1000)
    look(ledger, claim_of("wednesday"), 25)
    ledger.line.join(claim_of("thursday"), ACCOUNT, 60)
    assert in_line(ledger) == ["monday", "tuesday", "thursday"]
    assert [place.number for place in ledger.line.places()] == [1, 2, 4], "a number is used once"
    assert scalar(engine, "SELECT newest_place FROM youcom_accounts") == 4


@pytest.mark.parametrize("keys_at_once", [1, 2, 3, 4, 5])
def test_gates_that_got_no_answer_keep_the_places_that_they_have_in_each_account(
    ledger: Ledger, engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch, keys_at_once: int
) -> None:
    monkeypatch.setattr(_line_transactions, "_KEYS_AT_ONCE", keys_at_once)
    claims = {run: claim_of(run) for run in ("monday", "tuesday", "wednesday", "thursday", "friday")}
    for run in ("monday", "tuesday", "wednesday"):
        ledger.line.join(claims[run], ACCOUNT, 60)
    for run in ("tuesday", "thursday"):
        ledger.line.join(claims[run], "another", 60)
    ledger.line.join(claim_of("checks later"), ACCOUNT, 60)
    pass_time(engine, 150)
    ledger.line.stay(list(claims.values()), 60)
    pass_time(engine, 150)
    assert in_line(ledger) == ["monday", "tuesday", "wednesday"]
    assert [place.holder.run_id for place in ledger.line.places("another")] == ["tuesday", "thursday"]


def test_a_gate_whose_place_is_gone_joins_again_only_once_it_knows_the_account(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    ledger.line.join(claim_of("monday"), ACCOUNT, 60)
    pass_time(engine, 180 + HOUR)
    ledger.line.stay([claim_of("monday")], 60)
    assert in_line(ledger) == []
    keep(ledger, claim_of("monday"))
    assert in_line(ledger) == ["monday"]


@pytest.mark.parametrize("keys_at_once", [1, 2, 3, 4])
def test_more_gates_than_a_statement_may_name_check_together(
    ledger: Ledger, engine: sa.engine.Engine, monkeypatch: pytest.MonkeyPatch, keys_at_once: int
) -> None:
    monkeypatch.setattr(_line_transactions, "_KEYS_AT_ONCE", keys_at_once)
    runs = ["monday", "tuesday", "wednesday"]
    for _ in range(2):
        keep(ledger, *map(claim_of, runs))
        pass_time(engine, 150)
    assert in_line(ledger) == runs


def test_a_gate_that_has_opened_is_not_in_line_after_a_late_write_of_its_last_check(ledger: Ledger) -> None:
    look(ledger, claim_of("monday"), 0)
    note = ledger.note()
    opened = look(ledger, claim_of("monday"), 25)
    keep(ledger, claim_of("monday"), claim_of("tuesday"), note=note)
    keep(ledger, claim_of("monday"), note=None)
    assert ledger.line.join(claim_of("monday"), ACCOUNT, 60) is None
    ledger.end([opened.reservation.id], EndReason.RELEASED, by="teardown")
    keep(ledger, claim_of("monday"), note=note)
    assert in_line(ledger) == ["tuesday"]


def test_a_late_write_of_a_gate_that_has_opened_keeps_the_places_of_those_that_checked_with_it(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    look(ledger, claim_of("monday"), 0)
    note = ledger.note()
    look(ledger, claim_of("monday"), 25)
    ledger.line.join(claim_of("tuesday"), ACCOUNT, 60)
    pass_time(engine, 150)
    keep(ledger, claim_of("monday"), claim_of("tuesday"), note=note)
    pass_time(engine, 150)
    assert in_line(ledger) == ["tuesday"]


@pytest.mark.parametrize("with_a_note", [True, False])
def test_a_gate_whose_reservation_has_ended_waits_again(ledger: Ledger, with_a_note: bool) -> None:
    opened = look(ledger, claim_of("monday"), 25)
    ledger.end([opened.reservation.id], EndReason.BY_HAND, by="somebody")
    keep(ledger, claim_of("monday"), note=ledger.note() if with_a_note else None)
    assert in_line(ledger) == ["monday"]


def test_a_gate_that_waits_again_on_a_worker_joins(ledger: Ledger) -> None:
    opened = look(ledger, claim_of("monday"), 25)
    ledger.end([opened.reservation.id], EndReason.BY_HAND, by="somebody")
    assert ledger.line.join(claim_of("monday"), ACCOUNT, 60) == 1


def test_an_attempt_that_a_newer_one_has_overtaken_does_not_join(ledger: Ledger) -> None:
    opened = look(ledger, claim_of("monday", attempt=2), 25)
    ledger.end([opened.reservation.id], EndReason.RELEASED, by="teardown")
    keep(ledger, claim_of("monday", attempt=1))
    assert ledger.line.join(claim_of("monday", attempt=1), ACCOUNT, 60) is None
    assert in_line(ledger) == []
    assert ledger.line.join(claim_of("monday", attempt=3), ACCOUNT, 60) == 1


def test_a_gate_that_opens_although_its_check_was_overdue_is_not_in_line_if_the_clock_goes_back(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    look(ledger, claim_of("monday"), 0)
    pass_time(engine, 3 * HOUR)
    look(ledger, claim_of("monday"), 25)
    pass_time(engine, -3 * HOUR)
    assert scalar(engine, "SELECT count(*) FROM youcom_line") == 0


def test_a_decision_whose_answer_is_lost_leaves_the_line_once(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    look(ledger, claim_of("monday"), 0)
    asked = (claim_of("monday"), account_with(25), ledger.note(), "one id")
    for _ in range(2):
        _, decision = call_decide(ledger, *asked)
        assert decision.reservation is not None
        assert decision.opened_units == 25 * DOLLAR
        keep(ledger, claim_of("monday"))
        assert in_line(ledger) == []
    assert scalar(engine, "SELECT opened_units FROM youcom_accounts") == 25 * DOLLAR


# Figures.


def test_the_total_is_the_sum_of_all_that_was_ever_reserved(ledger: Ledger, engine: sa.engine.Engine) -> None:
    first = look(ledger, claim_of("monday"), 25)
    look(ledger, claim_of("monday"), 25)
    ledger.end([first.reservation.id], EndReason.RELEASED, by="teardown")
    look(ledger, claim_of("tuesday", "0.0000001"), 1)
    look(ledger, claim_of("wednesday"), 1)
    ledger.decide(claim_of("thursday"), account_with(40, "another"), ledger.note())
    total = "SELECT opened_units FROM youcom_accounts WHERE account_id = '4f1c'"
    rows = "SELECT sum(amount_units) FROM youcom_reservations WHERE account_id = '4f1c'"
    assert scalar(engine, total) == scalar(engine, rows) == 25 * DOLLAR + 1
    assert ledger.note().of(ACCOUNT).line.opened_units == 25 * DOLLAR + 1


@pytest.mark.parametrize("sign", [1, -1])
def test_a_balance_of_300_digits_is_no_trouble(ledger: Ledger, engine: sa.engine.Engine, sign: int) -> None:
    hold(ledger)
    pass_time(engine, HOLD_SECONDS + 30)
    huge = AccountBalance(ACCOUNT, sign * Decimal("9" * 300), NOON)
    decision = ledger.reserve(claim_of("small", 10), lambda: huge, hold_seconds=HOLD_SECONDS)
    assert (decision.reservation is not None) is (sign > 0)
    assert held(ledger) == (["large"] if sign > 0 else [])
    again = ledger.reserve(claim_of("large"), lambda: huge)
    assert (again.reservation is not None) is (sign > 0)


def test_an_engine_that_keeps_no_connections_open_is_enough(url: str) -> None:
    ledger = Ledger(sa.create_engine(url, poolclass=sa.pool.NullPool), answer_within=60)
    keep(ledger, claim_of("monday"), claim_of("tuesday"))
    ledger.line.stay([claim_of("monday"), claim_of("tuesday")], 60)
    assert in_line(ledger) == ["monday", "tuesday"]
    assert [place.holder.run_id for place in ledger.note().of(ACCOUNT).line.places] == ["monday", "tuesday"]
    assert ledger.purge() == 0


@pytest.mark.parametrize("gates", [1_000, pytest.param(6_000, marks=pytest.mark.long)])
def test_many_gates_that_check_together_stand_in_their_order(ledger: Ledger, gates: int) -> None:
    claims = [claim_of(f"run {number}") for number in range(gates)]
    keep(ledger, *claims[: gates // 2])
    keep(ledger, *reversed(claims))
    expected = [*range(gates // 2), *reversed(range(gates // 2, gates))]
    assert in_line(ledger) == [f"run {number}" for number in expected]
    assert [place.number for place in ledger.line.places()] == list(range(1, gates + 1))


def test_a_look_of_a_thousand_gates_takes_three_statements(ledger: Ledger, engine: sa.engine.Engine) -> None:
    claims = [claim_of(f"run {number}") for number in range(1_000)]
    keep(ledger, *claims)
    sent = statements_sent_from_now(engine)

    def look_together(usd: int) -> int:
        sent.clear()
        keep(ledger, *claims, note=note)
        new_note, balance = ledger.note(), account_with(usd)
        ledger.line.follow(new_note, balance, HOLD_SECONDS)
        assert not any(new_note.needs_decision(claim, balance) for claim in claims)
        begins = ("BEGIN", "PRAGMA", "SELECT set_config", "UPDATE youcom_accounts SET version")
        return len([each for each in sent if not each.startswith(begins)])

    note = ledger.note()
    assert [look_together(usd) for usd in (0, 5, 5, 0, 5)] == [3, 3, 3, 3, 3]
    assert all(not each.startswith(("DELETE", "INSERT")) for each in sent)


def test_gates_that_join_check_and_open_at_once_do_not_wait_for_each_other_for_ever(ledger: Ledger) -> None:
    """Each thread checks the same gates in an order of its own, as workers and triggerers do."""
    claims = [claim_of(f"run {number}", 1) for number in range(12)]
    ledger.note()
    failures: list[BaseException] = []
    together = threading.Barrier(4)

    def go(number: int) -> None:
        mine = claims[number:] + claims[:number]
        try:
            together.wait(60)
            for _ in range(3):
                keep(ledger, *mine, note=(note := ledger.note()))
                ledger.line.follow(note, account_with(5), 1e-6)
                ledger.line.join(mine[0], ACCOUNT, 60)
                ledger.decide(mine[number], account_with(6), ledger.note())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    opened = [row.holder.run_id for row in ledger.standing()]
    assert 1 <= len(opened) <= 4
    assert set(in_line(ledger)) == {claim.attempt.holder.run_id for claim in claims} - set(opened)


# Failures.


def test_a_line_that_cannot_be_written_is_logged_and_fails_no_check(
    ledger: Ledger, engine: sa.engine.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    hold(ledger)
    pass_time(engine, HOLD_SECONDS + 30)
    note = ledger.note()
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("ALTER TABLE youcom_line RENAME TO gone")
    assert ledger.line.join(claim_of("monday"), ACCOUNT, 60) is None
    keep(ledger, claim_of("monday"))
    ledger.line.follow(note, account_with(401), HOLD_SECONDS)
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("ALTER TABLE youcom_accounts RENAME TO also_gone")
    ledger.line.follow(note, account_with(402), HOLD_SECONDS)
    warnings = [record.getMessage() for record in caplog.records if "not written" in record.getMessage()]
    assert len(warnings) == 4
    assert all("The ledger 'youcom_ledger' cannot be used" in warning for warning in warnings)
    with pytest.raises(YouComLedgerRefusedError):
        ledger.line.places()


def test_an_unexpected_error_of_the_line_is_logged_with_its_traceback_and_fails_no_check(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("nobody foresaw it")

    monkeypatch.setattr(_line_transactions, "join", fail)
    assert ledger.line.join(claim_of("monday"), ACCOUNT, 60) is None
    (record,) = caplog.records
    assert record.getMessage() == "The places of gates in line were not written"
    assert "nobody foresaw it" in caplog.text


@pytest.mark.parametrize("seconds", [0, -1, "soon"])
def test_a_hold_without_a_duration_is_refused(ledger: Ledger, seconds: Any) -> None:
    with pytest.raises(ValueError, match="hold_seconds"):
        ledger.line.follow(ledger.note(), account_with(1), seconds)
