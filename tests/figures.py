"""
Every figure that the package computes, as text, so that two decimal contexts can be compared.

As a program, it sets a hostile context before it imports the package, and prints the figures as JSON.
"""

from __future__ import annotations

import decimal
import importlib
import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

# Python 3.14 drops the flags of a context with the context.
_CONTEXT = decimal.Context()
# All that a program can set, at its worst.
HOSTILE: dict[str, Any] = {
    "prec": 2,
    "rounding": decimal.ROUND_UP,
    "Emin": -1,
    "Emax": 1,
    "capitals": 0,
    "clamp": 1,
    "traps": list(_CONTEXT.flags),
}
BALANCES = ("718924.5", "-0.5", "123456789012345678901.2345", "0", "1e300", "1e-300", "2500", "2499.99999")


def figures() -> list[str]:
    """Return the figures in the current context."""
    return [*_money(), *_rules(), *_ledger(), *_sandbox()]


def _money() -> Iterator[str]:
    from airflow_provider_youcom import money
    from airflow_provider_youcom.balance import balance_fall_usd

    for usd in (
        25,
        "7.50",
        0.1,
        1e22,
        Fraction(1, 3),
        Fraction(2, 3),
        Fraction(1, 10**30),
        "1e-30",
        10**30 + 1,
    ):
        yield money.plain_text(money.parse_usd(usd, "min_usd"))
    for not_usd in ("nan", "sNaN", "1e999999999999999999999", "ten", -1, 1e309, None):
        try:
            yield str(money.parse_usd(not_usd, "min_usd"))
        except ValueError as error:
            yield str(error)
    for cents in BALANCES:
        balance = read(cents)
        text = money.plain_text
        yield f"{text(balance.balance_cents)} {text(balance.balance_usd)} {balance} {balance.to_json()}"
        yield text(money.multiply_usd(balance.balance_usd, decimal.Decimal("0.05")))
        yield text(money.usd_to_cents(balance.balance_usd))
        yield text(money.add_exactly(balance.balance_usd, decimal.Decimal("0.005"), balance.balance_usd))
        yield str(balance_fall_usd(balance, read("0.000001")))
        yield str(balance_fall_usd({"account_id": "4f1c", "balance_cents": 718924.5}, balance))


def _rules() -> Iterator[str]:
    from airflow_provider_youcom.crossing import Line, Memory
    from airflow_provider_youcom.gate import CreditGate

    now = datetime(2026, 1, 1, tzinfo=UTC)
    for cents in BALANCES:
        for least in (25, "24.9999999", 1e300, "1234567890123456789.012345"):
            yield str(CreditGate(least).judge(read(cents)))
        for options in ({"below_usd": 25}, {"above_usd": "24.99"}, {"below_usd": 10**20, "rearm_usd": 0.1}):
            line: Any = {"above_usd": None, "below_usd": None, "rearm_usd": None, "at_start": None} | options
            crossing = Line.from_options(youcom_conn_id="youcom_default", **line, blind_after=60)
            yield str(crossing.observe(Memory(armed=False), read(cents), now))
            yield str(crossing.observe(Memory(armed=True), read(cents), now))
            yield str(crossing.rearm_usd)


def _ledger() -> Iterator[str]:
    from airflow_provider_youcom.ledger import figures as of_ledger
    from airflow_provider_youcom.ledger.claim import Holder
    from airflow_provider_youcom.ledger.place import AccountLine, Place
    from airflow_provider_youcom.ledger.reading import first_reading
    from airflow_provider_youcom.ledger.reservation import AccountNote, Note
    from airflow_provider_youcom.money import plain_text as text

    day = 24 * 60 * 60 * 1_000_000
    reading = first_reading(read("718924.5"), Note(0, {}), 0)
    readings = [reading]
    for number, cents in enumerate(("716924.123456789", *BALANCES[3:], "1e300", "0.3e300", "0.1e300"), 1):
        reading = reading.followed_by(read(cents), Note(number * day, {}), number * day, number % 2 == 0)
        readings.append(reading)
        pace = of_ledger.pace(readings, reading.read_at)
        fall = of_ledger.fall(readings, reading.read_at)
        places = tuple(
            Place("4f1c", Holder("", "", f"run {each}", ""), each, reading.read_at, 333333333, 0, 4, True)
            for each in range(2)
        )
        amounts = [reading.fallen_usd, reading.unreserved_usd, reading.balance_usd]
        amounts += [pace.usd_per_day] if pace else []
        amounts += [fall.usd, fall.unreserved_usd] if fall else []
        amounts += of_ledger.missing_usd(reading.balance_usd, AccountNote(line=AccountLine(places)))
        yield str([text(each) for each in amounts])
        yield str(of_ledger.runs_out(readings, reading.read_at))
        yield str(of_ledger.available(reading, []))


def _sandbox() -> Iterator[str]:
    import requests

    from airflow_provider_youcom.sandbox import BALANCE_PATH, Sandbox

    with Sandbox("123456789.125", spending_cap_usd="7654321.505", post_charges_after=3600) as sandbox:
        sandbox.top_up("0.0005")
        yield str([sandbox.spend(usd) for usd in ("1234567.0001", 99, "7654321")])
        yield str((sandbox.balance_usd(), sandbox.spent_usd(), sandbox.state()))
        # The server's threads have contexts of their own.
        headers = {"X-API-Key": sandbox.api_key}
        yield requests.get(sandbox.base_url + BALANCE_PATH, headers=headers, timeout=60).text
        spent = requests.post(f"{sandbox.base_url}/sandbox/spend", json={"usd": 0.0001}, timeout=60)
        yield spent.text
        yield str(sandbox.accounts[sandbox.api_key].balance_cents)


def read(cents: str) -> Any:
    """Return the balance that You.com's answer holds."""
    from airflow_provider_youcom.billing._answer import read_balance

    body = f'{{"data": {{"type": "account", "id": "4f1c", "attributes": {{"balance": {cents}}}}}}}'
    return read_balance(body.encode(), datetime(2026, 1, 1, tzinfo=UTC))


def _import_the_package() -> None:
    import airflow_provider_youcom

    for module in pkgutil.walk_packages(airflow_provider_youcom.__path__, "airflow_provider_youcom."):
        # Private modules are imported by the others, save one that only Airflow 2 can import.
        if not re.search(r"\._|__main__", module.name):
            importlib.import_module(module.name)


if __name__ == "__main__":
    if "hostile" in sys.argv:
        for name, value in HOSTILE.items():
            if name == "traps":
                decimal.DefaultContext.traps.update(dict.fromkeys(value, True))
            else:
                setattr(decimal.DefaultContext, name, value)
        decimal.setcontext(decimal.DefaultContext.copy())
    _import_the_package()
    print(json.dumps(figures()))
