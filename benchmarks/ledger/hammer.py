"""Let processes hammer one account, whose charges are posted late: the ledger must hold under load."""

from __future__ import annotations

import multiprocessing
import random
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Note
from airflow_provider_youcom.ledger.rule import EndReason

ACCOUNT = "4f1c"
PROCESSES = 8


def claim_of(run: str, usd: int) -> Claim:
    """
    Return what a run wants to reserve.

    :param run: its id.
    :param usd: how much, in dollars.
    """
    attempt = Attempt(Holder("benchmark", "research", run, "gate"), id=run, order=run)
    return Claim(attempt, Decimal(usd))


def balance_of(usd: int) -> AccountBalance:
    """
    Return a reading.

    :param usd: what the account holds, in dollars.
    """
    return AccountBalance(ACCOUNT, Decimal(usd) * 100, datetime.now(UTC))


class Account:
    """
    An account at You.com that processes share: it refuses to be overdrawn, and posts charges late.

    It is topped up only by what was spent, so that it never holds more than ``usd``.

    :param usd: what it holds, in dollars.
    :param posted_within: seconds within which a charge is posted.
    """

    def __init__(self, usd: int, posted_within: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._lock = context.Lock()
        self._posted_within = posted_within
        self._usd = usd
        self._there = context.Value("q", usd, lock=False)
        self._posted = context.Value("q", usd, lock=False)
        self._refused = context.Value("q", 0, lock=False)
        # When each dollar that was spent is posted, or 0.
        self._due = context.Array("d", 4096, lock=False)

    @property
    def refused(self) -> int:
        """How many payments were refused."""
        return int(self._refused.value)

    def read(self) -> int:
        """Return the balance, without what is not posted yet."""
        with self._lock:
            self._post()
            return int(self._posted.value)

    def pay(self) -> None:
        """Spend a dollar."""
        with self._lock:
            self._post()
            if self._there.value < 1:
                self._refused.value += 1
                return
            self._there.value -= 1
            free = next(index for index, due in enumerate(self._due) if due == 0)
            self._due[free] = time.monotonic() + random.random() * self._posted_within
            if self._there.value == 0:
                self._there.value += self._usd
                self._posted.value += self._usd

    def _post(self) -> None:
        now = time.monotonic()
        for index, due in enumerate(self._due):
            if 0 < due <= now:
                self._due[index] = 0
                self._posted.value -= 1


@dataclass
class Hammered:
    """The results of a hammer: refused payments, errors, and the seconds that each try to reserve took."""

    refused: int
    errors: list[str]
    tries: list[float]
    seconds: float

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of a try's milliseconds."""
        return 1000 * statistics.quantiles(self.tries, n=100)[98]


def hammer(url: str, rounds: int, settle_seconds: float, processes: int = PROCESSES) -> Hammered:
    """
    Let processes reserve $2, spend it and release it, on an account that holds $4.

    :param url: an empty database.
    :param rounds: how often each process does so.
    :param settle_seconds: the settle time; charges are posted a little earlier.
    :param processes: how many there are.
    """
    context = multiprocessing.get_context("spawn")
    account = Account(4, posted_within=settle_seconds * 0.9)
    results = context.Queue()
    workers = [
        context.Process(
            target=_reserve_and_spend, args=(url, account, number, rounds, settle_seconds, results)
        )
        for number in range(processes)
    ]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    found: list[tuple[list[float], str | None]] = [results.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join(60)
    return Hammered(
        refused=account.refused,
        errors=[error for _, error in found if error],
        tries=[seconds for tries, _ in found for seconds in tries],
        seconds=time.perf_counter() - started,
    )


def _reserve_and_spend(
    url: str, account: Account, number: int, rounds: int, settle_seconds: float, results: Any
) -> None:
    tries: list[float] = []
    error = None
    try:
        ledger = Ledger(sa.create_engine(url), answer_within=60)
        for turn in range(rounds):
            claim = claim_of(f"run-{number}-{turn}", 2)
            reservation_id = _wait_for_credits(ledger, account, claim, settle_seconds, tries)
            account.pay()
            account.pay()
            ledger.end([reservation_id], EndReason.RELEASED, by=f"process {number}")
    except Exception as caught:  # noqa: BLE001 - whatever it is, it is printed
        error = f"{type(caught).__name__}: {caught}"
    results.put((tries, error))


def _wait_for_credits(
    ledger: Ledger, account: Account, claim: Claim, settle_seconds: float, tries: list[float]
) -> str:
    while True:
        note: Note = ledger.note()
        balance = balance_of(account.read())
        if not note.needs_decision(claim, balance):
            time.sleep(random.random() * 0.01)
            continue
        started = time.perf_counter()
        decision = ledger.decide(claim, balance, note, settle_seconds)
        tries.append(time.perf_counter() - started)
        if decision.reservation is not None:
            return decision.reservation.id
