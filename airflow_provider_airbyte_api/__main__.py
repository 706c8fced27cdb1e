"""``python -m airflow_provider_airbyte_api doctor …``: the commands of ``airflow airbyte …`` on any Airflow version."""

from __future__ import annotations

import argparse
import sys

from airflow_provider_airbyte_api.cli.definition import get_airbyte_cli_commands
from airflow_provider_airbyte_api.cli.streams import logs_to_stderr, results_to_stdout


def main(arguments: list[str]) -> None:
    """Run one command."""
    with logs_to_stderr():  # it imports Airflow
        (group,) = get_airbyte_cli_commands()
    parser = argparse.ArgumentParser("python -m airflow_provider_airbyte_api", description=group.help)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in group.subcommands:
        one = commands.add_parser(command.name, help=command.help, description=command.help)
        for argument in command.args:
            argument.add_to_parser(one)
        one.set_defaults(func=command.func)
    given = parser.parse_args(arguments)
    given.func(given)


if __name__ == "__main__":
    with results_to_stdout():
        main(sys.argv[1:])
