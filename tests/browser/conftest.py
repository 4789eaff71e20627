"""A whole Airflow with a You.com sandbox, and Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from airflow_provider_youcom.sandbox import Sandbox
from dev.local_airflow import LocalAirflow
from tests.busy_machine import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 60_000
# The first one has no windows, and needs less of a machine.
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)


def _cannot_run(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"The browser tests cannot run: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        _cannot_run("Playwright for Python is not installed (pip install playwright)")
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        _cannot_run(f"none of {', '.join(_BROWSERS)} is on the PATH")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_OPTIONS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def you_com() -> Iterator[Sandbox]:
    """A You.com whose account holds less than the example needs."""
    with Sandbox("3.20", api_key="ydc-sk-4be7a1c09d2f") as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def airflow(
    chromium: Browser, you_com: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalAirflow]:
    """A whole Airflow with the example DAGs."""
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(home, ROOT / "example_dags", environment=PATIENCE) as airflow:
        yield airflow


@pytest.fixture
def received() -> list[str]:
    """All text that the browser received from Airflow."""
    return []


@pytest.fixture
def page(chromium: Browser, received: list[str]) -> Iterator[Page]:
    """A page without cookies."""

    from playwright.sync_api import Error

    def keep(response: Response) -> None:
        # The body is lost once the page has navigated away.
        with suppress(Error):
            if response.request.resource_type in {"document", "fetch", "xhr"}:
                received.append(response.text())

    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("response", keep)
    yield page
    context.close()


@pytest.fixture
def ui(page: Page, airflow: LocalAirflow) -> Any:
    """The UI of the running Airflow's major version."""
    if airflow.version.startswith("2."):
        from tests.browser.airflow_2 import Airflow2Ui

        return Airflow2Ui(page, airflow.base_url)
    from tests.browser.airflow_3 import Airflow3Ui

    return Airflow3Ui(page, airflow.base_url)


@pytest.fixture
def screenshot(page: Page, airflow: LocalAirflow) -> Callable[[str], None]:
    """Save a screenshot of the page under a name."""
    folder = ROOT / "build" / "screenshots" / f"airflow-{airflow.version}"

    def take(name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", animations="disabled")

    return take
