"""The package's modules: which are public, what they import, and how long they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.only_in_test

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "airflow_provider_youcom"
LONGEST = 250


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported_modules(path: Path) -> Iterator[str]:
    """What a module imports from the package, in functions and type-checking blocks too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from submodules or {node.module}


IMPORTS = {name: set(imported_modules(path)) & MODULES.keys() for name, path in MODULES.items()}


def all_imports(name: str, seen: set[str]) -> set[str]:
    for imported in IMPORTS[name] - seen:
        seen.add(imported)
        all_imports(imported, seen)
    return seen


@pytest.mark.parametrize("name", MODULES)
def test_no_two_modules_import_each_other(name: str) -> None:
    assert name not in all_imports(name, set())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_read_in_one_go(name: str) -> None:
    assert len(MODULES[name].read_text().splitlines()) <= LONGEST


def holds_names(path: Path) -> bool:
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def test_the_reference_lists_the_public_modules_and_no_others() -> None:
    # get_provider_info is Airflow's, and the package itself has only its version.
    public = {name for name, path in MODULES.items() if is_public(name) and holds_names(path)}
    public -= {PACKAGE.name, f"{PACKAGE.name}.get_provider_info"}
    page = (PROJECT / "docs" / "reference.md").read_text()
    listed = re.findall(r"^::: ([\w.]+)", page, re.MULTILINE)
    assert {name if name in MODULES else name.rpartition(".")[0] for name in listed} == public
