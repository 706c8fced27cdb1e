"""The definition of the commands. It has few imports, because Airflow's command line imports it on each run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api._defaults import DEFAULT_CONN_ID

if TYPE_CHECKING:
    from airflow.cli.cli_config import ActionCommand, GroupCommand

MAX_DAYS = 36_500
"""Maximum age of a job record in a command: a hundred years."""


def get_airbyte_cli_commands() -> list[GroupCommand]:
    """Return the command group ``airbyte`` for Airflow's command line."""
    from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg, GroupCommand, lazy_load_command  # noqa: PLC0415

    arg: Any = Arg  # it has no types
    conn_help = "the id of the Airflow connection (default: %(default)s)"
    conn_id_first = arg(("conn_id",), help=conn_help, nargs="?", default=DEFAULT_CONN_ID)
    conn_id = arg(("-c", "--conn-id"), help=conn_help, default=DEFAULT_CONN_ID)
    workspaces = arg(
        ("-w", "--workspace-id"),
        help="only of this workspace; can be repeated",
        action="append",
        default=[],
    )
    connection = arg(("--connection-id",), help="only jobs of this Airbyte connection (UUID)")
    status = arg(("--status",), help="only jobs of this status, such as running or failed")
    limit = arg(
        ("--limit",), help="maximum number of jobs, latest first (default: %(default)s)", type=_count, default=20
    )
    what = arg(("connection_id",), help="the Airbyte connection to sync (UUID)")
    wait = arg(("--wait",), help="wait until the job finishes, and fail unless it succeeds", action="store_true")
    interval = arg(
        ("--poll-interval",),
        help="seconds between two polls of the job (default: %(default)s)",
        type=_seconds,
        default=10.0,
    )
    older_than = arg(
        ("--older-than",),
        help="only of starts longer ago than this number of days (default: %(default)s)",
        type=_days,
        default=30.0,
    )
    dry_run = arg(("--dry-run",), help="only say how many records would be deleted", action="store_true")
    dags_folder = arg(("dags_folder",), help="the folder with the DAG files, or one file")
    write = arg(("--write",), help="change the files; without it, only print what would change", action="store_true")
    native = arg(
        ("--native",),
        help="to AirbyteSyncOperator and the others, with their parameters; without it, change imports only",
        action="store_true",
    )

    base_url = arg(
        ("--base-url",), help="Airflow's address as Airbyte reaches it (default: [api] base_url)", default=None
    )
    set_it = arg(
        ("--set",),
        help="let Airbyte send its notifications of successful syncs there, in all workspaces or those given",
        action="store_true",
    )

    def command(name: str, function: str, text: str, *args: Any) -> ActionCommand:
        run = lazy_load_command(f"airflow_provider_airbyte_api.cli.commands.{function}")
        return ActionCommand(name=name, help=text, func=run, args=args)

    return [
        GroupCommand(
            name="airbyte",
            help="Inspect an Airbyte, and run its syncs",
            subcommands=(
                command(
                    "doctor",
                    "doctor",
                    "Test an Airflow connection to Airbyte, and show what to change",
                    conn_id_first,
                ),
                command("sources", "list_sources", "List sources", conn_id, workspaces, ARG_OUTPUT),
                command("connections", "list_connections", "List Airbyte connections", conn_id, workspaces, ARG_OUTPUT),
                command("jobs", "list_jobs", "List jobs", conn_id, connection, workspaces, status, limit, ARG_OUTPUT),
                command("sync", "start_sync", "Start a sync", what, conn_id, wait, interval, ARG_OUTPUT),
                command(
                    "webhook",
                    "webhook",
                    "Print the URL of the webhook for Airbyte's notifications, and set it in Airbyte",
                    conn_id_first,
                    base_url,
                    workspaces,
                    set_it,
                ),
                command(
                    "clean-job-state",
                    "clean_job_state",
                    "Delete job records that killed or marked tasks have left behind",
                    older_than,
                    dry_run,
                ),
                command(
                    "migrate",
                    "migrate",
                    "Change DAG files from the official provider to this one",
                    dags_folder,
                    write,
                    native,
                ),
            ),
        )
    ]


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def _days(text: str) -> float:
    value = float(text)
    if not 0 <= value <= MAX_DAYS:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


_seconds.__name__, _count.__name__ = "number of seconds above 0", "number above 0"  # for argparse's error
_days.__name__ = f"number of days from 0 to {MAX_DAYS}"
