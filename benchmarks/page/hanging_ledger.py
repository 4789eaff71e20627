"""What viewers of the page do to Airflow's API server while the ledger answers, and while it hangs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import sqlalchemy as sa

from airflow_provider_youcom._page.shared_read import PATIENCE
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger.ledger import Ledger
from dev.ledger_history import add_history, add_holding
from dev.local_airflow import LocalAirflow
from dev.private_postgres import PrivatePostgres

DEPLOYMENT = "deployment-of-this-benchmark"
LEDGER = "ledger"
SENTENCE = 'role="alert"'
# How long a viewer waits between two pages: less than a browser's 30 s, for more load.
PAUSE = 2.0


@dataclass(frozen=True)
class Latencies:
    """
    How long answers took, in seconds.

    :param dags: of ``/api/v2/dags``, which one client asks for again and again.
    :param pages: of the page.
    :param explained: how many pages had a sentence about the ledger.
    """

    dags: list[float]
    pages: list[float]
    explained: int

    @property
    def dags_median(self) -> float:
        """The median of ``/api/v2/dags``."""
        return statistics.median(self.dags)


class Stage:
    """
    An API server, and a ledger on PostgreSQL that can be made to hang.

    :param airflow: the Airflow, running.
    :param server: the PostgreSQL of the ledger.
    """

    def __init__(self, airflow: LocalAirflow, server: PrivatePostgres) -> None:
        self.airflow = airflow
        self._server = server

    @contextmanager
    def hanging_ledger(self) -> Iterator[None]:
        """Let the ledger hang within the block."""
        with closing(self._server.connect(LEDGER)) as connection:
            connection.autocommit = False
            connection.cursor().execute("LOCK TABLE youcom_readings IN ACCESS EXCLUSIVE MODE")
            yield

    def watch(self, viewers: int, seconds: float) -> Latencies:
        """
        Let viewers look at the page, and measure.

        :param viewers: how many.
        :param seconds: for how long.
        """
        return asyncio.run(_watch(self.airflow.base_url, viewers, seconds))

    def seconds_to_end(self) -> float:
        """Return how long the API server takes to end after SIGTERM."""
        process_id = self.airflow.process_ids["api-server"]
        began = time.monotonic()
        os.kill(process_id, signal.SIGTERM)
        os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)
        return time.monotonic() - began


@contextmanager
def new_stage(folder: Path) -> Iterator[Stage]:
    """
    Start an API server whose page has something to show.

    :param folder: for Airflow's home.
    """
    dags = folder / "dags"
    dags.mkdir(parents=True)
    with PrivatePostgres() as server:
        server.create_database(LEDGER)
        you_com = {"conn_type": "youcom", "password": "benchmark-key", "extra": {"ledger_conn_id": LEDGER}}
        environment = {
            "AIRFLOW_CONN_YOUCOM_DEFAULT": json.dumps(you_com),
            "AIRFLOW_CONN_LEDGER": server.airflow_connection(LEDGER),
            "AIRFLOW_VAR_YOUCOM_DEPLOYMENT_ID": DEPLOYMENT,
        }
        engine = sa.create_engine(server.url_of(LEDGER))
        balance = AccountBalance("account-of-this-benchmark", Decimal(12240), datetime.now(UTC))
        add_history(Ledger(engine), balance, DEPLOYMENT)
        add_holding(Ledger(engine), balance, DEPLOYMENT)
        engine.dispose()
        with LocalAirflow(folder / "home", dags, environment=environment).start("api-server") as airflow:
            stage = Stage(airflow, server)
            # The first request imports what the page needs.
            stage.watch(viewers=1, seconds=0)
            yield stage


async def _watch(base_url: str, viewers: int, seconds: float) -> Latencies:
    until = time.monotonic() + seconds
    pages: list[float] = []
    texts: list[str] = []

    async def view(client: httpx.AsyncClient) -> None:
        while True:
            began = time.monotonic()
            answer = await client.get("/youcom/")
            pages.append(time.monotonic() - began)
            assert answer.status_code == httpx.codes.OK, answer.text
            texts.append(answer.text)
            if time.monotonic() >= until:
                return
            await asyncio.sleep(PAUSE)

    async def ask(client: httpx.AsyncClient) -> list[float]:
        dags: list[float] = []
        while not dags or time.monotonic() < until:
            began = time.monotonic()
            answer = await client.get("/api/v2/dags")
            dags.append(time.monotonic() - began)
            assert answer.status_code == httpx.codes.OK, answer.text
            await asyncio.sleep(0.05)
        return dags

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=base_url, timeout=60, limits=limits, trust_env=False) as client:
        token = (await client.get("/auth/token")).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        dags, *_ = await asyncio.gather(ask(client), *(view(client) for _ in range(viewers)))
    return Latencies(dags, pages, sum(SENTENCE in text for text in texts))


def longest_page() -> float:
    """Return how long a page may take while the ledger hangs, in seconds."""
    return PATIENCE + 1
