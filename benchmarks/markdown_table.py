"""A table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def markdown_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """
    Return a table in Markdown.

    :param columns: the names of its columns.
    :param rows: their values.
    """
    columns = tuple(columns)
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
