"""
The commands ``airflow youcom …``, as Airflow reads them at its start (3.2 and later).

In every version, ``python -m airflow_provider_youcom …`` does the same.
"""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ARG_YES,
    ActionCommand,
    Arg,
    GroupCommand,
    lazy_load_command,
)

_COMMANDS = "airflow_provider_youcom._cli.commands"

_CONN_ID = Arg(
    ("--conn-id",), default="youcom_default", help="The You.com connection (default: youcom_default)"
)
_DAG_ID = Arg(("--dag-id",), help="Only what the runs of this DAG have reserved")
_ENDED = Arg(
    ("--ended",), action="store_true", help="Also list those of the last 100 that have ended, and why"
)
_IDS = Arg(
    ("ids",),
    nargs="+",
    metavar="id",
    help='An id that the command "reservations" lists, or its first characters',
)


def get_youcom_cli_commands() -> list[GroupCommand]:
    """Return the commands of this provider."""
    return [
        GroupCommand(
            name="youcom",
            help="Show the credits of a You.com account, who has reserved them, and who waits",
            subcommands=(
                ActionCommand(
                    name="balance",
                    help="Show what the account holds, and how much of it is available",
                    func=lazy_load_command(f"{_COMMANDS}.show_balance"),
                    args=(_CONN_ID, ARG_OUTPUT, ARG_VERBOSE),
                ),
                ActionCommand(
                    name="reservations",
                    help="List what counts against the balance: what is reserved, and what ended lately",
                    func=lazy_load_command(f"{_COMMANDS}.list_reservations"),
                    args=(_CONN_ID, _DAG_ID, _ENDED, ARG_OUTPUT, ARG_VERBOSE),
                ),
                ActionCommand(
                    name="waiting",
                    help="List the gates that wait for credits, and what each of them is missing",
                    func=lazy_load_command(f"{_COMMANDS}.list_waiting"),
                    args=(_CONN_ID, ARG_OUTPUT, ARG_VERBOSE),
                ),
                ActionCommand(
                    name="release",
                    help="End reservations by hand",
                    description=(
                        "End reservations by hand. Tasks that still spend these credits go on, and can then "
                        "overspend the account: make sure that none does."
                    ),
                    func=lazy_load_command(f"{_COMMANDS}.release_reservations"),
                    args=(_IDS, _CONN_ID, ARG_YES, ARG_VERBOSE),
                ),
            ),
        )
    ]
