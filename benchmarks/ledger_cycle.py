"""
Measure what the ledger costs, and check that it holds under load.

    python -m benchmarks.ledger_cycle

The first part compares a cycle of note, decision and release with the same statements sent by the bare
driver. In the second part, eight processes hammer one account, whose charges are posted late.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from benchmarks.ledger_hammer import PROCESSES, balance_of, claim_of, hammer

LARGEST_RATIO = 2.0

Statement = tuple[str, Any]


def cycle(ledger: Ledger, run: str) -> None:
    """
    Note, decide and release once.

    :param ledger: the ledger.
    :param run: a run that has not reserved before.
    """
    decision = ledger.decide(claim_of(run, 1), balance_of(1000), ledger.note(), settle_seconds=0)
    if decision.reservation is None:
        raise RuntimeError("Nothing was reserved.")
    ledger.end([decision.reservation.id], EndReason.RELEASED, by="benchmark")


def record_cycle(engine: sa.engine.Engine, ledger: Ledger, run: str) -> list[list[Statement]]:
    """
    Return the statements of one cycle as the driver gets them, by transaction.

    :param engine: the ledger's engine.
    :param ledger: the ledger.
    :param run: a run that has not reserved before.
    """
    transactions: list[list[Statement]] = []

    def begun(connection: Any) -> None:
        transactions.append([])

    def sent(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        transactions[-1].append((statement, parameters))

    sa.event.listen(engine, "begin", begun)
    sa.event.listen(engine, "before_cursor_execute", sent)
    cycle(ledger, run)
    sa.event.remove(engine, "begin", begun)
    sa.event.remove(engine, "before_cursor_execute", sent)
    return transactions


def replay(connection: Any, transactions: list[list[Statement]], ids: dict[str, str]) -> None:
    """
    Send a recorded cycle by the bare driver, under new ids.

    :param connection: the driver's connection.
    :param transactions: what was recorded.
    :param ids: the recorded ids, and the new ones.
    """
    for statements in transactions:
        cursor = connection.cursor()
        for statement, parameters in statements:
            cursor.execute(statement, _renamed(parameters, ids))
            if cursor.description:
                cursor.fetchall()
        connection.commit()


def _renamed(parameters: Any, ids: dict[str, str]) -> Any:
    if isinstance(parameters, dict):
        return {name: ids.get(value, value) for name, value in parameters.items()}
    return tuple(ids.get(value, value) for value in parameters)


def measure(calls: Callable[[int], None], count: int) -> float:
    """
    Return the median of a call's seconds.

    :param calls: called with 0, 1, 2, ...
    :param count: how often.
    """
    seconds = []
    for number in range(count):
        started = time.perf_counter()
        calls(number)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def compare(url: str, count: int) -> tuple[float, float]:
    """
    Return the seconds of a cycle by the ledger, and by the bare driver.

    :param url: an empty database.
    :param count: how many cycles of each.
    """
    engine = sa.create_engine(url)
    ledger = Ledger(engine)
    cycle(ledger, "first")
    recorded = record_cycle(engine, ledger, "recorded")
    (reserved,) = ledger.history(run_id="recorded")
    keys = {
        "recorded": "recorded",
        "id": reserved.id,
        "gate": reserved.holder.key,
        "run": reserved.holder.run_key,
    }

    def bare(number: int) -> None:
        new = {name: f"{name}-{number}" for name in keys}
        replay(connection, recorded, {keys[name]: new[name] for name in keys})

    with closing(_connect(engine)) as connection:
        # They take turns, so that both have the same machine and the same number of rows.
        rounds = 10
        ours, theirs = [], []
        for turn in range(rounds):
            first = turn * count
            ours.append(
                measure(lambda number, f=first: cycle(ledger, f"ledger-{f + number}"), count // rounds)
            )
            theirs.append(measure(lambda number, f=first: bare(f + number), count // rounds))
    engine.dispose()
    return statistics.median(ours), statistics.median(theirs)


def _connect(engine: sa.engine.Engine) -> Any:
    if engine.dialect.name == "sqlite":
        return sqlite3.connect(engine.url.database, isolation_level=None)
    import psycopg2

    url = engine.url
    connection = psycopg2.connect(host=url.host, port=url.port, user=url.username, dbname=url.database)
    connection.set_session(isolation_level="READ COMMITTED")
    return connection


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Make two empty databases of each kind; PostgreSQL's time zone is not UTC."""
    from benchmarks.postgres import PrivatePostgres

    with tempfile.TemporaryDirectory() as folder, PrivatePostgres() as server:
        urls = {}
        for use in ("cycle", "hammer"):
            urls[f"sqlite {use}"] = f"sqlite:///{Path(folder) / use}.db"
            with closing(server.connect("postgres")) as connection:
                connection.cursor().execute(f"CREATE DATABASE {use}")
                connection.cursor().execute(f"ALTER DATABASE {use} SET timezone = 'Asia/Kathmandu'")
            urls[f"postgresql {use}"] = server.url.rpartition("/")[0] + f"/{use}"
        yield urls


def main() -> int:
    """Print what was measured, and return 1 if it is worse than it should be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger_cycle", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    is_good = True
    with databases() as urls:
        for database in ("sqlite", "postgresql"):
            ours, theirs = compare(urls[f"{database} cycle"], options.cycles)
            print(
                f"{database}: note, decide and release take {1000 * ours:.2f} ms, and {1000 * theirs:.2f} ms "
                f"by the bare driver: {ours / theirs:.2f} times"
            )
            is_good &= database == "sqlite" or ours / theirs <= LARGEST_RATIO
        for database in ("sqlite", "postgresql"):
            found = hammer(urls[f"{database} hammer"], options.rounds, settle_seconds=0.05)
            print(
                f"{database}: {PROCESSES} processes, {PROCESSES * options.rounds} reservations in "
                f"{found.seconds:.1f} s: {found.refused} payments refused, {len(found.errors)} errors, "
                f"a decision takes {found.p99_ms:.1f} ms at p99"
            )
            is_good &= not found.refused and not found.errors
            for error in found.errors:
                print(f"  {error}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
