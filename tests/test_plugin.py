"""The plugin: what it registers in which Airflow, and what its import costs every process of Airflow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import pytest

from airflow_provider_youcom import _plugin
from airflow_provider_youcom._plugin import YouComPlugin
from tests.test_layout import IMPORTS

HAS_PAGES = tuple(map(int, re.findall(r"\d+", airflow.__version__)[:3])) >= (3, 1, 1)
# What the page needs, and no process but the API server.
HEAVY = ("fastapi", "starlette", "jinja2", "requests", "sqlalchemy")

LOAD = """
import json, sys
from airflow import plugins_manager
before = set(sys.modules)
import airflow_provider_youcom._plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""
RUN = """
import json, sys
from airflow.__main__ import main
sys.argv = ["airflow", *sys.argv[1:]]
try:
    main()
finally:
    print("\\n" + json.dumps(sorted(sys.modules)))
"""


def last_line(program: str, *arguments: str) -> list[str]:
    """Run a program in a process of its own, and return the JSON in its last line."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True, timeout=300
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_airflow_finds_the_plugin() -> None:
    (entry,) = entry_points(group="airflow.plugins", name="youcom")
    assert entry.load() is YouComPlugin


def test_only_airflow_3_1_1_and_later_has_the_page() -> None:
    assert [view["name"] for view in YouComPlugin.external_views] == ["Credits"] * HAS_PAGES
    assert [app["url_prefix"] for app in YouComPlugin.fastapi_apps] == ["/youcom"] * HAS_PAGES


@pytest.mark.skipif(not HAS_PAGES, reason="an older Airflow has no pages")
@pytest.mark.parametrize(
    ("version", "has_page"),
    [("3.1.0", False), ("3.1.0rc1", False), ("3.1.1", True), ("3.1.10", True), ("3.10.0", True)],
)
def test_airflow_3_1_0_is_left_out(version: str, has_page: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_plugin, "airflow_version", version)
    assert _plugin._can_show_pages() is has_page


def test_the_urls_of_the_view_are_relative() -> None:
    for view in YouComPlugin.external_views:
        for name in ("href", "icon", "icon_dark_mode"):
            assert re.match(r"youcom/", view[name])
        assert view["href"].endswith("/"), "Airflow would answer with its own UI"


@pytest.mark.airflow_process
def test_loading_the_plugin_imports_two_modules_of_ours_and_nothing_heavy() -> None:
    imported = last_line(LOAD)
    ours = [name for name in imported if name.startswith("airflow_provider_youcom")]
    assert set(ours) <= {"airflow_provider_youcom", "airflow_provider_youcom._plugin"}
    assert [name for name in imported if name.startswith(HEAVY)] == []
    assert len(imported) < 10, imported


@pytest.mark.airflow_process
@pytest.mark.parametrize("command", ["dags list", "plugins"])
def test_a_command_of_airflow_imports_nothing_of_the_page(command: str, airflow_database: None) -> None:
    imported = last_line(RUN, *command.split())
    assert "airflow_provider_youcom._plugin" in imported or not HAS_PAGES or command == "dags list"
    assert [name for name in imported if name.startswith("airflow_provider_youcom._page")] == []


@pytest.mark.only_in_test
def test_nothing_imports_the_page_but_the_page() -> None:
    importing = {
        name
        for name, imported in IMPORTS.items()
        if any(each.startswith("airflow_provider_youcom._page") for each in imported)
    }
    assert importing
    assert {name for name in importing if not name.startswith("airflow_provider_youcom._page")} == set()


@pytest.mark.only_in_test
def test_the_style_sheet_has_no_address_of_another_host() -> None:
    folder = Path(_plugin.__file__).parent / "_page"
    for file in [*folder.glob("static/*"), *folder.glob("templates/*")]:
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+", file.read_text())) - {"http://www.w3.org"}
        assert not [each for each in addresses if "." in each], file
