"""The metrics as StatsD and OpenTelemetry receive them, and a backend that fails."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_youcom import _metrics
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.sandbox import Fault, Sandbox
from airflow_provider_youcom.sensors.balance import BalanceSensor
from airflow_provider_youcom.triggers.balance import BalanceTrigger

# A gate that opens on a worker, and one that waits in a triggerer. They run in a process of their own,
# since Airflow sets up its backend once.
SCRIPT = """
import asyncio, os, sys
from airflow_provider_youcom.sensors.balance import BalanceSensor
from airflow_provider_youcom.triggers.balance import BalanceTrigger

try:
    # As Airflow does where a task starts.
    from airflow.sdk.execution_time import task_runner
except ImportError:
    pass
BalanceSensor(task_id="gate", min_usd=25).execute({})

async def first():
    async for event in BalanceTrigger(min_usd="25", poke_interval=1, end_from_trigger=True).run():
        return event

asyncio.run(first())
sys.stdin.read()
"""

# Sends a metric for each connection that its input names.
NAMES_SCRIPT = """
import json, sys
from airflow_provider_youcom import _metrics

try:
    from airflow.sdk.execution_time import task_runner
except ImportError:
    pass
for name in json.load(sys.stdin):
    _metrics.increment_checks_without_balance(name)
"""
ODD_NAMES = [
    "a.b",
    "a_b",
    "a b",
    "a,b=c",
    "a:b|c",
    "",
    " ",
    "研究",
    "研发",
    "\ud800",
    "x" * 240,
    "x" * 239,
    "研" * 240,
    "{{ var.value.conn }}",
]


class Backend:
    """Records what it receives, as Airflow's backends would send it."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def incr(self, name: str, tags: dict[str, str] | None = None) -> None:
        self.sent.append((name, tags))

    def gauge(self, name: str, value: float, tags: dict[str, str] | None = None) -> None:
        self.sent.append((name, value, tags))


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    backend = Backend()
    monkeypatch.setattr(_metrics, "_stats", lambda: backend)
    return backend


def poll_once(**options: Any) -> None:
    async def first() -> None:
        stream = BalanceTrigger.open_shared_stream({"poke_interval": 1, **options})
        await anext(stream)

    asyncio.run(first())


def test_each_metric_is_sent_with_the_connection_as_a_tag_and_in_its_name(sandbox: Sandbox, backend: Backend):
    poll_once(youcom_conn_id="youcom_default")
    assert backend.sent == [
        ("youcom.youcom_default.balance_usd", 100.0, None),
        ("youcom.balance_usd", 100.0, {"conn_id": "youcom_default"}),
    ]


@pytest.mark.usefixtures("ledger")
def test_a_connection_with_a_ledger_has_gauges_of_what_is_reserved_and_available(backend: Backend):
    from airflow_provider_youcom.hooks.youcom import YouComHook

    with YouComHook().reserved_credits("30.25"):
        poll_once(youcom_conn_id="youcom_default")
    gauges = {name: value[0] for name, *value in backend.sent if len(value) == 2}
    assert gauges["youcom.reserved_usd"] == 30.25
    assert gauges["youcom.available_usd"] == 69.75


def test_a_connection_with_a_ledger_has_gauges_of_the_line(ledger: Ledger, backend: Backend):
    from airflow_provider_youcom.hooks.youcom import YouComHook
    from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder

    account_id = YouComHook().get_balance().account_id
    for run, usd in (("monday", "120"), ("tuesday", "130.5")):
        attempt = Attempt(Holder("production", "pipeline", run, "gate"), run, run)
        ledger.line.join(Claim(attempt, Decimal(usd)), account_id, 60)
    poll_once(youcom_conn_id="youcom_default")
    gauges = {name: value[0] for name, *value in backend.sent if len(value) == 2}
    assert (gauges["youcom.waiting_gates"], gauges["youcom.waiting_usd"]) == (2, 250.5)


@pytest.mark.parametrize(
    ("balance", "options", "counter"),
    [
        (100, {}, "gates_opened"),
        (1, {"on_shortfall": "skip"}, "gates_skipped"),
        (1, {"on_shortfall": "fail"}, "gates_failed"),
        (1, {"on_shortfall": "fail", "soft_fail": True}, "gates_skipped"),
        (1, {"timeout": 0.01}, "gates_failed"),
        (1, {"timeout": 0.01, "soft_fail": True}, "gates_skipped"),
        (1, {"timeout": 0.01, "never_fail": True}, "gates_skipped"),
    ],
)
def test_a_gate_is_counted_once_where_it_ends(
    sandbox: Sandbox, backend: Backend, balance: int, options: dict[str, Any], counter: str
):
    sandbox.set_balance(balance)
    end(BalanceSensor(**{"task_id": "gate", "min_usd": 25, "poke_interval": 0.001, **options}))
    assert [name for name, tags in backend.sent if tags] == [f"youcom.{counter}"]


def end(gate: BalanceSensor) -> None:
    with suppress(AirflowException):
        gate.execute({})


def test_a_check_without_a_balance_is_counted_on_the_worker_and_in_the_poll(
    sandbox: Sandbox, backend: Backend
):
    sandbox.inject(Fault(status=401), times=2)
    end(BalanceSensor(task_id="gate", min_usd=25))
    poll_once(youcom_conn_id="youcom_default")
    assert [name for name, tags in backend.sent if tags] == [
        "youcom.checks_without_balance",
        "youcom.gates_failed",
        "youcom.checks_without_balance",
    ]


@pytest.mark.parametrize("name", ["youcom_default", "You-Com-2", "7", "x" * 100])
def test_an_ordinary_name_of_a_connection_is_sent_as_it_is(backend: Backend, name: str):
    _metrics.increment_gates_opened(name)
    assert backend.sent == [
        (f"youcom.{name}.gates_opened", None),
        ("youcom.gates_opened", {"conn_id": name}),
    ]


def test_both_forms_of_a_metric_contain_the_same_name_cleaned_and_made_unique(backend: Backend):
    _metrics.increment_gates_opened("team a/you.com")
    assert backend.sent == [
        ("youcom.team_a_you_com-296768d0.gates_opened", None),
        ("youcom.gates_opened", {"conn_id": "team_a_you_com-296768d0"}),
    ]


def test_a_form_that_the_backend_refuses_does_not_keep_the_other_from_it(backend: Backend):
    def refuse_a_name_of_its_own(name: str, tags: dict[str, str] | None = None) -> None:
        if not tags:
            # As OpenTelemetry does on Airflow 2.11 with a name of more than 63 characters.
            raise ValueError(name)
        backend.sent.append((name, tags))

    backend.incr = refuse_a_name_of_its_own  # type: ignore[method-assign]
    _metrics.increment_gates_opened("youcom_default")
    assert backend.sent == [("youcom.gates_opened", {"conn_id": "youcom_default"})]


def test_a_backend_that_fails_does_not_affect_the_gate(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    def fail() -> Any:
        raise RuntimeError("the metrics server is on fire")

    monkeypatch.setattr(_metrics, "_stats", fail)
    assert BalanceSensor(task_id="gate", min_usd=25).execute({})["balance_usd"] == 100
    poll_once(youcom_conn_id="youcom_default")


@pytest.mark.airflow_process
def test_statsd_gets_the_metrics_of_a_worker_and_of_a_triggerer(sandbox: Sandbox):
    pytest.importorskip("statsd", reason="Airflow's StatsD backend needs the package statsd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(60)
        with script(STATSD_ON="True", STATSD_HOST="127.0.0.1", STATSD_PORT=str(listener.getsockname()[1])):
            got = {listener.recv(4096).decode() for _ in range(6)}
    assert got >= {
        "airflow.youcom.youcom_default.gates_opened:1|c",
        "airflow.youcom.youcom_default.balance_usd:100.0|g",
    }


@pytest.mark.airflow_process
@pytest.mark.parametrize("with_influxdb", [False, True])
def test_airflow_accepts_each_name_and_no_two_connections_share_one(with_influxdb: bool):
    pytest.importorskip("statsd", reason="Airflow's StatsD backend needs the package statsd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(60)
        address = {"STATSD_HOST": "127.0.0.1", "STATSD_PORT": str(listener.getsockname()[1])}
        settings = {"STATSD_ON": "True", "STATSD_INFLUXDB_ENABLED": str(with_influxdb), **address}
        done = subprocess.run(
            [sys.executable, "-c", NAMES_SCRIPT],
            env=environment_with(settings),
            input=json.dumps(ODD_NAMES),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert "invalid tag" not in done.stdout + done.stderr
        sent: list[str] = []
        while len(sent) < 2 * len(ODD_NAMES):
            # Airflow sends metrics of its own in between.
            sent += [metric for metric in [listener.recv(4096).decode()] if ".youcom." in metric]
    assert len(set(sent[::2])) == len(ODD_NAMES)
    assert len(set(sent[1::2])) == (len(ODD_NAMES) if with_influxdb else 1)
    assert "airflow.youcom.a_b.checks_without_balance:1|c" in sent


@pytest.mark.airflow_process
def test_opentelemetry_gets_the_metrics_of_a_worker_and_of_a_triggerer(sandbox: Sandbox):
    with collector() as (port, received):
        settings = {"OTEL_HOST": "127.0.0.1", "OTEL_PORT": str(port), "OTEL_SSL_ACTIVE": "False"}
        # On Airflow 2.11 and 3.0, a process that ends does not send its last metrics.
        with script(OTEL_ON="True", OTEL_INTERVAL_MILLISECONDS="200", **settings):
            names = {b"airflow.youcom.gates_opened", b"airflow.youcom.balance_usd", b"youcom_default"}
            while names:
                body = received.get(timeout=60)
                names = {name for name in names if name not in body}


@contextmanager
def collector() -> Iterator[tuple[int, Queue[bytes]]]:
    """An endpoint like that of an OpenTelemetry collector."""
    received: Queue[bytes] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], received
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def script(**metrics: str) -> Iterator[None]:
    """Run the script until the end of the ``with`` block."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environment_with(metrics), stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        process.communicate(timeout=300)
    assert process.returncode == 0


def environment_with(metrics: dict[str, str]) -> dict[str, str]:
    """Return the environment of a process with these settings of Airflow's metrics."""
    settings = {f"AIRFLOW__METRICS__{name}": value for name, value in metrics.items()}
    path = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, **settings, "PYTHONPATH": path}
