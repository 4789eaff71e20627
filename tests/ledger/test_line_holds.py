"""Whose amount is held in each database, who leaves it alone, and when that ends."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.place import Held
from airflow_provider_youcom.ledger.rule import EndReason
from tests.ledger.spending import (
    account_with,
    attempt_of,
    claim_of,
    pass_time,
    reserve,
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


# Hold and pass.


def test_whoever_finds_enough_opens_also_past_others(ledger: Ledger) -> None:
    look(ledger, claim_of("large", 100), 0)
    assert look(ledger, claim_of("small", 10), 10).reservation is not None
    assert in_line(ledger) == ["large"]


def test_an_amount_is_held_once_more_than_four_times_as_much_has_passed(ledger: Ledger) -> None:
    others_reserve(ledger, 1000)
    look(ledger, claim_of("large", 100), 0)
    others_reserve(ledger, 400)
    assert held(ledger) == []
    assert look(ledger, claim_of("passes", "0.0000001"), 1).reservation is not None
    assert held(ledger) == ["large"]
    short = look(ledger, claim_of("small", 10), "109.9999999")
    assert short.reservation is None
    assert (short.available.held_usd, short.available.held_for) == (100, "run large of DAG research")
    assert look(ledger, claim_of("small", 10), 110).reservation is not None


def test_the_transaction_leaves_alone_what_is_held_although_the_note_was_older(ledger: Ledger) -> None:
    look(ledger, claim_of("large", 100), 0)
    note = ledger.note()
    others_reserve(ledger, 401)
    balance = account_with(401 + 109)
    assert note.needs_decision(claim_of("small", 10), balance)
    decision = ledger.decide(claim_of("small", 10), balance, note)
    assert decision.reservation is None
    assert (decision.available.available_usd, decision.available.held_usd) == (109, 100)
    assert decision.available.held_for == "run large of DAG research"


def test_whoever_stands_in_front_and_whoever_it_is_held_for_open(ledger: Ledger) -> None:
    look(ledger, claim_of("front", 60), 0)
    look(ledger, claim_of("large", 50), 0)
    others_reserve(ledger, 201)
    assert held(ledger) == ["large"]
    assert look(ledger, claim_of("front", 60), 60).reservation is not None
    assert look(ledger, claim_of("large", 50), 50).reservation is not None
    assert in_line(ledger) == []


def test_each_gate_leaves_alone_what_is_held_for_all_in_front(ledger: Ledger) -> None:
    for run, usd in (("first", 10), ("second", 20), ("third", 5)):
        look(ledger, claim_of(run, usd), 0)
    others_reserve(ledger, 81)
    assert held(ledger) == ["first", "second", "third"]
    second = reserve(ledger, claim_of("second", 20), 81 + 29)
    fourth = reserve(ledger, claim_of("fourth", 1), 81 + 35)
    assert (second.available.held_usd, fourth.available.held_usd) == (10, 35)
    assert second.available.held_for == "run first of DAG research"
    assert fourth.available.held_for == "run first of DAG research and 2 more in line"
    assert reserve(ledger, claim_of("fourth", 1), 81 + 36).reservation is not None


def test_nothing_is_held_for_a_gate_that_does_not_check_any_more(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    look(ledger, claim_of("large", 100), 0)
    others_reserve(ledger, 401)
    pass_time(engine, 180)
    assert held(ledger) == []
    assert ledger.note().of(ACCOUNT).held_before(attempt_of("small").holder).units == 0
    assert reserve(ledger, claim_of("small", 10), 401 + 10).reservation is not None


def test_a_held_gate_whose_check_was_overdue_opens_at_its_next_check(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for run, usd in (("first", 100), ("second", 50)):
        look(ledger, claim_of(run, usd), 0)
    others_reserve(ledger, 401)
    pass_time(engine, 500)
    look(ledger, claim_of("second", 50), 0)
    assert held(ledger) == ["second"]
    assert look(ledger, claim_of("first", 100), 100).reservation is not None


def test_a_gate_whose_place_is_gone_stands_in_front_of_nobody(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    look(ledger, claim_of("monday", 10), 0)
    look(ledger, claim_of("large", 100), 0)
    pass_time(engine, 180 + HOUR // 2)
    look(ledger, claim_of("large", 100), 0)
    pass_time(engine, HOUR // 2)
    others_reserve(ledger, 401)
    assert held(ledger) == ["large"]
    note = ledger.note()
    assert note.of(ACCOUNT).held_before(attempt_of("monday").holder).usd == 100
    assert reserve(ledger, claim_of("monday", 10), 401 + 109, note).reservation is None


def test_gates_that_have_no_place_leave_alone_what_is_held_and_get_none(ledger: Ledger) -> None:
    look(ledger, claim_of("large", 100), 0)
    others_reserve(ledger, 401)
    balance = account_with(401 + 109)
    for run in ("fails", "skips"):
        decision = ledger.reserve(claim_of(run, 10), lambda: balance)
        assert decision.reservation is None
        assert (decision.available.available_usd, decision.available.held_usd) == (109, 100)
        assert decision.available.held_for == "run large of DAG research"
    assert in_line(ledger) == ["large"]


def test_a_run_that_has_held_credits_since_before_a_gate_joined_passes_it_freely(ledger: Ledger) -> None:
    first = reserve(ledger, claim_of("long", 10), 10)
    look(ledger, claim_of("large", 100), 0)
    reserve(ledger, claim_of("long", 10, task_id="second"), MUCH)
    others_reserve(ledger, 401)
    assert held(ledger) == ["large"]
    assert look(ledger, claim_of("long", 10, task_id="third"), 10).reservation is not None
    ledger.end([first.reservation.id], EndReason.RELEASED, by="teardown")
    # The oldest that stands was made after the large gate had joined.
    assert ledger.note().of(ACCOUNT).held_before(attempt_of("long").holder).usd == 100
    assert look(ledger, claim_of("long", 10, task_id="fourth"), 10).reservation is None


def mapped(index: int) -> Claim:
    attempt = Attempt(Holder("production", "research", "mapped", "gate", index), f"mapped {index}", "1", 1)
    return Claim(attempt, claim_of("mapped", 10).amount_usd)


def test_the_second_index_of_a_mapped_gate_passes_only_who_joined_after_the_first_had_opened(
    ledger: Ledger,
) -> None:
    look(ledger, claim_of("large", 100), 0)
    look(ledger, mapped(1), 0)
    assert look(ledger, mapped(0), 10).reservation is not None
    look(ledger, claim_of("later", 1), 0)
    others_reserve(ledger, 401)
    assert held(ledger) == ["large", "mapped", "later"]
    assert look(ledger, mapped(1), 109).reservation is None
    assert look(ledger, mapped(2), 109).reservation is None
    assert look(ledger, mapped(1), 110).reservation is not None


def test_code_outside_of_airflow_never_passes_freely(ledger: Ledger) -> None:
    script = Holder("", "", "host:1", "report")
    claims = [Claim(Attempt(script, f"{number}", "1"), mapped(0).amount_usd) for number in range(2)]
    assert reserve(ledger, claims[0], MUCH).reservation is not None
    look(ledger, claim_of("large", 100), 0)
    others_reserve(ledger, 401)
    late = reserve(ledger, claims[1], 411 + 109)
    assert (late.reservation, late.available.held_usd) == (None, 100)
    assert reserve(ledger, claims[1], 411 + 110).reservation is not None


def test_the_note_and_the_transaction_name_the_same_gate_that_something_is_held_for(ledger: Ledger) -> None:
    look(ledger, mapped(1), 0)
    others_reserve(ledger, 41)
    holder = attempt_of("small").holder
    noted = ledger.note().of(ACCOUNT).held_before(holder)
    assert noted == Held(10 * DOLLAR, 1, mapped(1).attempt.holder)
    found = reserve(ledger, claim_of("small", 1), 10).available
    assert (found.held_usd, found.held_for) == (10, noted.whom)


def test_the_gate_that_something_is_held_for_is_named_although_another_account_has_its_number(
    ledger: Ledger,
) -> None:
    ledger.line.join(claim_of("of another account", 100), "another", 60)
    look(ledger, claim_of("large", 10), 0)
    others_reserve(ledger, 41)
    assert [place.number for place in ledger.line.places()] == [1, 1]
    assert reserve(ledger, claim_of("small", 1), 10).available.held_for == "run large of DAG research"


@pytest.mark.parametrize("usd", [10, 11, 19, 25, 109, 110])
def test_the_note_says_what_the_transaction_decides(ledger: Ledger, usd: int) -> None:
    reserve(ledger, claim_of("long", 1), 1)
    for run, amount in (("first", 100), ("second", 15), ("third", 10)):
        look(ledger, claim_of(run, amount), 0)
    others_reserve(ledger, 401)
    note, balance = ledger.note(), account_with(402 + usd)
    for claim in (
        claim_of("first", 100),
        claim_of("second", 15),
        claim_of("third", 10),
        claim_of("long", 10, task_id="second"),
        claim_of("fourth", 10),
    ):
        expected = note.needs_decision(claim, balance)
        seen = note.of(ACCOUNT).held_before(claim.attempt.holder)
        decision = ledger.decide(claim, balance, note)
        assert (decision.reservation is not None) is expected
        if decision.reservation is None:
            assert decision.available.held_usd == seen.usd
            assert decision.available.held_for == seen.whom
        note = note.after(decision)
        assert note.of(ACCOUNT).line.places == ledger.note().of(ACCOUNT).line.places
        assert note.of(ACCOUNT).line.opened_units == ledger.note().of(ACCOUNT).line.opened_units


# The end of a hold.


def small_ones_have_reserved(engine: sa.engine.Engine, usd: int) -> None:
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(f"UPDATE youcom_accounts SET opened_units = opened_units + {usd * DOLLAR}")


def test_a_hold_ends_when_nothing_has_moved_for_its_time_and_twice_as_much_passes_before_the_next(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    hold(ledger)
    look(ledger, claim_of("small", 10), 20)
    pass_time(engine, HOLD_SECONDS - 30)
    look(ledger, claim_of("small", 10), 20)
    assert held(ledger) == ["large"]
    pass_time(engine, 60)
    look(ledger, claim_of("large", 100), 20, pause_seconds=10_000)
    assert held(ledger) == []
    assert look(ledger, claim_of("small", 10), 20).reservation is not None
    for _ in range(10):
        others_reserve(ledger, 79)
    assert held(ledger) == []
    others_reserve(ledger, "0.0000001")
    assert held(ledger) == ["large"]


def test_who_opens_shows_that_amounts_up_to_its_own_can_be_paid(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for run, usd in (("large", 100), ("larger", 101)):
        look(ledger, claim_of(run, usd), 0, pause_seconds=10_000)
    others_reserve(ledger, 405)
    look(ledger, claim_of("small", 10), 20)
    pass_time(engine, HOLD_SECONDS + 30)
    assert look(ledger, claim_of("small", 10), 20).reservation is not None
    assert [place.patience for place in ledger.line.places()][:2] == [8, 8]
    others_reserve(ledger, 99)
    assert [place.patience for place in ledger.line.places()][:2] == [8, 8]
    others_reserve(ledger, 100)
    assert [place.patience for place in ledger.line.places()][:2] == [4, 8]


def test_the_note_knows_as_the_transaction_does_that_an_amount_was_not_in_vain(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    hold(ledger)
    pass_time(engine, HOLD_SECONDS + 30)
    ledger.line.follow(ledger.note(), account_with(401), HOLD_SECONDS)
    note = ledger.note()
    assert [place.patience for place in note.of(ACCOUNT).line.places] == [8]
    note = note.after(ledger.decide(claim_of("as large", 100), account_with(401 + 100), note))
    assert [place.patience for place in note.of(ACCOUNT).line.places] == [4]
    assert note.of(ACCOUNT).line.places == ledger.note().of(ACCOUNT).line.places


def test_a_run_that_passes_freely_does_not_prolong_a_hold(ledger: Ledger, engine: sa.engine.Engine) -> None:
    assert look(ledger, claim_of("goes on", 5), 5).reservation is not None
    hold(ledger)
    for number in range(3):
        pass_time(engine, HOLD_SECONDS - 60)
        again = claim_of("goes on", 1, task_id=f"again {number}")
        look(ledger, again, 50, pause_seconds=10_000)
        look(ledger, claim_of("large", 100), 49, pause_seconds=10_000)
    assert held(ledger) == []


def test_a_hold_ends_after_twice_its_time_without_an_opening_however_much_comes_in(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    hold(ledger)
    for usd in (20, 30, 40):
        look(ledger, claim_of("large", 100), usd, pause_seconds=10_000)
        assert held(ledger) == ["large"]
        pass_time(engine, 0.7 * HOLD_SECONDS)
    look(ledger, claim_of("large", 100), 50, pause_seconds=10_000)
    assert held(ledger) == []
    assert look(ledger, claim_of("small", 10), 50).reservation is not None


def test_hold_seconds_are_those_of_whoever_checks(ledger: Ledger, engine: sa.engine.Engine) -> None:
    hold(ledger)
    pass_time(engine, 100)
    look(ledger, claim_of("small", 10), 0, hold_seconds=130)
    assert held(ledger) == ["large"]
    look(ledger, claim_of("small", 10), 0, hold_seconds=70)
    assert held(ledger) == []


def test_a_hold_lasts_for_an_hour_by_default(ledger: Ledger, engine: sa.engine.Engine) -> None:
    hold(ledger)
    for seconds, expected in ((HOUR // 2, ["large"]), (HOUR // 2 - 30, ["large"]), (60, [])):
        pass_time(engine, seconds)
        keep(ledger, claim_of("large", 100), pause_seconds=10_000)
        ledger.reserve(claim_of("small", 10), lambda: account_with(401))
        assert held(ledger) == expected


def test_patience_doubles_up_to_512_times_the_amount(ledger: Ledger, engine: sa.engine.Engine) -> None:
    look(ledger, claim_of("large", 1), 0, pause_seconds=10_000)
    seen = []
    for _ in range(9):
        (place,) = ledger.line.places()
        seen.append(place.patience)
        small_ones_have_reserved(engine, place.patience)
        assert held(ledger) == []
        others_reserve(ledger, "0.0000001")
        assert held(ledger) == ["large"]
        pass_time(engine, HOLD_SECONDS + 30)
        look(ledger, claim_of("large", 1), 0, pause_seconds=10_000)
        assert held(ledger) == []
    assert seen == [4, 8, 16, 32, 64, 128, 256, 512, 512]


def test_checks_that_find_at_once_that_a_hold_is_over_end_it_once(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    look(ledger, claim_of("can be paid", 1), 0, pause_seconds=10_000)
    hold(ledger)
    ledger.line.join(claim_of("large", 1), "another", 10_000)
    ledger.line.follow(ledger.note(), account_with(402), HOLD_SECONDS)
    pass_time(engine, HOLD_SECONDS + 30)
    assert held(ledger) == ["can be paid", "large"]
    note = ledger.note()
    ended = [ledger.line.follow(note, account_with(402), HOLD_SECONDS) for _ in range(3)]
    assert ended == [True, False, False]
    assert [place.patience for place in ledger.line.places(ACCOUNT)] == [4, 8]


def test_only_those_that_cannot_be_paid_lose_their_hold(ledger: Ledger, engine: sa.engine.Engine) -> None:
    for run, usd in (("first", 30), ("second", 50), ("third", 20)):
        look(ledger, claim_of(run, usd), 0, pause_seconds=10_000)
    others_reserve(ledger, 201)
    look(ledger, claim_of("small", 1), 50)
    pass_time(engine, HOLD_SECONDS + 30)
    ledger.line.follow(ledger.note(), account_with(201 + 50), HOLD_SECONDS)
    assert held(ledger) == ["first", "third"]
    assert [place.patience for place in ledger.line.places()][:3] == [4, 8, 4]


def test_a_gate_that_can_be_paid_keeps_its_hold_when_one_behind_it_that_needs_less_loses_its_own(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for run, usd in (("first", 50), ("second", 30)):
        look(ledger, claim_of(run, usd), 0, pause_seconds=10_000)
    others_reserve(ledger, 201)
    ledger.line.follow(ledger.note(), account_with(201 + 50), HOLD_SECONDS)
    pass_time(engine, HOLD_SECONDS + 30)
    assert held(ledger) == ["first", "second"]
    assert ledger.line.follow(ledger.note(), account_with(201 + 50), HOLD_SECONDS) is True
    assert held(ledger) == ["first"]
    assert [place.patience for place in ledger.line.places()] == [4, 8]


def test_a_hold_in_vain_puts_off_all_that_need_as_much_and_those_that_join_later(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    look(ledger, claim_of("held", 50), 0, pause_seconds=10_000)
    others_reserve(ledger, 150)
    for run, usd in (("as much", 50), ("more", 70), ("less", 49)):
        look(ledger, claim_of(run, usd), 0, pause_seconds=10_000)
    others_reserve(ledger, 51)
    assert held(ledger) == ["held"]
    pass_time(engine, HOLD_SECONDS + 30)
    look(ledger, claim_of("more later", 60), 0, pause_seconds=10_000)
    look(ledger, claim_of("less later", 40), 0, pause_seconds=10_000)
    places = {place.holder.run_id: place for place in ledger.line.places()}
    patience = {"held": 8, "as much": 8, "more": 8, "less": 4, "more later": 8, "less later": 4}
    assert {run: place.patience for run, place in places.items()} == patience
    total = ledger.note().of(ACCOUNT).line.opened_units
    assert [places[run].opened_before for run in ("held", "as much", "more")] == [total] * 3
    assert places["less"].opened_before < total


def test_neither_a_hold_in_vain_nor_what_is_paid_changes_the_patience_in_another_account(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    hold(ledger)
    pass_time(engine, HOLD_SECONDS + 30)
    ledger.line.follow(ledger.note(), account_with(401), HOLD_SECONDS)
    ledger.line.join(claim_of("as much", 100), "another", 60)
    assert [place.patience for place in ledger.line.places("another")] == [4]
    elsewhere = ledger.decide(claim_of("elsewhere", 100), account_with(100, "another"), ledger.note())
    assert elsewhere.reservation is not None
    assert [place.patience for place in ledger.line.places(ACCOUNT)] == [8]


def test_a_payment_changes_no_patience_while_nobody_was_put_off(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    look(ledger, claim_of("waits", 100), 0)
    sent = statements_sent_from_now(engine)
    assert look(ledger, claim_of("small", 10), 10).reservation is not None
    assert not any("SET patience" in statement for statement in sent)


def test_what_is_paid_ends_the_patience_of_those_that_were_put_off_in_its_own_account_only(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    for account_id in (ACCOUNT, "another"):
        ledger.line.join(claim_of(f"put off in {account_id}", 100), account_id, 60)
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE youcom_line SET patience = 8")
    paid = ledger.decide(claim_of("elsewhere", 100), account_with(100, "another"), ledger.note())
    assert paid.reservation is not None
    assert {place.account_id: place.patience for place in ledger.line.places()} == {ACCOUNT: 8, "another": 4}


def test_gates_that_join_together_after_a_hold_in_vain_are_all_put_off(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    hold(ledger)
    pass_time(engine, HOLD_SECONDS + 30)
    ledger.line.follow(ledger.note(), account_with(401), HOLD_SECONDS)
    keep(ledger, claim_of("as much", 100), claim_of("more", 101))
    assert [place.patience for place in ledger.line.places()] == [8, 8, 8]


@pytest.mark.parametrize(("usd", "goes_on"), [(21, True), (20, False), (19, False)])
def test_a_hold_goes_on_if_more_comes_in(
    ledger: Ledger, engine: sa.engine.Engine, usd: int, goes_on: bool
) -> None:
    hold(ledger)
    look(ledger, claim_of("small", 50), 20)
    pass_time(engine, HOLD_SECONDS - 30)
    look(ledger, claim_of("small", 50), usd)
    pass_time(engine, 60)
    look(ledger, claim_of("small", 50), usd)
    assert held(ledger) == (["large"] if goes_on else [])


def test_a_hold_goes_on_if_something_opens_and_what_it_leaves_is_the_new_measure(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    look(ledger, claim_of("front", 15), 0)
    hold(ledger)
    look(ledger, claim_of("small", 50), 20)
    pass_time(engine, HOLD_SECONDS - 30)
    assert look(ledger, claim_of("front", 15), 20).reservation is not None
    pass_time(engine, HOLD_SECONDS - 30)
    look(ledger, claim_of("large", 100), 6, pause_seconds=10_000)
    pass_time(engine, 60)
    look(ledger, claim_of("small", 50), 6)
    assert held(ledger) == ["large"], "more than the 5 that were left has come in"


def test_a_hold_does_not_end_by_a_note_from_before_something_moved(
    ledger: Ledger, engine: sa.engine.Engine
) -> None:
    hold(ledger)
    pass_time(engine, HOLD_SECONDS + 30)
    old = ledger.note()
    look(ledger, claim_of("small", 50), 1)
    ledger.line.join(claim_of("elsewhere"), "another", 60)
    with engine.connect() as connection, connection.begin():
        moved_at = old.of(ACCOUNT).line.moved_at
        connection.exec_driver_sql(
            f"UPDATE youcom_accounts SET moved_at = {moved_at} WHERE account_id = 'another'"
        )
    assert ledger.line.follow(old, account_with(401), HOLD_SECONDS) is False
    assert held(ledger) == ["large"]


@pytest.mark.parametrize("usd", [10, 20])
def test_a_late_check_that_saw_no_more_changes_nothing(
    ledger: Ledger, engine: sa.engine.Engine, usd: int
) -> None:
    look(ledger, claim_of("large", 100), 0)
    old = ledger.note()
    look(ledger, claim_of("large", 100), 20)
    pass_time(engine, 60)
    moved_at = ledger.note().of(ACCOUNT).line.moved_at
    ledger.line.follow(old, account_with(usd), HOLD_SECONDS)
    line = ledger.note().of(ACCOUNT).line
    assert (line.best_units, line.moved_at) == (20 * DOLLAR, moved_at)


def test_most_checks_write_nothing_about_holds(ledger: Ledger, engine: sa.engine.Engine) -> None:
    hold(ledger)
    note, version = ledger.note(), scalar(engine, "SELECT version FROM youcom_accounts")
    assert ledger.line.follow(note, account_with(401), HOLD_SECONDS) is False
    assert ledger.line.follow(note, account_with(0, "another"), HOLD_SECONDS) is False
    assert scalar(engine, "SELECT version FROM youcom_accounts") == version
