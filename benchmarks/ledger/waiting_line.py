"""What a line of gates costs: openings beside it, and the looks of those who wait."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from airflow_provider_youcom.ledger.claim import Claim
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.line_rule import DEFAULT_HOLD_SECONDS
from airflow_provider_youcom.ledger.rule import EndReason
from benchmarks.ledger.bare_driver import Recording, connect, record
from benchmarks.ledger.cycle import cycle
from benchmarks.ledger.databases import Database
from benchmarks.ledger.hammer import ACCOUNT, balance_of, claim_of

PAUSE_SECONDS = 60
# Enough for an opening, whatever is held for the line.
PLENTY_USD = 1_000_000
# A transaction begins with these; the account's row is its lock. What has come in is written there too.
_BEGINNINGS = ("BEGIN", "PRAGMA", "SELECT set_config", "UPDATE youcom_accounts SET version")


@dataclass(frozen=True)
class LineTimes:
    """
    What a line costs in one database: medians in milliseconds.

    :param waiting: how many gates wait.
    :param opening_ms: a decision that opens a gate, with nobody in line.
    :param opening_beside_line_ms: the same, with all of them in line and their amounts held.
    :param cycle_ms: the statements of a cycle with nobody in line, sent by the bare driver.
    :param cycle_without_line_ms: the same, but for those that keep the line.
    :param join_ms: a place for each of them at once.
    :param keep_ms: keeping all places.
    :param note_ms: a note of all places.
    :param statements: the most statements of a look, without what begins a transaction.
    """

    waiting: int
    opening_ms: float
    opening_beside_line_ms: float
    cycle_ms: float
    cycle_without_line_ms: float
    join_ms: float
    keep_ms: float
    note_ms: float
    statements: int

    @property
    def opening_ratio(self) -> float:
        """How much longer an opening takes beside the line."""
        return self.opening_beside_line_ms / self.opening_ms

    @property
    def cycle_ratio(self) -> float:
        """How much longer a cycle takes because of the line in which nobody is."""
        return self.cycle_ms / self.cycle_without_line_ms


def measure_line(empty: Database, lined: Database, waiting: int, turns: int) -> LineTimes:
    """
    Return what a line costs, measured in turns.

    :param empty: an empty database, where nobody waits.
    :param lined: another one, where all wait.
    :param waiting: how many gates wait.
    :param turns: how often each is measured.
    """
    nobody, everybody = empty.ledger(), lined.ledger()
    cycle(nobody, "first")
    cycle(everybody, "first")
    claims = [claim_of(f"waiting-{number}", 1) for number in range(waiting)]
    join_ms = _milliseconds(lambda: _keep(everybody, claims))
    if len(everybody.line.places(ACCOUNT)) != waiting:
        raise RuntimeError("Not every gate has a place in line.")
    # Four times what each needs, and more, so that everything in line is held.
    for turn in range(5):
        _open(everybody, f"passing-{turn}")
    openings, openings_beside, keeps, notes = [], [], [], []
    for turn in range(turns):
        openings.append(_open(nobody, f"turn-{turn}"))
        openings_beside.append(_open(everybody, f"turn-{turn}"))
        keeps.append(_milliseconds(lambda: _keep(everybody, claims)))
        notes.append(_milliseconds(everybody.note))
    if not all(place.is_held for place in everybody.line.places(ACCOUNT)):
        raise RuntimeError("Not everything in line is held.")
    cycles = _cycles_by_driver(empty, nobody, turns)
    return LineTimes(
        waiting,
        opening_ms=statistics.median(openings),
        opening_beside_line_ms=statistics.median(openings_beside),
        cycle_ms=cycles[0],
        cycle_without_line_ms=cycles[1],
        join_ms=join_ms,
        keep_ms=statistics.median(keeps),
        note_ms=statistics.median(notes),
        statements=max(count_statements(everybody, claims, usd) for usd in (0, 2 * PLENTY_USD)),
    )


def count_statements(ledger: Ledger, claims: list[Claim], usd: int) -> int:
    """
    Return how many statements a look of gates that wait together sends, without what begins a transaction.

    :param ledger: the ledger, in whose line they are.
    :param claims: what they wait for.
    :param usd: what the account holds; if it is more than ever before, that is written down.
    """
    last = ledger.note()

    def look() -> None:
        ledger.line.keep(claims, ACCOUNT, PAUSE_SECONDS, last)
        note = ledger.note()
        ledger.line.follow(note, balance_of(usd), DEFAULT_HOLD_SECONDS)

    sent = [statement for transaction in record(look).transactions for statement, _ in transaction]
    return sum(not statement.startswith(_BEGINNINGS) or "best_units" in statement for statement in sent)


def _keep(ledger: Ledger, claims: list[Claim]) -> None:
    ledger.line.keep(claims, ACCOUNT, PAUSE_SECONDS)


def _open(ledger: Ledger, run: str) -> float:
    """Open one gate that never waited, and return the milliseconds of its decision."""
    note = ledger.note()
    started = time.perf_counter()
    decision = ledger.decide(claim_of(run, 1), balance_of(PLENTY_USD), note, settle_seconds=0)
    milliseconds = 1000 * (time.perf_counter() - started)
    if decision.reservation is None:
        raise RuntimeError("Nothing was reserved.")
    ledger.end([decision.reservation.id], EndReason.RELEASED, by="benchmark")
    return milliseconds


def _cycles_by_driver(database: Database, ledger: Ledger, turns: int) -> tuple[float, float]:
    """Return the milliseconds of a cycle by the bare driver, with and without what keeps the line."""
    earlier = record(lambda: cycle(ledger, "earlier"))
    known = earlier.texts()
    with closing(connect(database.url, earlier.driver)) as connection:

        def take_a_turn(run: str, leave_out: Callable[[Recording], Recording]) -> float:
            recorded = record(lambda: cycle(ledger, run))
            renamed = {text: text[::-1] for text in recorded.texts() - known}
            sent = leave_out(recorded)
            return _milliseconds(lambda: sent.replay(connection, renamed))

        turns_taken = [
            (take_a_turn(f"whole-{turn}", lambda sent: sent), take_a_turn(f"without-{turn}", _without_line))
            for turn in range(turns)
        ]
    whole, without = zip(*turns_taken, strict=True)
    return statistics.median(whole), statistics.median(without)


def _without_line(recording: Recording) -> Recording:
    """Leave out the statements that only the line needs."""
    kept = [
        [sent for sent in transaction if not _keeps_the_line(sent[0])]
        for transaction in recording.transactions
    ]
    return Recording(recording.driver, kept)


def _keeps_the_line(statement: str) -> bool:
    # What other statements ask about the line besides is not told apart.
    return statement.startswith(("SELECT youcom_line.", "UPDATE youcom_accounts SET opened_units"))


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)
