"""What the commands do."""

from __future__ import annotations

import functools
import itertools
import json
import logging
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
from airflow_provider_airbyte_api.api.errors import AirbyteAlreadyRunningError, AirbyteError
from airflow_provider_airbyte_api.api.jobs import Glance, Patience, get_after_a_pause
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.verdict import Seen, describe, require_success, result_of
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

if TYPE_CHECKING:
    from argparse import Namespace

RESULT = ("job_id", "status", "rows_synced", "bytes_synced", "duration_seconds")
_LOG = logging.getLogger("airbyte")
_LOG.setLevel(logging.WARNING)
INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended."""


def prints(command: Callable[[Namespace], Callable[[], None]]) -> Callable[[Namespace], None]:
    """Let ``command`` work while all that is logged goes to stderr, and then print what it found to stdout.

    An error is its message, and no traceback.
    """

    @functools.wraps(command)
    def wrapped(args: Namespace) -> None:
        try:
            with redirect_stdout(sys.stderr):
                show = command(args)
            show()
            sys.stdout.flush()
        except (AirbyteError, AirflowException) as error:
            sys.exit(str(error))
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: `| head`
            sys.exit(1)

    return wrapped


@prints
def examine(args: Namespace) -> Callable[[], None]:
    """Say whether the connection works; exit with 1 if it does not."""
    finding = _hook(args).diagnose()
    if not finding.ok:
        sys.exit(finding.text)
    return lambda: print(finding.text)


@prints
def list_sources(args: Namespace) -> Callable[[], None]:
    """List sources."""
    found = [source.raw for source in _hook(args).list_sources(args.workspace_id)]
    rows = [{name: value for name, value in row.items() if name != "configuration"} for row in found]
    return _table(args, rows, "sourceId", "name", "sourceType", "workspaceId")


@prints
def list_connections(args: Namespace) -> Callable[[], None]:
    """List Airbyte connections."""
    rows = [connection.raw for connection in _hook(args).list_connections(args.workspace_id)]
    return _table(args, rows, "connectionId", "name", "status", "workspaceId")


@prints
def list_jobs(args: Namespace) -> Callable[[], None]:
    """List jobs, the newest first."""
    found = _hook(args).list_jobs(args.connection_id, workspace_ids=args.workspace_id, status=args.status)
    rows = [job.raw for job in itertools.islice(found, args.limit)]
    return _table(args, rows, "jobId", "status", "jobType", "startTime", "rowsSynced", "bytesSynced", "connectionId")


@prints
def start_sync(args: Namespace) -> Callable[[], None]:
    """Start a sync, and wait for its end if told so."""
    hook = _hook(args)
    connection = hook.get_airbyte_connection(args.connection_id)
    try:
        job = hook.start_sync(connection.connection_id)
    except AirbyteAlreadyRunningError as error:
        raise AirflowException(f"{connection.name!r} is being synced already; nothing was started. {error}") from error
    except KeyboardInterrupt:
        print(f"A sync of {connection.name!r} may have been started: airflow airbyte jobs shows it.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    url = hook.job_url(connection.workspace_id, connection.connection_id, job.job_id)
    print(f"Started job {job.job_id} of {connection.name!r}: {url}", file=sys.stderr)
    if not args.wait:
        return _table(args, [result_of(job, url)], *RESULT)
    try:
        with _progress(job) as show:
            patience = Patience(args.poll_interval, first_pause=min(args.poll_interval, 1.0))
            job = hook.run(jobs.wait_for_job(job.job_id, patience, functools.partial(_look, show))).job
    except KeyboardInterrupt:
        print(f"Job {job.job_id} goes on in Airbyte: {url}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    seen = Seen(connection.name, url)
    require_success(job, seen)
    print(f"{describe(job, seen)}.", file=sys.stderr)
    return _table(args, [result_of(job, url)], *RESULT)


def _hook(args: Namespace) -> AirbyteHook:
    # As Airflow's own commands do, so that the connections in its database are found.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    try:
        connection = Connection.get_connection_from_secrets(args.conn_id)
    except AirflowNotFoundException as error:
        raise AirflowException(f"{error}. Create it with airflow connections add, or name another one.") from error
    hook = AirbyteHook.of(connection)
    hook.__dict__["_log"] = _LOG  # the commands say themselves what happens
    return hook


def _table(args: Namespace, rows: Iterable[Mapping[str, Any]], *columns: str) -> Callable[[], None]:
    """Return what prints whole objects as JSON or YAML, or the ``columns`` of a table."""

    def show() -> None:
        if args.output == "json":
            print(json.dumps([dict(row) for row in rows]))
        elif args.output == "yaml":
            print(yaml.safe_dump([dict(row) for row in rows], sort_keys=False, allow_unicode=True), end="")
        else:
            AirflowConsole().print_as([{name: row.get(name) for name in columns} for row in rows], args.output)

    return show


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
