"""The errors of `make demo` for a key that it cannot use, before it starts anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_youcom.sandbox import Sandbox

pytestmark = pytest.mark.only_in_test

PROJECT = Path(__file__).parents[1]


def demo(api_key: str, base_url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dev.demo", "--base-url", base_url],
        cwd=PROJECT,
        env={**os.environ, "YDC_API_KEY": api_key},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_refused_key_ends_the_demo_with_a_sentence_that_does_not_hold_it() -> None:
    with Sandbox() as sandbox:
        done = demo("a-revoked-key", sandbox.base_url)

    assert done.returncode == 1
    assert "You.com refused YDC_API_KEY (HTTP 401" in done.stderr
    assert "create a key at https://you.com/platform" in done.stderr
    assert "Traceback" not in done.stderr
    assert "a-revoked-key" not in done.stdout + done.stderr


def test_a_key_without_the_billing_scope_ends_the_demo_with_the_remedy() -> None:
    with Sandbox() as sandbox:
        sandbox.accounts[sandbox.api_key].has_billing_scope = False
        done = demo(sandbox.api_key, sandbox.base_url)

    assert done.returncode == 1
    assert "give the key the billing scope" in done.stderr


def test_the_demo_asks_for_a_top_up_of_an_overdrawn_account_first() -> None:
    with Sandbox() as sandbox:
        sandbox.accounts[sandbox.api_key].balance_cents -= 10_001
        done = demo(sandbox.api_key, sandbox.base_url)

    assert done.returncode == 1
    assert "-$0.01 left" in done.stdout
    assert "The account is overdrawn" in done.stderr
