"""The commands of ``airflow airbyte``."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import yaml
from airflow.cli.simple_table import AirflowConsole
from rich.filesize import decimal

from airflow_provider_airbyte_api._airflow_compat import (
    AirflowException,
    AirflowNotFoundException,
    conf,
    get_connection,
    has_react_apps,
    set_logger,
)
from airflow_provider_airbyte_api._defaults import UI_PREFIX
from airflow_provider_airbyte_api._job_state_backends import get_shared_backend, is_older_record
from airflow_provider_airbyte_api._options import get_webhook_token
from airflow_provider_airbyte_api.api import jobs
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.outcome import JobContext, build_result, build_row, summarize
from airflow_provider_airbyte_api.api.progress import Numbers, numbers_of, rates
from airflow_provider_airbyte_api.api.safe import safe_text
from airflow_provider_airbyte_api.api.wait import WaitOptions
from airflow_provider_airbyte_api.cli.migrate import migrate_folder
from airflow_provider_airbyte_api.cli.streams import logs_to_stderr, reopen_stdout
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.exceptions import AirbyteAlreadyRunningError, AirbyteConfigError, AirbyteError
from airflow_provider_airbyte_api.hooks._settings import missing_connection
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

if TYPE_CHECKING:
    from argparse import Namespace

RESULT_COLUMNS = ("job_id", "status", "rows_synced", "bytes_synced", "duration_seconds")
_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.WARNING)
EXIT_INTERRUPTED = 130
"""Exit status of a program that was interrupted with Ctrl-C."""

MAX_REASON = 100
"""Maximum length of the reason of a failed job in a table, in characters."""

PLAIN_HTTP = (
    "The URL is not https://. Airbyte's notifications then reach Airflow's API server without a body, unless a proxy "
    "in front of it removes the Upgrade header."
)

PROGRESS_INTERVAL = 30.0
"""Seconds between two lines about a job whose status stays the same, if stderr is not a terminal."""


def cli_command(command: Callable[[Namespace], Callable[[], None]]) -> Callable[[Namespace], None]:
    """Run ``command`` with all logs on stderr, then print its result to stdout.

    An error prints its message without a traceback.
    """

    @functools.wraps(command)
    def wrapped(args: Namespace) -> None:
        reopen_stdout()
        try:
            with logs_to_stderr():
                show = command(args)
        except (AirbyteError, AirflowException) as error:
            sys.exit(_printable(error))
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)
        try:
            show()
            sys.stdout.flush()
        except OSError as error:
            # Python would flush again at exit, and fail with a traceback.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            is_closed_pipe = isinstance(error, BrokenPipeError)  # `| head`
            sys.exit(1 if is_closed_pipe else f"Could not write the result: {error}.")

    return wrapped


@cli_command
def doctor(args: Namespace) -> Callable[[], None]:
    """Print whether the connection works, and exit with status 1 if it does not."""
    diagnosis = _hook(args).diagnose()
    if not diagnosis.ok:
        sys.exit(_printable(diagnosis.message))
    return lambda: print(_printable(diagnosis.message))


@cli_command
def webhook(args: Namespace) -> Callable[[], None]:
    """Print the URL of the webhook, and set it in Airbyte if asked to."""
    if not has_react_apps():
        raise AirbyteConfigError(
            "The webhook needs Airflow 3.1 or newer. On an older one, use a watcher (Airflow 3.0), or "
            "an AirbyteFreshnessSensor."
        )
    token = get_webhook_token()
    if token is None:
        raise AirbyteConfigError("The webhook is off. Set the options webhook and webhook_token in [airbyte_api].")
    base_url = (args.base_url or conf.get("api", "base_url", fallback="")).rstrip("/")
    if urlsplit(base_url).scheme not in ("http", "https"):
        raise AirbyteConfigError("Pass Airflow's address as Airbyte reaches it: --base-url https://airflow.example.com")
    url = f"{base_url}{UI_PREFIX}/webhook/{quote(args.conn_id, safe='')}?{urlencode({'token': token})}"
    if args.set:
        hook = _hook(args)
        ids = args.workspace_id or [each.workspace_id for each in hook.list_workspaces()]
        for workspace_id in ids:
            notifications = hook.request("GET", f"/workspaces/{workspace_id}").get("notifications") or {}
            success = {**notifications.get("success", {}), "webhook": {"enabled": True, "url": url}}
            change = {"notifications": {**notifications, "success": success}}
            hook.request("PATCH", f"/workspaces/{workspace_id}", json=change)
            _LOG.warning("Workspace %s sends its notifications of successful syncs to Airflow.", workspace_id)
    if not url.startswith("https:"):
        _LOG.warning("%s", PLAIN_HTTP)
    return lambda: print(url)


@cli_command
def list_sources(args: Namespace) -> Callable[[], None]:
    """List sources."""
    found = [source.raw for source in _hook(args).list_sources(args.workspace_id)]
    rows = [{name: value for name, value in row.items() if name != "configuration"} for row in found]
    return _table(args, rows, "sourceId", "name", "sourceType", "workspaceId")


@cli_command
def list_connections(args: Namespace) -> Callable[[], None]:
    """List Airbyte connections."""
    rows = [connection.raw for connection in _hook(args).list_connections(args.workspace_id)]
    return _table(args, rows, "connectionId", "name", "status", "workspaceId")


@cli_command
def list_jobs(args: Namespace) -> Callable[[], None]:
    """List jobs, newest first, and why they failed."""
    hook = _hook(args)
    found = hook.list_jobs(args.connection_id, workspace_ids=args.workspace_id, status=args.status, with_reason=True)
    listed = list(itertools.islice(found, args.limit))
    names = _connection_names(hook, {job.connection_id for job in listed}, args.workspace_id)
    rows = [
        {
            **build_row(job),
            "connectionName": names.get(job.connection_id),
            "connection": names.get(job.connection_id) or job.connection_id,
            "time": _format_duration(job.duration),
            "reason": safe_text(job.reason, MAX_REASON),
        }
        for job in listed
    ]
    columns = ("jobId", "connection", "status", "jobType", "startTime", "time", "rowsSynced", "bytesSynced", "reason")
    return _table(args, rows, *columns, hidden=("connection", "time", "reason"))


@cli_command
def start_sync(args: Namespace) -> Callable[[], None]:
    """Start a sync, and with ``--wait`` wait until it has finished."""
    hook = _hook(args)
    connection = hook.get_airbyte_connection(args.connection_id)
    try:
        job = hook.start_sync(connection.connection_id)
    except AirbyteAlreadyRunningError as error:
        raise AirflowException(
            f"A job of {connection.name!r} is already running; no job was started. {error}"
        ) from error
    except KeyboardInterrupt:
        print(f"A sync of {connection.name!r} may have been started; check with airflow airbyte jobs.", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    url = hook.job_url(connection.workspace_id, connection.connection_id, job.job_id)
    print(f"Started job {job.job_id} of {connection.name!r}: {url}", file=sys.stderr, flush=True)
    if not args.wait:
        return _table(args, [build_result(job, url)], *RESULT_COLUMNS)
    try:
        with _progress(job) as show:
            options = WaitOptions(args.poll_interval, initial_delay=min(args.poll_interval, 1.0), known_to_exist=True)
            job = hook.run(jobs.wait_for_job(job.job_id, options, show)).job
    except KeyboardInterrupt:
        print(f"Job {job.job_id} is still running in Airbyte: {url}", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    job_context = JobContext(connection.name, url)
    hook.require_success(job, job_context)
    print(f"{summarize(job, job_context)}.", file=sys.stderr)
    return _table(args, [build_result(job, url)], *RESULT_COLUMNS)


@cli_command
def clean_job_state(args: Namespace) -> Callable[[], None]:
    """Delete job records that their tasks have left behind."""
    backend = get_shared_backend()
    if backend is None:
        raise AirflowException("Option job_state_backend in section [airbyte_api] is none: tasks store no job records.")
    before = CLOCK.time() - timedelta(days=args.older_than).total_seconds()
    records = backend.list()
    old = [key for key, value in records.items() if is_older_record(value, before)]
    if not args.dry_run:
        backend.delete_all(old)
    verb = "Would delete" if args.dry_run else "Deleted"
    kept = len(records) - len(old)
    return lambda: print(f"{verb} {len(old)} job records older than {args.older_than:g} days, and kept {kept}.")


@cli_command
def migrate(args: Namespace) -> Callable[[], None]:
    """Rewrite DAG files of the official provider."""
    return migrate_folder(args)


def _hook(args: Namespace) -> AirbyteHook:
    try:
        connection = get_connection(args.conn_id)
    except AirflowNotFoundException as error:
        raise AirflowException(missing_connection(args.conn_id)) from error
    hook = AirbyteHook.from_connection(connection)
    set_logger(hook, _LOG)  # the commands print their own messages
    return hook


def _connection_names(hook: AirbyteHook, connection_ids: set[str], workspace_ids: list[str]) -> dict[str, str]:
    """Return the names of the Airbyte connections that still exist: a job may outlive its connection."""
    names: dict[str, str] = {}
    try:
        for connection in hook.list_connections(workspace_ids) if connection_ids else ():
            names[connection.connection_id] = connection.name
            if connection_ids <= names.keys():
                break
    except AirbyteError as error:
        print(_printable(f"Could not get the connections' names. {error}"), file=sys.stderr)
    return names


def _table(
    args: Namespace, rows: Iterable[Mapping[str, Any]], *columns: str, hidden: Iterable[str] = ()
) -> Callable[[], None]:
    """Return a function that prints whole objects as JSON or YAML, or the ``columns`` as a table.

    :param hidden: Keys that only tables show.
    """

    def show() -> None:
        whole = [{name: value for name, value in row.items() if name not in hidden} for row in rows]
        if args.output == "json":
            print(json.dumps(whole))
        elif args.output == "yaml":
            print(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True), end="")
        else:
            cells = [{name: _cell(row.get(name)) for name in columns} for row in rows]
            AirflowConsole(markup=False, emoji=False).print_as(cells, args.output)

    return show


def _cell(value: Any) -> str:
    return "" if value is None else safe_text(value)


def _printable(words: object) -> str:
    """Return ``words`` without terminal control characters. Line breaks stay."""
    return "\n".join(map(safe_text, str(words).splitlines()))


def _format_duration(duration: timedelta | None) -> str | None:
    return None if duration is None else str(timedelta(seconds=round(duration.total_seconds())))


@contextmanager
def _progress(job: Job) -> Iterator[Callable[[Job], None]]:
    """Yield a function that shows a job's progress: an animated line on a terminal, else a line at intervals."""
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        state = _State()
        line = progress.add_task(state.describe(job), total=None)
        yield lambda job: progress.update(line, description=state.describe(job))


class _Lines:
    """Prints a line for each change of a job's status, and one every 30 seconds without a change."""

    def __init__(self) -> None:
        self._state = _State()
        self._started_at = CLOCK.monotonic()
        self._status = ""
        self._printed_at = self._started_at

    def show(self, job: Job) -> None:
        """Print the job's status if it has changed, or if 30 seconds have passed."""
        now = CLOCK.monotonic()
        if job.status == self._status and now - self._printed_at < PROGRESS_INTERVAL:
            return
        self._status, self._printed_at = job.status, now
        elapsed = timedelta(seconds=round(now - self._started_at))
        print(f"{self._state.describe(job)} after {elapsed}.", file=sys.stderr, flush=True)


class _State:
    """Describes a job, with its rate since it was described before."""

    def __init__(self) -> None:
        self._numbers: Numbers = (None, None)
        self._described_at = 0.0

    def describe(self, job: Job) -> str:
        """Return the job's status with the rows and bytes that it has moved so far."""
        now, numbers = CLOCK.monotonic(), numbers_of(job)
        rate = "" if job.is_terminal else self._format_rate(numbers, now - self._described_at)
        self._numbers, self._described_at = numbers, now
        moved = [
            "" if job.rows_synced is None else f"{job.rows_synced:,} rows",
            "" if job.bytes_synced is None else decimal(job.bytes_synced),
        ]
        text = ", ".join(filter(None, (f"Job {job.job_id} is {job.status}", *moved)))
        return f"{text} ({rate})" if rate else text

    def _format_rate(self, numbers: Numbers, seconds: float) -> str:
        rows, size = rates(self._numbers, numbers, seconds)
        known = ("" if rows is None else f"{rows:,} rows/s", "" if size is None else f"{decimal(size)}/s")
        return ", ".join(filter(None, known))
