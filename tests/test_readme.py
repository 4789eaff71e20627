"""The README and the pages describe what the code does."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_youcom.balance import AccountBalance
from airflow_provider_youcom.billing import _transport_errors, client
from airflow_provider_youcom.exceptions import YouComError
from airflow_provider_youcom.gate import Action, CreditGate
from airflow_provider_youcom.hooks import _connection
from airflow_provider_youcom.hooks._connection import read_connection
from airflow_provider_youcom.hooks.youcom import YouComHook
from airflow_provider_youcom.sandbox import DEFAULT_API_KEY, Fault, Sandbox
from airflow_provider_youcom.sensors.balance import BalanceSensor

pytestmark = pytest.mark.only_in_test

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()
PAGES = {path: path.read_text() for path in sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")])}
QUICKSTART = PROJECT / "example_dags" / "example_youcom_quickstart.py"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(name: str) -> str:
    return README.split(f"[start:{name}] -->\n")[1].split(f"\n<!-- --8<-- [end:{name}]")[0]


def table(name: str) -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in section(name).splitlines()]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_dag_in_the_readme_is_the_quickstart_example_with_the_imports_of_airflow_3() -> None:
    example = QUICKSTART.read_text()
    assert blocks(README, "python") == [example.replace("airflow.providers.common.compat.sdk", "airflow.sdk")]


@pytest.mark.skipif("TEST_INSTALLED_PROVIDER" not in os.environ, reason="only a wheel has it up to date")
def test_the_description_on_pypi_links_to_nothing_that_pypi_does_not_have() -> None:
    description = metadata("airflow-provider-youcom")["Description"]
    links = re.findall(r"\]\(([^)\s]+)\)", description)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    assert "![" not in description
    assert blocks(description, "python") == blocks(README, "python")


def test_the_pages_that_the_readme_names_exist() -> None:
    named = re.findall(r"`(docs/[\w-]+\.md|[A-Z]+\.md)`", README)
    assert named
    assert [page for page in named if not (PROJECT / page).exists()] == []


def links() -> Iterator[tuple[Path, str]]:
    for path, text in PAGES.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if "://" not in link:
                yield path, link


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize(
    ("page", "link"), links(), ids=lambda value: value.name if isinstance(value, Path) else value
)
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    target, _, anchor = link.partition("#")
    path = (page.parent / target).resolve() if target else page
    assert path.exists()
    assert not anchor or anchor in anchors(path.read_text())


def test_every_command_that_a_page_names_exists() -> None:
    noxfile = ast.parse((PROJECT / "noxfile.py").read_text())
    functions = [each.name for each in noxfile.body if isinstance(each, ast.FunctionDef)]
    sessions = {name for name in functions if not name.startswith("_")}
    named = {
        name for text in PAGES.values() for name in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)
    }
    assert named - {"clean"} <= sessions
    listed = re.findall(r"^\| `make ([a-z]+)` ", PAGES[PROJECT / "CONTRIBUTING.md"], re.MULTILINE)
    # The others run it.
    assert {*listed} - {"clean"} == sessions - {"environment"}


def test_the_options_table_lists_the_sensors_own_parameters_with_their_defaults() -> None:
    signature = inspect.signature(BalanceSensor.__init__)
    own = [each for each in signature.parameters.values() if each.kind is each.KEYWORD_ONLY]
    expected = {each.name: "required" if each.default is each.empty else each.default for each in own}
    listed = {
        option.strip("`"): default if default == "required" else _default_of(default.strip("`"))
        for option, default, _ in table("options")
    }
    assert listed == expected
    assert list(listed) == list(expected)


def _default_of(code: str) -> object:
    days = re.fullmatch(r"timedelta\(days=(\d+)\)", code)
    return timedelta(days=int(days[1])) if days else ast.literal_eval(code)


ENDS = {
    "opens": Action.OPEN,
    "waits": Action.WAIT,
    "is skipped": Action.SKIP,
    "fails now": Action.FAIL,
    "this attempt fails": Action.RETRY,
}


def answer(says: str, sandbox: Sandbox) -> AccountBalance | YouComError:
    """Let the sandbox answer as described by the first words of a row of the decision table."""
    if says.startswith("less"):
        sandbox.set_balance(3)
    elif says.startswith("none"):
        sandbox.inject(Fault(status=503), None)
    elif says.startswith("refused"):
        sandbox.inject(Fault(status=401), None)
    elif says.startswith("200"):
        sandbox.inject(Fault(body="not JSON"), None)
    else:
        assert says.startswith("at least")
    try:
        return YouComHook().get_balance()
    except YouComError as error:
        return error


def decisions() -> Iterator[tuple[str, str, str]]:
    says = ""
    for said, option, ends in table("decision-table"):
        says = said or says
        yield says, option, ends


@pytest.mark.parametrize(("says", "option", "ends"), decisions())
def test_the_gate_decides_as_the_table_says(says: str, option: str, ends: str, sandbox: Sandbox) -> None:
    policy: dict[str, Any] = dict(re.findall(r'(\w+)="(\w+)"', option))
    expected = next(action for words, action in ENDS.items() if ends.startswith(words))
    reading = answer(says, sandbox)
    assert CreditGate(25, **policy).judge(reading).action is expected
    if "(default)" in option:
        assert CreditGate(25).judge(reading).action is expected


@pytest.mark.parametrize("name", ["options", "decision-table"])
def test_a_table_is_written_once(name: str) -> None:
    head = section(name).splitlines()[0]
    assert [path.name for path, text in PAGES.items() if head in text] == ["README.md"]
    assert f'--8<-- "README.md:{name}"' in PAGES[PROJECT / "docs" / "sensor.md"]


def base_urls() -> Iterator[list[str]]:
    rows = re.findall(r"^\|(.*)\|$", PAGES[PROJECT / "docs" / "connection.md"], re.MULTILINE)
    cells = [[cell.strip(" `") for cell in row.split("|")] for row in rows]
    return (row for row in cells if row[-1].startswith("http"))


@pytest.mark.parametrize(("host", "schema", "port", "base_url"), base_urls())
def test_a_connection_has_the_base_url_that_the_page_says(
    host: str, schema: str, port: str, base_url: str
) -> None:
    connection = Connection(
        conn_id="written",
        conn_type="youcom",
        password="ydc-sk-1",
        host=host,
        schema=schema,
        port=int(port) if port else None,
    )
    assert read_connection(connection, "the page's connection").client.base_url == base_url


def exported() -> list[str]:
    shell = [block for text in PAGES.values() for block in blocks(text, "bash")]
    commands = [
        command
        for block in shell
        for command in re.findall(r"^export AIRFLOW_CONN_YOUCOM_DEFAULT='[^']*'$", block, re.MULTILINE)
    ]
    return list(dict.fromkeys(commands))


@pytest.mark.parametrize("command", exported())
def test_a_connection_in_the_environment_reaches_you_com(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = shlex.split(command)[1].partition("=")
    with Sandbox(7, api_key="ydc-sk-1", accounts={DEFAULT_API_KEY: 7}) as sandbox:
        # The page's port may be taken on this machine, and the hook refuses the page's placeholder.
        value = value.replace("127.0.0.1:8765", sandbox.base_url.removeprefix("http://"))
        value = value.replace("your-api-key", "ydc-sk-1")
        monkeypatch.setenv(name, value)
        monkeypatch.setattr(_connection, "DEFAULT_BASE_URL", sandbox.base_url)
        assert YouComHook().get_balance().balance_usd == 7
        assert sandbox.request_count == 1


@pytest.mark.airflow_process
def test_the_test_of_a_users_dag_passes_as_printed(tmp_path: Path) -> None:
    for folder in ("dags", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "dags" / QUICKSTART.name).write_text(QUICKSTART.read_text())
    page = PAGES[PROJECT / "docs" / "sandbox.md"]
    for name, code in re.findall(r'^```python title="(\w+\.py)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL):
        (tmp_path / "tests" / name).write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_versions_page_names_what_the_constraints_pin() -> None:
    page = PAGES[PROJECT / "docs" / "versions.md"]
    for path in PROJECT.glob("constraints/airflow-*.txt"):
        pinned = re.findall(r"^apache-airflow==(\S+)", path.read_text(), re.MULTILINE)
        assert f"| Airflow {path.stem.removeprefix('airflow-')} | {pinned[0]} |" in page


WRITES_A_MESSAGE = re.compile(
    r"(YouCom\w*|Value|Type)Error|Airflow\w+|_not_the_contract|_unusable|refused|info|warning|_report|exception|fail"
)


def messages() -> Iterator[str]:
    """The longest fixed part of every message that the source raises or logs."""
    for path in sorted((PROJECT / "airflow_provider_youcom").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            if WRITES_A_MESSAGE.fullmatch(name):
                parts = [
                    each.value
                    for arg in node.args
                    for each in ast.walk(arg)
                    if isinstance(each, ast.Constant)
                ]
                texts = [text for part in parts if isinstance(part, str) for text in part.split("%s")]
                longest = max(texts, key=len, default="")
                if longest:
                    yield longest.strip()
    yield from _transport_errors._WORDS.values()
    yield from client._REMEDIES.values()


@pytest.mark.parametrize("message", dict.fromkeys(messages()))
def test_a_message_is_explained_under_troubleshooting(message: str) -> None:
    page = PAGES[PROJECT / "docs" / "troubleshooting.md"].replace("\n", " ")
    assert message in page
