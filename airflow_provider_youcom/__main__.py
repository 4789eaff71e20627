"""The commands of this provider, without the ``airflow`` command: ``python -m airflow_provider_youcom``."""

from __future__ import annotations

import argparse

from airflow_provider_youcom._cli.definition import get_youcom_cli_commands


def main() -> None:
    """Run one command."""
    (group,) = get_youcom_cli_commands()
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


if __name__ == "__main__":
    main()
