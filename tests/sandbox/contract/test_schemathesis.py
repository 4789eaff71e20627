"""The sandbox keeps You.com's contract, as checked by schemathesis."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from airflow_provider_youcom.sandbox import Fault, Sandbox

pytestmark = [
    pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed"),
    pytest.mark.long,
    pytest.mark.only_in_test,
]

OPENAPI = Path(__file__).with_name("openapi.yaml")


def schemathesis(sandbox: Sandbox, folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(OPENAPI), "--url", sandbox.base_url]
    bounds = ["--generation-deterministic", "--max-examples", "50", "--request-timeout", "60"]
    done = subprocess.run(
        [*command, *bounds, *options], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_schemathesis_finds_nothing_with_made_up_keys(sandbox: Sandbox, tmp_path: Path) -> None:
    schemathesis(sandbox, tmp_path)
    assert sandbox.request_count > 20


@pytest.mark.parametrize("answer", [200, 403, 500])
def test_schemathesis_finds_nothing_in_any_answer_of_the_contract(
    answer: int, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.set_balance("7189.245")
    sandbox.accounts[sandbox.api_key].has_billing_scope = answer != 403
    if answer == 500:
        sandbox.inject(Fault(status=500, body='{"detail": "Internal Server Error"}'), times=None)
    # This case is about a server error, which occurs without a key as well.
    allowed = ["--exclude-checks", "not_a_server_error,missing_required_header"] if answer == 500 else []
    schemathesis(sandbox, tmp_path, "--header", f"X-API-Key:{sandbox.api_key}", *allowed)
    assert sandbox.request_count > 0


def test_schemathesis_finds_a_wrong_answer(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.inject(Fault(body='{"data": {"type": "account"}}'), times=None)
    with pytest.raises(AssertionError, match="Response violates schema"):
        schemathesis(sandbox, tmp_path, "--header", f"X-API-Key:{sandbox.api_key}")
