"""Print rows letter for letter: no number is rounded, no name is read as markup, and no cell is split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow.cli.simple_table import AirflowConsole
from airflow.utils import yaml
from airflow.utils.platform import is_tty
from rich.cells import cell_len

# More than any line has, so that Rich neither folds a cell nor cuts a line off.
_WIDE = 1_000_000
_BETWEEN_CELLS = len(" | ")


def print_rows(rows: Sequence[Mapping[str, str]], output: str) -> None:
    """
    Print rows in one of Airflow's formats.

    A table that is wider than the terminal is printed as lists: one line for each value.

    :param rows: all with the same columns.
    :param output: ``table``, ``json``, ``yaml`` or ``plain``.
    """
    # Rich takes a dumb terminal to be 80 columns wide, unless it is told the height too.
    console = AirflowConsole(markup=False, emoji=False, highlight=False, height=25)
    terminal_width = console.width
    console.width = _WIDE
    if output == "yaml":
        _print_yaml(rows)
        return
    if output == "json" or not rows:
        console.print_as(data=rows, output=output)
        return
    shown = [{name: _in_one_line(value) for name, value in row.items()} for row in rows]
    if output == "plain":
        _print_columns(shown)
    elif is_tty() and sum(_widths(shown)) + _BETWEEN_CELLS * (len(shown[0]) - 1) > terminal_width:
        _print_lists(shown)
    else:
        console.print_as(data=shown, output=output)


def _print_yaml(rows: Sequence[Mapping[str, str]]) -> None:
    # Without quotes, some readers take an id such as 1e5 for a number.
    quoted = yaml.dump(
        [dict(row) for row in rows], default_style='"', sort_keys=False, allow_unicode=True, width=_WIDE
    )
    print(quoted, end="")


def _in_one_line(value: str) -> str:
    """Return a value with its line breaks and control characters as Python writes them in a string."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in value)


def _widths(rows: Sequence[Mapping[str, str]]) -> list[int]:
    return [max(cell_len(text) for text in (name, *(row[name] for row in rows))) for name in rows[0]]


def _print_columns(rows: Sequence[Mapping[str, str]]) -> None:
    """Print what Airflow's own would, but no 7.18925e+06 in place of 7189250."""
    widths = _widths(rows)
    for cells in (tuple(rows[0]), *(tuple(row.values()) for row in rows)):
        padded = (text + " " * (width - cell_len(text)) for text, width in zip(cells, widths, strict=True))
        print("  ".join(padded).rstrip())


def _print_lists(rows: Sequence[Mapping[str, str]]) -> None:
    longest = max(map(len, rows[0]))
    lists = ("\n".join(f"{name:{longest}}  {value}" for name, value in row.items()) for row in rows)
    print("\n\n".join(lists))
