"""The ledger works behind PgBouncer in transaction mode, with both drivers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from airflow_provider_youcom.exceptions import YouComLedgerRefusedError
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.rule import EndReason
from tests.ledger.conftest import new_postgres_database
from tests.ledger.pgbouncer import find_pgbouncer, pgbouncer
from tests.ledger.spending import claim_of, reserve

if TYPE_CHECKING:
    from dev.private_postgres import PrivatePostgres

pytestmark = pytest.mark.on_the_ends

THREADS, USES = 6, 10


@pytest.mark.skipif(find_pgbouncer() is None, reason="there is no PgBouncer on this machine")
@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_every_use_behind_pgbouncer_reserves_and_releases(postgres: PrivatePostgres, driver: str) -> None:
    pytest.importorskip(driver)
    if driver == "psycopg" and sa.__version__.startswith("1."):
        pytest.skip("SQLAlchemy 1.4 cannot use psycopg 3")
    database = new_postgres_database(postgres).rpartition("/")[2]
    released: list[str] = []
    errors: list[str] = []
    with pgbouncer(postgres, database) as port:
        url = f"postgresql+{driver}://airflow@127.0.0.1:{port}"
        ledger = Ledger(sa.create_engine(f"{url}/ledger"), answer_within=60)

        def use(thread: int) -> None:
            try:
                for number in range(USES):
                    decision = reserve(ledger, claim_of(f"run {thread} {number}", 1), 10_000)
                    assert decision.reservation
                    (ended,) = ledger.end([decision.reservation.id], EndReason.RELEASED, by="a thread")
                    released.append(ended.id)
            except Exception as error:
                errors.append(str(error))

        threads = [threading.Thread(target=use, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(set(released)) == THREADS * USES
        assert ledger.standing() == []
        with pytest.raises(YouComLedgerRefusedError, match="no such database: elsewhere"):
            Ledger(sa.create_engine(f"{url}/elsewhere")).note()
