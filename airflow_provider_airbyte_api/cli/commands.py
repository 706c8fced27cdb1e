"""What the commands do."""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import yaml
from airflow.cli.simple_table import AirflowConsole
from airflow.models.connection import Connection
from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from airflow_provider_airbyte_api.api import jobs
from airflow_provider_airbyte_api.api.conversation import Conversation
from airflow_provider_airbyte_api.api.errors import AirbyteError
from airflow_provider_airbyte_api.api.jobs import Glance, Patience, get_after_a_pause
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.verdict import Seen, describe, require_success, result_of
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

if TYPE_CHECKING:
    from argparse import Namespace

RESULT = ("job_id", "status", "rows_synced", "bytes_synced", "duration_seconds")
INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended."""


def says_errors(command: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Let ``command`` end with an error's message instead of its traceback."""

    @functools.wraps(command)
    def wrapped(args: Namespace) -> None:
        try:
            command(args)
        except (AirbyteError, AirflowException) as error:
            sys.exit(str(error))

    return wrapped


@says_errors
def examine(args: Namespace) -> None:
    """Say whether the connection works; exit with 1 if it does not."""
    finding = _hook(args).diagnose()
    if not finding.ok:
        sys.exit(finding.text)
    print(finding.text)


@says_errors
def list_sources(args: Namespace) -> None:
    """List sources."""
    found = [source.raw for source in _hook(args).list_sources(args.workspace_id)]
    rows = [{name: value for name, value in row.items() if name != "configuration"} for row in found]
    _print(args, rows, "sourceId", "name", "sourceType", "workspaceId")


@says_errors
def list_connections(args: Namespace) -> None:
    """List Airbyte connections."""
    rows = [connection.raw for connection in _hook(args).list_connections(args.workspace_id)]
    _print(args, rows, "connectionId", "name", "status", "workspaceId")


@says_errors
def list_jobs(args: Namespace) -> None:
    """List jobs, the newest first."""
    found = _hook(args).list_jobs(args.connection_id, workspace_ids=args.workspace_id, status=args.status)
    rows = [job.raw for job in itertools.islice(found, args.limit)]
    _print(args, rows, "jobId", "status", "jobType", "startTime", "rowsSynced", "bytesSynced", "connectionId")


@says_errors
def start_sync(args: Namespace) -> None:
    """Start a sync, and wait for its end if told so."""
    hook = _hook(args)
    connection = hook.get_airbyte_connection(args.connection_id)
    job = hook.start_sync(connection.connection_id)
    url = hook.job_url(connection.workspace_id, connection.connection_id, job.job_id)
    print(f"Started job {job.job_id} of {connection.name!r}: {url}", file=sys.stderr)
    if not args.wait:
        _print(args, [result_of(job, url)], *RESULT)
        return
    try:
        with _progress(job) as show, redirect_stdout(sys.stderr):
            patience = Patience(args.poll_interval, first_pause=min(args.poll_interval, 1.0))
            job = hook.run(jobs.wait_for_job(job.job_id, patience, functools.partial(_look, show))).job
    except KeyboardInterrupt:
        print(f"Job {job.job_id} goes on in Airbyte: {url}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    seen = Seen(connection.name, url)
    require_success(job, seen)
    print(f"{describe(job, seen)}.", file=sys.stderr)
    _print(args, [result_of(job, url)], *RESULT)


def _hook(args: Namespace) -> AirbyteHook:
    # As Airflow's own commands do, so that the connections in its database are found.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    try:
        # What is logged meanwhile goes to stdout, and would be in the way of JSON.
        with redirect_stdout(sys.stderr):
            connection = Connection.get_connection_from_secrets(args.conn_id)
    except AirflowNotFoundException as error:
        raise AirflowException(f"{error}. Create it with airflow connections add, or name another one.") from error
    return AirbyteHook.of(connection)


def _print(args: Namespace, rows: Iterable[Mapping[str, Any]], *columns: str) -> None:
    """Print whole objects as JSON or YAML, and the ``columns`` of a table."""
    if args.output == "json":
        print(json.dumps([dict(row) for row in rows]))
    elif args.output == "yaml":
        print(yaml.safe_dump([dict(row) for row in rows], sort_keys=False, allow_unicode=True), end="")
    else:
        AirflowConsole().print_as([{name: row.get(name) for name in columns} for row in rows], args.output)


def _look(show: Callable[[Job], None], glance: Glance) -> Conversation[Job]:
    job = yield from get_after_a_pause(glance)
    show(job)
    return job


@contextmanager
def _progress(job: Job) -> Iterator[Callable[[Job], None]]:
    """Yield what shows how a job is doing: on one line that moves, or, where that is no terminal, a line per change."""
    if not sys.stderr.isatty():
        said = [""]

        def say(job: Job) -> None:
            if job.status != said[0]:
                said[0] = job.status
                print(f"Job {job.job_id} is {job.status}.", file=sys.stderr, flush=True)

        yield say
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task(f"Job {job.job_id} is {job.status}", total=None)

        def move(job: Job) -> None:
            rows = "" if job.rows_synced is None else f", {job.rows_synced:,} rows"
            progress.update(line, description=f"Job {job.job_id} is {job.status}{rows}")

        yield move
