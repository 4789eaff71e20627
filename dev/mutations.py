"""The changes that ``make mutants`` makes: Cosmic Ray's, and statements, arguments and calls left out."""

from __future__ import annotations

import ast
import difflib
import itertools
import re
from collections.abc import Iterator
from typing import Any

from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword

# A comparison is turned round, and moved by its boundary. Its other replacements show nothing more.
COMPARISONS = ["Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt"]
COMPARISONS += ["Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt", "Is_IsNot", "IsNot_Is"]
CALCULATIONS = ["Add_Sub", "Sub_Add", "Mul_FloorDiv", "Div_Mul", "FloorDiv_Mul"]
CALCULATIONS += ["BitOr_BitAnd", "BitAnd_BitOr"]
CORE = [
    *(f"ReplaceComparisonOperator_{each}" for each in COMPARISONS),
    *(f"ReplaceBinaryOperator_{each}" for each in CALCULATIONS),
    "ReplaceUnaryOperator_Delete_Not",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "NumberReplacer",
    "RemoveDecorator",
    "ZeroIterationForLoop",
]


class StatementRemover(Operator):  # type: ignore[misc]
    """Put ``pass`` in place of a statement of a function."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield a place for each change of a node."""
        if node.type == "simple_stmt" and node.search_ancestor("funcdef") is not None:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Return the node with one of these changes."""
        first = node.get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, first.prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none, which only Cosmic Ray's own tests need."""
        return ()


class ArgumentRemover(Operator):  # type: ignore[misc]
    """Leave out one of several arguments, with the comma behind it."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield a place for each change of a node."""
        if node.type == "arglist":
            for _ in self._arguments(node):
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Return the node with one of these changes."""
        argument = self._arguments(node)[index]
        del node.children[argument : argument + 2]
        return node

    @staticmethod
    def _arguments(node: Any) -> list[int]:
        return [
            index
            for index in range(0, len(node.children), 2)
            # Without it, SQLAlchemy takes the type of the column that a parameter is compared with.
            if not node.children[index].get_code(include_prefix=False).startswith("type_=")
        ]

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none, which only Cosmic Ray's own tests need."""
        return ()


class CallRemover(Operator):  # type: ignore[misc]
    """Leave out a call of a method on the result of a call: ``.where(…)`` of ``select(…).where(…)``."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Yield a place for each change of a node."""
        if node.type in {"atom_expr", "power"}:
            for _ in self._calls(node):
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Return the node with one of these changes."""
        call = self._calls(node)[index]
        del node.children[call : call + 2]
        return node

    @staticmethod
    def _calls(node: Any) -> list[int]:
        return [
            index
            for index in range(2, len(node.children) - 1)
            if node.children[index].get_code(include_prefix=False).startswith(".")
            and all(node.children[each].get_code().startswith("(") for each in (index - 1, index + 1))
        ]

    @classmethod
    def examples(cls) -> tuple[()]:
        """Return none, which only Cosmic Ray's own tests need."""
        return ()


def mutants_of(source: str) -> Iterator[tuple[str, str]]:
    """Yield the changed sources of a module that mean something else, each with the lines that changed."""
    known = {_meaning(source)}
    operators = [get_operator(f"core/{name}") for name in CORE]
    for operator in [StatementRemover, ArgumentRemover, CallRemover, *operators]:
        for occurrence in itertools.count():
            mutant = mutate_code(source, operator(), occurrence)
            if mutant is None:
                break
            meaning = _meaning(mutant)
            if meaning is not None and meaning not in known:
                known.add(meaning)
                yield mutant, changed_lines(source, mutant)


def changed_lines(source: str, mutant: str) -> str:
    """Return the function that changed and, with ``-`` and ``+`` in front of them, the lines."""
    difference = difflib.unified_diff(source.splitlines(), mutant.splitlines(), lineterm="", n=0)
    _, _, place, *lines = difference
    number = int(re.split("[ ,]", place)[1].removeprefix("-"))
    changed = [f"{line[0]} {line[1:].strip()}" for line in lines if not line.startswith("@@")]
    return "\n".join([_function_at(source, number), *changed])


def _function_at(source: str, number: int) -> str:
    names = [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and min([node.lineno, *(each.lineno for each in node.decorator_list)]) <= number
        and number <= (node.end_lineno or 0)
    ]
    return ".".join(names) or "(module)"


def _meaning(source: str) -> str | None:
    """Return what Python reads, without docstrings and annotations; None if it is not Python any more."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as docstring):
                docstring.value = ""
            case ast.arg() | ast.AnnAssign():
                node.annotation = ast.Constant(None)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                node.returns = None
    return ast.dump(tree).replace("Expr(value=Constant(value=''))", "Pass()")
