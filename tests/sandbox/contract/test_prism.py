"""The hook reads whatever You.com's contract allows, as answered by the mock server Prism."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_youcom.exceptions import YouComError, YouComRefusedError, YouComUnavailableError
from airflow_provider_youcom.hooks.youcom import YouComHook

PRISM = "@stoplight/prism-cli@5.14.2"
OPENAPI = Path(__file__).with_name("openapi.yaml")
INSTALLED = Path(__file__).parents[3] / "build" / "prism-5.14.2"

pytestmark = [
    pytest.mark.airflow_process,
    pytest.mark.scenario,
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed"),
    pytest.mark.long,
    pytest.mark.only_in_test,
]


@pytest.fixture(scope="session")
def prism() -> Path:
    """The command of Prism, installed once in the folder for build results."""
    if not INSTALLED.exists():
        INSTALLED.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=INSTALLED.parent) as folder:
            # Install into a temporary folder first, so that a partial installation is never used.
            complete = Path(folder, "complete")
            complete.mkdir()
            subprocess.run(
                ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(complete), PRISM],
                check=True,
                timeout=300,
            )
            complete.rename(INSTALLED)
    return INSTALLED / "node_modules" / ".bin" / "prism"


@pytest.fixture(scope="module", params=["static", "dynamic"])
def base_url(request: pytest.FixtureRequest, prism: Path) -> Iterator[str]:
    """The URL of Prism, which answers with the contract's examples or with data made up from its schemas."""
    options = ["--dynamic", "--seed", "1"] if request.param == "dynamic" else []
    server = subprocess.Popen(
        [str(prism), "mock", "--host", "127.0.0.1", "--port", "0", *options, str(OPENAPI)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if listening := re.search(r"listening on (http://127\.0\.0\.1:\d+)", line):
                yield listening[1]
                break
        else:
            pytest.fail("Prism ended before it listened")
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def hook(base_url: str, monkeypatch: pytest.MonkeyPatch) -> YouComHook:
    connection = {"conn_type": "youcom", "password": "any-key", "host": base_url, "extra": {"retries": 0}}
    monkeypatch.setenv("AIRFLOW_CONN_YOUCOM_DEFAULT", json.dumps(connection))
    return YouComHook()


def test_the_balance_is_read(hook: YouComHook) -> None:
    assert hook.get_balance().balance_usd.is_finite()


def test_the_connection_test_succeeds(hook: YouComHook) -> None:
    succeeded, message = hook.test_connection()
    assert succeeded, message
    assert " left" in message


@pytest.mark.parametrize(
    ("code", "error"), [(401, YouComRefusedError), (403, YouComRefusedError), (500, YouComUnavailableError)]
)
def test_an_error_in_the_contract_raises_the_matching_exception(
    code: int, error: type[YouComError], hook: YouComHook
) -> None:
    # Prism answers with the status that this header asks for.
    hook.get_conn().headers["Prefer"] = f"code={code}"
    with pytest.raises(error) as caught:
        hook.get_balance()
    assert caught.value.status_code == code
