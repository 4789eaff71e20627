"""The commands of this provider, without the ``airflow`` command: ``python -m airflow_provider_youcom``."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.cli.cli_config import GroupCommand


def main() -> None:
    """Run one command."""
    (group,) = _command_groups()
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_youcom", description=group.help)
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in group.subcommands:
        subparser = commands.add_parser(
            command.name, help=command.help, description=command.description or command.help
        )
        for argument in command.args:
            argument.add_to_parser(subparser)
        subparser.set_defaults(func=command.func)
    args = parser.parse_args()
    args.func(args)


def _command_groups() -> list[GroupCommand]:
    with _no_logs_on_standard_output():
        # This import chooses which warnings are shown. If it came later, it would undo the choice below.
        import airflow.configuration  # noqa: F401

        with warnings.catch_warnings():
            # Python 3.14 warns about a class that Airflow 3.3 uses.
            warnings.filterwarnings("ignore", "FileType is deprecated", PendingDeprecationWarning)
            from airflow_provider_youcom._cli.definition import get_youcom_cli_commands

    return get_youcom_cli_commands()


@contextmanager
def _no_logs_on_standard_output() -> Iterator[None]:
    """Keep standard output for what a command prints: Airflow logs to it while it is imported."""
    # On Airflow 3.1, Alembic lists its plugins, in every command.
    logging.disable(logging.INFO)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    main()
