"""The transactions of the line. Each begins with the account's row, as those of reservations do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

import sqlalchemy as sa

from airflow_provider_youcom.ledger import _line_statements as statements
from airflow_provider_youcom.ledger import line_rule, rule
from airflow_provider_youcom.ledger._account_lock import lock
from airflow_provider_youcom.ledger.claim import Claim, Holder
from airflow_provider_youcom.ledger.place import NOTHING_HELD, Held, Place

T = TypeVar("T")

# Each supported database allows this many parameters in a statement.
_KEYS_AT_ONCE = 5_000
# The row of an empty line.
_NOBODY_IN_LINE = SimpleNamespace(held_units=0, held_gates=0, least_put_off=None)


def look(connection: sa.engine.Connection, account_id: str, holder: Holder, account: Any) -> Any:
    """Return a row that tells what a holder leaves alone, and what was put off after a hold in vain."""
    if not account.somebody_waits:
        return _NOBODY_IN_LINE
    bound = line_rule.bound(account.own_place, account.run_since if holder.is_task else None)
    known = {"this_account": account_id, "opened": account.opened_units, "now": account.now}
    return connection.execute(statements.IN_LINE_NOW, {**known, "bound": bound}).one()


def held(connection: sa.engine.Connection, account_id: str, in_line: Any) -> Held:
    """Return what a holder leaves alone, with the first gate that it is held for."""
    if not in_line.held_gates:
        return NOTHING_HELD
    number = {"this_account": account_id, "number": in_line.first_held}
    first = connection.execute(statements.HOLDER_AT, number).one()
    holder = Holder(first.deployment, first.dag_id, first.run_id, first.task_id, first.map_index)
    return Held(int(in_line.held_units), in_line.held_gates, holder)


def leave(connection: sa.engine.Connection, account_id: str, holder: Holder) -> None:
    """Take a gate that opens out of the line."""
    connection.execute(statements.LEAVE, {"this_account": account_id, "this_holder": holder.key})


def reset_patience(connection: sa.engine.Connection, account_id: str, in_line: Any, paid_units: int) -> None:
    """Give the first patience again to those in line that need no more than what has just been paid."""
    if in_line.least_put_off is not None and in_line.least_put_off <= paid_units:
        paid = {"this_account": account_id, "amount": paid_units}
        connection.execute(statements.FIRST_PATIENCE_AGAIN, paid)


def join(connection: sa.engine.Connection, account_id: str, claim: Claim, life_us: int) -> int | None:
    """Keep the place of one gate, with what it needs now, or take one and return its position."""
    lock(connection, account_id)
    own = {"this_account": account_id, "this_holder": claim.attempt.holder.key}
    seen = {**own, "life": life_us, "amount": claim.needed_units}
    if connection.execute(statements.SEEN_WITH_AMOUNT, seen).rowcount:
        return None
    _add(connection, account_id, [claim], life_us, counter=rule.NOT_ENDED - 1)
    number = connection.execute(statements.OWN_PLACE, own).scalar_one_or_none()
    if number is None:
        return None
    in_front = {"this_account": account_id, "number": number}
    return int(connection.execute(statements.IN_FRONT, in_front).scalar_one()) + 1


def by_account(connection: sa.engine.Connection, claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    """Return the claims of gates that have a place, by the account in which they have it."""
    by_key = {claim.attempt.holder.key: claim for claim in claims}
    found: dict[str, list[Claim]] = defaultdict(list)
    for part in _parts(list(by_key)):
        for row in connection.execute(statements.ACCOUNTS_OF, {"keys": part}):
            found[row.account_id].append(by_key[row.holder_key])
    return dict(found)


def keep(
    connection: sa.engine.Connection,
    account_id: str,
    claims: Sequence[Claim],
    life_us: int,
    counter: int,
) -> None:
    """
    Keep the places of gates that check together, and add those that are missing.

    :param counter: of the note by which they wait; whoever has opened since is not added.
    """
    lock(connection, account_id)
    for part in _parts(claims):
        keys = {"this_account": account_id, "keys": [claim.attempt.holder.key for claim in part]}
        if connection.execute(statements.SEEN, {**keys, "life": life_us}).rowcount < len(part):
            _add(connection, account_id, part, life_us, counter)


def end_holds(connection: sa.engine.Connection, in_vain: Sequence[Place], moved_at: int) -> bool:
    """
    End holds that were in vain, and return whether: something may have opened or come in since the note.

    The counts of all that need at least as much start over, too.
    """
    this_account = {"this_account": in_vain[0].account_id}
    keys = {**this_account, "keys": [place.holder.key for place in in_vain]}
    if connection.execute(statements.LOCK_UNMOVED, {**this_account, "moved": moved_at}).rowcount == 0:
        return False
    # Several checks may find at once that holds have lasted too long. They end once.
    if len(connection.execute(statements.STILL_HELD, keys).all()) < len(in_vain):
        return False
    connection.execute(statements.START_OVER, {**keys, "least": line_rule.least_units(in_vain)})
    return True


def _add(
    connection: sa.engine.Connection,
    account_id: str,
    claims: Sequence[Claim],
    life_us: int,
    counter: int,
) -> None:
    this_account = {"this_account": account_id}
    connection.execute(statements.FORGET, this_account)
    joining = _that_may_join(connection, account_id, claims, counter)
    if not joining:
        return
    account = connection.execute(statements.ACCOUNT, this_account).one()
    put_off = connection.execute(statements.PUT_OFF, this_account).all()
    connection.execute(
        statements.ADD_PLACES,
        [
            {
                "account_id": account_id,
                "holder_key": claim.attempt.holder.key,
                "run_key": claim.attempt.holder.run_key,
                "deployment": claim.attempt.holder.deployment,
                "dag_id": claim.attempt.holder.dag_id,
                "run_id": claim.attempt.holder.run_id,
                "task_id": claim.attempt.holder.task_id,
                "map_index": claim.attempt.holder.map_index,
                "number": number,
                "joined_at": account.now,
                "amount_units": claim.needed_units,
                "opened_before": account.opened_units,
                "patience": line_rule.first_patience(claim.needed_units, put_off),
                "seen_at": account.now,
                "alive_until": account.now + life_us,
            }
            for number, claim in enumerate(joining, account.newest_place + 1)
        ],
    )
    connection.execute(statements.NUMBERS_USED, {**this_account, "count": len(joining)})


def _that_may_join(
    connection: sa.engine.Connection, account_id: str, claims: Sequence[Claim], counter: int
) -> list[Claim]:
    """Return those that are not in line, have not opened, and were not overtaken by a newer attempt."""
    keys = {"this_account": account_id, "keys": [claim.attempt.holder.key for claim in claims]}
    in_line = set(connection.execute(statements.IN_LINE, keys).scalars())
    newest = {
        row.holder_key: (row.newest_order, row.newest_try)
        for row in connection.execute(statements.NEWEST_ATTEMPTS, keys)
    }
    ids = [claim.attempt.id for claim in claims]
    attempts = {"this_account": account_id, "attempts": ids, "counter": counter}
    opened = set(connection.execute(statements.OPENED_ATTEMPTS, attempts).scalars())
    joining = {}
    for claim in claims:
        key = claim.attempt.holder.key
        newest_age = newest.get(key)
        overtaken = newest_age is not None and rule.is_older(claim.attempt.age, newest_age)
        if key not in in_line and claim.attempt.id not in opened and not overtaken:
            joining[key] = claim
    return list(joining.values())


def forget(connection: sa.engine.Connection, account_id: str) -> None:
    """Delete the places of gates that have not checked for long."""
    lock(connection, account_id)
    connection.execute(statements.FORGET, {"this_account": account_id})


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _KEYS_AT_ONCE):
        yield items[start : start + _KEYS_AT_ONCE]
