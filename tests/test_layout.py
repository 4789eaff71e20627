"""The package's modules: which are public, what they import, and how long they are."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
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


def imported_modules(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """What these statements import from the package, in functions too."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from submodules or {node.module}


def for_the_type_checker(module: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(module):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from ast.walk(node)


def folder_of(name: str) -> str:
    """The folder of a module. A module at the top counts as a folder of its own."""
    package, _, rest = name.partition(".")
    return f"{package}.{rest.partition('.')[0]}" if rest else package


PARSED = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
IMPORTS = {
    name: set(imported_modules(ast.walk(parsed))) & MODULES.keys() - {PACKAGE.name}
    for name, parsed in PARSED.items()
}
# An import for the type checker alone is no circle between two modules of one folder.
FOR_TYPES_ALONE = {
    name: {
        imported
        for imported in imported_modules(for_the_type_checker(parsed))
        if folder_of(imported) == folder_of(name)
    }
    for name, parsed in PARSED.items()
}
MODULES_AND_THEIR_IMPORTS = {name: IMPORTS[name] - FOR_TYPES_ALONE[name] for name in MODULES}
FOLDERS_AND_THEIR_IMPORTS = {
    folder: {
        folder_of(imported)
        for name in MODULES
        if folder_of(name) == folder
        for imported in IMPORTS[name]
        if folder_of(imported) != folder
    }
    for folder in sorted({folder_of(name) for name in MODULES})
}


def all_imports(name: str, imports: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = imports[waiting.pop()] - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("name", MODULES)
def test_no_two_modules_import_each_other(name: str) -> None:
    assert name not in all_imports(name, MODULES_AND_THEIR_IMPORTS)


@pytest.mark.parametrize("folder", FOLDERS_AND_THEIR_IMPORTS)
def test_no_two_folders_import_each_other(folder: str) -> None:
    assert folder not in all_imports(folder, FOLDERS_AND_THEIR_IMPORTS)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_no_private_module_of_another_folder(name: str) -> None:
    from_elsewhere = {imported for imported in IMPORTS[name] if folder_of(imported) != folder_of(name)}
    # A private module at the top belongs to the whole package.
    private = {each for each in from_elsewhere if any(part.startswith("_") for part in each.split(".")[2:])}
    assert private == set()


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


# Airflow calls these by name, without a base class that declares them.
CALLED_BY_AIRFLOW = {
    "serialize",
    "execute_complete",
    "shared_stream_key",
    "open_shared_stream",
    "filter_shared_stream",
    "get_ui_field_behaviour",
    "get_connection_form_widgets",
}


def documented_members() -> dict[str, set[str]]:
    """The members that the reference page names, for each class of which it names any."""
    page = (PROJECT / "docs" / "reference.md").read_text()
    found = re.findall(
        r"^::: ([\w.]+)\n    options:\n(?:      .*\n)*?      members: \[(.*)\]", page, re.MULTILINE
    )
    return {name: set(filter(None, members.split(", "))) for name, members in found}


def public_members(cls: type) -> set[str]:
    """What a class defines, without its fields, and without what it overrides."""
    inherited = set().union(*(vars(each) for each in cls.__mro__[1:]))
    # Before the loop, since Python 3.14 keeps what it returns in the class.
    fields = inspect.get_annotations(cls).keys()
    return {
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, property | classmethod))
        and name not in inherited | CALLED_BY_AIRFLOW | fields
    }


@pytest.mark.parametrize("name", documented_members())
def test_the_reference_names_the_public_members_of_a_class(name: str) -> None:
    module, _, class_name = name.rpartition(".")
    cls = getattr(importlib.import_module(module), class_name)
    documented = documented_members()[name]
    assert public_members(cls) <= documented <= set(dir(cls))
