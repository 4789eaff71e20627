"""The credits page in Airflow's UI, at the root and below a path: menu, links, theme and refresh."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from airflow_provider_youcom._plugin import YouComPlugin
from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.ledger.claim import Attempt, Claim, Holder
from airflow_provider_youcom.ledger.ledger import Ledger
from airflow_provider_youcom.ledger.reservation import Reservation
from airflow_provider_youcom.ledger.rule import EndReason
from airflow_provider_youcom.sandbox import Sandbox
from dev.ledger_history import add_history, add_holding
from dev.local_airflow import LocalAirflow
from tests.busy_machine import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Clock, FrameLocator, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not YouComPlugin.external_views, reason="the page needs Airflow 3.1.1 or newer"),
]

DAGS = Path(__file__).parent / "dags"
DEPLOYMENT = "the-deployment-of-this-test"
BALANCE_USD = Decimal("122.40")
RUN_DAG = "competitor_watch"
WAITING = [("weekly_digest", "120"), ("nightly_research", "50"), ("watch", "40")]
PATHS = {"at the root": "", "below a path": "/team/airflow"}
# For tests of what does not depend on the path.
AT_THE_ROOT = pytest.mark.parametrize("place", [""], ids=["at the root"], indirect=True)
# The seconds after which the page reads itself again.
REFRESHED_EVERY = 30


@dataclass
class Place:
    """
    An Airflow with the page, and the ledger that it shows.

    :param airflow: the Airflow.
    :param ledger: the ledger, with a history.
    :param held: what a run of this Airflow holds.
    """

    airflow: LocalAirflow
    ledger: Ledger
    held: Reservation


@pytest.fixture(scope="module", params=PATHS.values(), ids=PATHS.keys())
def place(
    request: pytest.FixtureRequest, chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """An Airflow with a ledger of a month, and a run that holds frame."""
    home = tmp_path_factory.mktemp("airflow")
    airflow = LocalAirflow(home, DAGS, environment=PATIENCE)
    move_below(airflow, request.param)
    with Sandbox(BALANCE_USD) as sandbox, airflow.start("api-server", "dag-processor"):
        connection = json.loads(sandbox.connection())
        extra = {**json.loads(connection["extra"]), "ledger_conn_id": "ledger"}
        airflow.add_connection("youcom_default", {**connection, "extra": json.dumps(extra)})
        airflow.add_connection("ledger", {"conn_type": "sqlite", "host": str(home / "ledger.db")})
        variable = {"key": "youcom_deployment_id", "value": DEPLOYMENT}
        airflow.request("POST", "/variables", json=variable)
        airflow.wait_for_dag(RUN_DAG)
        run_id = airflow.trigger(RUN_DAG)
        ledger = Ledger(sa.create_engine(f"sqlite:///{home / 'ledger.db'}"))
        account_id = sandbox.accounts[sandbox.api_key].account_id
        balance = AccountBalance(account_id, BALANCE_USD * 100, datetime.now(UTC))
        add_history(ledger, balance, DEPLOYMENT)
        add_holding(ledger, balance, DEPLOYMENT)
        for dag_id, usd in WAITING:
            waiting = claim("scheduled__2026-11-27T03:00:00+00:00", usd, dag_id)
            ledger.line.keep([waiting], account_id, pause_seconds=3600)
        yield Place(airflow, ledger, hold(ledger, balance, run_id))


def move_below(airflow: LocalAirflow, path: str) -> None:
    """Serve an Airflow that has not started below a path of its base URL."""
    airflow.base_url += path
    airflow.environment["AIRFLOW__API__BASE_URL"] = airflow.base_url
    airflow.environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{airflow.base_url}/execution/"


def claim(run_id: str, usd: str, dag_id: str = RUN_DAG) -> Claim:
    holder = Holder(DEPLOYMENT, dag_id, run_id, "enough_credit")
    return Claim(Attempt(holder, holder.key, order="1", try_number=1), Decimal(usd))


def hold(ledger: Ledger, balance: AccountBalance, run_id: str) -> Reservation:
    reservation = ledger.decide(claim(run_id, "5"), balance, ledger.note()).reservation
    assert reservation is not None
    return reservation


@pytest.fixture
def clock(page: Page) -> Clock:
    """The page's clock, which runs, and can be turned forward."""
    page.clock.install()
    return page.clock


@pytest.fixture
def frame_in_the_ui(page: Page, place: Place) -> FrameLocator:
    """The page in Airflow's UI, opened by the menu."""
    page.goto(f"{place.airflow.base_url}/")
    page.get_by_role("link", name="Credits").click()
    return wait_for_the_page(page)


@pytest.fixture
def frame(page: Page, place: Place, clock: Clock) -> FrameLocator:
    """The page in a frame, without Airflow's UI, which takes seconds of computing to load."""
    around = '<iframe src="youcom/" style="border: 0; width: 100%; height: 100vh"></iframe>'
    page.route("**/around", lambda route: route.fulfill(body=around, content_type="text/html"))
    page.goto(f"{place.airflow.base_url}/around")
    return wait_for_the_page(page)


def wait_for_the_page(page: Page) -> FrameLocator:
    from playwright.sync_api import expect

    shown = page.frame_locator("iframe")
    expect(shown.get_by_role("heading", name="Available now")).to_be_visible()
    return shown


@pytest.fixture
def picture(page: Page, place: Place) -> Callable[..., None]:
    """Save a picture of the page; the documentation has those at the root."""
    folder = Path(__file__).parents[2] / "build" / "screenshots" / f"airflow-{place.airflow.version}"
    below = place.airflow.base_url.count("/") > 2

    def take(name: str, **options: Any) -> None:
        suffix = "-below-a-path" if below else ""
        page.screenshot(path=folder / f"{name}{suffix}.png", animations="disabled", **options)

    return take


def test_the_menu_opens_the_page_with_its_icon(
    page: Page, place: Place, frame_in_the_ui: FrameLocator, picture: Callable[..., None]
) -> None:
    from playwright.sync_api import expect

    frame = frame_in_the_ui
    icon = page.get_by_role("link", name="Credits").locator("img")
    assert icon.evaluate("image => image.complete && image.naturalWidth > 0"), "the icon is not there"
    expect(frame.locator(".legend")).to_contain_text("$122.40")
    expect(frame.locator(".line tbody tr")).to_have_count(len(WAITING))
    expect(frame.locator(".forecast .big")).to_have_text(re.compile(r"\d+–\d+ days"))
    page.set_viewport_size({"width": 1280, "height": 1150})
    picture("credits-page-light")


@AT_THE_ROOT
def test_the_theme_of_the_ui_is_followed_at_once(
    page: Page, frame_in_the_ui: FrameLocator, picture: Callable[..., None]
) -> None:
    from playwright.sync_api import expect

    frame = frame_in_the_ui
    page.emulate_media(color_scheme="light")
    root = frame.locator(":root")
    expect(root).to_have_class("light")
    light = frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_class(re.compile("dark"))
    expect(root).to_have_class("dark")
    dark = frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert light != dark
    ui = page.locator("html").evaluate(
        "html => getComputedStyle(html).getPropertyValue('--chakra-colors-bg').trim()"
    )
    ours = root.evaluate("html => getComputedStyle(html).getPropertyValue('--bg').trim()")
    assert ours == ui, "an administrator's theme would be lost"
    page.set_viewport_size({"width": 1280, "height": 1150})
    picture("credits-page-dark")


@AT_THE_ROOT
def test_a_phone_has_one_column(page: Page, place: Place, picture: Callable[..., None]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{place.airflow.base_url}/youcom/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "it scrolls sideways"
    assert page.locator(".chart.narrow").is_visible()
    assert not page.locator(".chart.wide").is_visible()
    picture("credits-page-phone", full_page=True)


def test_a_run_opens_in_the_ui_around_the_frame(
    page: Page, place: Place, frame_in_the_ui: FrameLocator
) -> None:
    run_id = place.held.holder.run_id
    frame_in_the_ui.locator(f'a.run[title="{run_id}"]').click()
    page.wait_for_url(f"{place.airflow.base_url}/dags/{RUN_DAG}/runs/{quote(run_id, safe='')}*")
    page.get_by_text(RUN_DAG).first.wait_for()
    assert page.locator("iframe").count() == 0, "the UI is within its own frame"


@AT_THE_ROOT
def test_a_run_opens_in_a_new_tab_if_asked_to(
    page: Page, place: Place, frame_in_the_ui: FrameLocator
) -> None:
    with page.context.expect_page() as opened:
        frame_in_the_ui.locator(f'a.run[title="{place.held.holder.run_id}"]').click(modifiers=["Control"])
    assert f"/dags/{RUN_DAG}/runs/" in opened.value.url


@AT_THE_ROOT
def test_you_com_opens_in_a_new_tab(page: Page, frame: FrameLocator) -> None:
    page.context.route("https://you.com/**", lambda route: route.fulfill(body="You.com"))
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Top up at You.com").click()
    opened.value.wait_for_url("https://you.com/platform")
    assert opened.value.evaluate("window.opener") is None
    assert frame.get_by_role("heading", name="Available now").is_visible()


@AT_THE_ROOT
def test_arrow_keys_read_single_values(page: Page, frame: FrameLocator) -> None:
    from playwright.sync_api import expect

    chart, readout = frame.locator(".chart.wide"), frame.locator(".readout")
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(readout).to_have_text(re.compile(r"^\d+ \w+, \d\d:\d\d UTC: \$122\.40$"))
    for _ in range(30):
        page.keyboard.press("Shift+ArrowLeft")
    expect(readout).not_to_have_text(re.compile(r"\$122\.40$"))
    expect(chart).to_have_attribute("aria-valuetext", readout.inner_text())
    assert int(chart.get_attribute("aria-valuenow") or 0) < int(chart.get_attribute("aria-valuemax") or 0)


@AT_THE_ROOT
def test_a_pointer_on_the_picture_keeps_its_place_and_stops_no_refresh(
    page: Page, frame: FrameLocator, clock: Clock
) -> None:
    from playwright.sync_api import expect

    chart, readout = frame.locator(".chart.wide"), frame.locator(".readout")
    chart.hover()
    expect(readout).not_to_be_empty()
    said = readout.inner_text()
    frame.locator("main").evaluate("main => main.classList.add('old')")
    clock.run_for((REFRESHED_EVERY + 1) * 1000)
    expect(frame.locator("main.old")).to_have_count(0)
    expect(readout).to_have_text(said)
    expect(chart.locator(".cursor")).to_have_attribute("visibility", "visible")


@AT_THE_ROOT
def test_everything_can_be_reached_by_keyboard(page: Page, frame: FrameLocator) -> None:
    links = frame.locator("a[href]").count()
    frame.locator("header a").focus()
    reached = set()
    for _ in range(links + 3):
        reached.add(frame.locator(":focus").evaluate("each => each.outerHTML.slice(0, 300)"))
        page.keyboard.press("Tab")
        if frame.locator(":focus").count() == 0:
            break
    assert len(reached) == links + 1, "each link, and the picture"


@AT_THE_ROOT
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, place: Place, scheme: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{place.airflow.base_url}/youcom/")
        page.locator("main").wait_for()
        result = Axe().run(page)
        assert result.violations_count == 0, result.generate_report()


def test_the_page_shows_a_release_by_itself(
    page: Page, place: Place, frame: FrameLocator, clock: Clock
) -> None:
    from playwright.sync_api import expect

    run = frame.locator(f'a.run[title="{place.held.holder.run_id}"]')
    expect(run).to_be_visible()
    place.ledger.end([place.held.id], EndReason.RELEASED, by="test")
    read_again: list[str] = []
    page.on("request", lambda request: read_again.append(request.url))
    frame.locator("h1").evaluate("h1 => getSelection().selectAllChildren(h1)")
    clock.run_for(4 * REFRESHED_EVERY * 1000)
    assert not [url for url in read_again if url.endswith("/youcom/")], "somebody is selecting text"
    expect(frame.locator(".age")).to_have_text("Paused while text is selected.")
    frame.locator("h1").evaluate("() => getSelection().removeAllRanges()")
    for _ in range(100):
        # The server keeps for some seconds what it has read.
        if run.is_hidden():
            break
        clock.run_for((REFRESHED_EVERY + 1) * 1000)
        page.wait_for_timeout(500)
    expect(run).to_be_hidden()
    expect(frame.get_by_text("$5.00 of runs that have released")).to_be_visible()


@AT_THE_ROOT
def test_the_page_says_that_it_is_not_up_to_date_when_nobody_is_signed_in(
    page: Page, frame: FrameLocator, clock: Clock
) -> None:
    from playwright.sync_api import expect

    page.context.route("**/youcom/", lambda route: route.fulfill(status=401, body="{}"))
    clock.run_for((REFRESHED_EVERY + 1) * 1000)
    expect(frame.locator(".age")).to_have_text("Not up to date: you are signed out.")
    expect(frame.get_by_role("heading", name="Available now")).to_be_visible()


@AT_THE_ROOT
def test_the_page_says_that_it_is_not_up_to_date_when_the_server_is_silent(
    page: Page, frame: FrameLocator, clock: Clock
) -> None:
    from playwright.sync_api import expect

    silent: list[Any] = []
    page.context.route("**/youcom/", lambda route: silent.append(route))
    clock.run_for((REFRESHED_EVERY + 1) * 1000)
    clock.run_for(20_000)
    expect(frame.locator(".age")).to_have_text("Not up to date: Airflow does not answer.")
    assert len(silent) == 1
    silent[0].abort()


@AT_THE_ROOT
def test_only_a_new_alert_is_read_out(page: Page, place: Place, frame: FrameLocator, clock: Clock) -> None:
    from playwright.sync_api import expect

    answer = page.request.get(f"{place.airflow.base_url}/youcom/").text()
    said = ""

    def add_alert(route: Any) -> None:
        alert = f'<p class="alert" role="alert">{said}</p>'
        route.fulfill(body=answer.replace("</header>", f"</header>{alert}"), content_type="text/html")

    page.context.route("**/youcom/", add_alert)
    for said, role in (
        ("It hangs since <time>5 s</time>", "alert"),
        ("It hangs since <time>35 s</time>", None),
        ("It is gone", "alert"),
    ):
        clock.run_for((REFRESHED_EVERY + 1) * 1000)
        alert = frame.locator(".alert", has_text=re.sub(r"<[^>]+>", "", said))
        expect(alert).to_be_visible()
        assert alert.get_attribute("role") == role


def test_a_page_with_nothing_but_a_sentence_is_not_read_again(page: Page, place: Place, clock: Clock) -> None:
    failed: list[Any] = []
    asked: list[str] = []
    page.goto(f"{place.airflow.base_url}/youcom/nothing")
    page.get_by_text("There is no such page here").wait_for()
    page.on("pageerror", lambda error: failed.append(error))
    page.on("request", lambda request: asked.append(request.url))
    clock.run_for(60_000)
    assert (asked, failed) == ([], [])
