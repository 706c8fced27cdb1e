"""The hook: Airbyte's public API for DAG authors, and for the operators, sensors and commands of this package."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_airbyte_api import connection_form
from airflow_provider_airbyte_api._airflow_compat import AirflowNotFoundException, BaseHook, mask_secret
from airflow_provider_airbyte_api._defaults import DEFAULT_CONN_ID, DEFAULT_POLL_INTERVAL, DEFAULT_UNREACHABLE_TIMEOUT
from airflow_provider_airbyte_api.api import checks, connection_update, jobs, resources, start_job
from airflow_provider_airbyte_api.api.backoff import RetryPolicy
from airflow_provider_airbyte_api.api.endpoints import JobTimeFilter
from airflow_provider_airbyte_api.api.filters import filter_of
from airflow_provider_airbyte_api.api.flow import Checkpoint, Flow, request_json
from airflow_provider_airbyte_api.api.http import Request
from airflow_provider_airbyte_api.api.models import Connection, Destination, Job, Source, Tag, Workspace
from airflow_provider_airbyte_api.api.outcome import UNSUCCESSFUL_STATUSES, JobContext
from airflow_provider_airbyte_api.api.wait import WaitOptions
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError, AirbyteError
from airflow_provider_airbyte_api.hooks._settings import (
    extract_secrets,
    missing_connection,
    parse_and_mask,
    parse_settings,
    unknown_extras,
)
from airflow_provider_airbyte_api.types import FailureReason

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Connection as AirflowConnection
    from airflow_provider_airbyte_api.api.diagnostics import Diagnosis
    from airflow_provider_airbyte_api.clients.settings import ClientSettings
    from airflow_provider_airbyte_api.clients.sync_client import Client

T = TypeVar("T")

TEST_CONNECTION_TIMEOUT = 14.0
"""Maximum seconds that Airflow's Test button waits, counted from the call. Imports and lookups are included."""

TEST_REQUEST_TIMEOUT = 4.0
"""Timeout of the doctor in seconds, for each connection and for each response."""

ON_KILL_TIMEOUT = 4.0
"""Seconds for ``on_kill``. Airflow kills the process 5 s after it has called ``on_kill``."""

MAX_UNANSWERED = 3
"""Maximum number of requests in a row for the reasons of jobs that remain without an answer."""

ON_KILL = RetryPolicy(attempts=9, timeout=ON_KILL_TIMEOUT, wait_initial=0.2, wait_max=0.8, airbyte_confirmed=True)
"""Retry policy of a cancel within :data:`ON_KILL_TIMEOUT`."""


class AirbyteHook(BaseHook):
    """Calls the public API of one Airbyte instance, Cloud or self-managed.

    The Airflow connection holds the address in Airbyte URL (Host), with or without scheme and path. It holds an
    application's client ID and secret in Client ID (Login) and Client secret (Password). If both are empty, no
    credentials are sent, for an Airbyte whose authentication is disabled. All other options are extras: see
    :data:`~airflow_provider_airbyte_api.connection_form.CONN_FIELDS`.

    Methods raise :class:`~airflow_provider_airbyte_api.exceptions.AirbyteError`, which is also an
    ``AirflowException``. The constructor does not look up the connection and sends no request; the first call does.

    :param airbyte_conn_id: ID of the Airflow connection. Default: ``airbyte_api_default``.
    """

    conn_name_attr = "airbyte_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = connection_form.CONNECTION_TYPE
    hook_name = connection_form.HOOK_NAME

    def __init__(self, airbyte_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.airbyte_conn_id = airbyte_conn_id

    @classmethod
    def from_connection(cls, connection: Any) -> AirbyteHook:
        """Return a hook for an Airflow connection object, without looking it up by its ID.

        :param connection: The Airflow ``Connection``.
        """
        hook = cls(connection.conn_id)
        hook._connection = connection
        return hook

    def get_conn(self) -> Client:
        """Return the HTTP client with its connection pool. Each hook creates it once."""
        return self._client

    def run(self, flow: Flow[T], checkpoint: Callable[[Checkpoint], None] | None = None) -> T:
        """Run a flow of :mod:`~airflow_provider_airbyte_api.api` and return its result.

        :param flow: A generator that yields steps, such as the functions of ``api.jobs`` return.
        :param checkpoint: Stores the record of each ``Checkpoint`` before the flow continues. Default: None, for a
            flow without checkpoints.
        """
        return self._client.run(flow, checkpoint)

    def list_sources(
        self,
        workspace_ids: str | Iterable[str] = (),
        *,
        name: str | None = None,
        name_pattern: str | None = None,
        source_type: str | None = None,
    ) -> Iterator[Source]:
        """Yield sources. Pages of 100 are fetched lazily, while the caller iterates.

        :param workspace_ids: Only those of these workspaces: one UUID or several. A workspace that does not exist is
            an error. Default: all workspaces that the application's user can access.
        :param name: Only those with exactly this name. Default: None, any name.
        :param name_pattern: Only those whose name matches this pattern, such as ``prod-*``. Default: None, any name.
        :param source_type: Only those of this type, such as ``postgres``. Custom connectors have no type. Default:
            None, any type.
        :raises AirbyteNotFoundError: if a workspace does not exist or is not visible to the application's user.
        """
        filters = filter_of(name=name, name_pattern=name_pattern, kind=source_type, kind_name="source_type")
        return self._iter(resources.list_sources(workspace_ids, filters))

    def list_destinations(
        self,
        workspace_ids: str | Iterable[str] = (),
        *,
        name: str | None = None,
        name_pattern: str | None = None,
        destination_type: str | None = None,
    ) -> Iterator[Destination]:
        """Yield destinations. Pages of 100 are fetched lazily, while the caller iterates.

        :param workspace_ids: Only those of these workspaces: one UUID or several. A workspace that does not exist is
            an error. Default: all workspaces that the application's user can access.
        :param name: Only those with exactly this name. Default: None, any name.
        :param name_pattern: Only those whose name matches this pattern, such as ``prod-*``. Default: None, any name.
        :param destination_type: Only those of this type, such as ``bigquery``. Custom connectors have no type.
            Default: None, any type.
        :raises AirbyteNotFoundError: if a workspace does not exist or is not visible to the application's user.
        """
        filters = filter_of(name=name, name_pattern=name_pattern, kind=destination_type, kind_name="destination_type")
        return self._iter(resources.list_destinations(workspace_ids, filters))

    def list_connections(
        self,
        workspace_ids: str | Iterable[str] = (),
        *,
        name: str | None = None,
        name_pattern: str | None = None,
        status: str | None = None,
        tags: str | Iterable[str] = (),
        source_id: str | None = None,
        destination_id: str | None = None,
    ) -> Iterator[Connection]:
        """Yield Airbyte connections. Pages are fetched lazily, while the caller iterates.

        :param workspace_ids: Only those of these workspaces: one UUID or several. A workspace that does not exist is
            an error. Default: all workspaces that the application's user can access.
        :param name: Only those with exactly this name. Default: None, any name.
        :param name_pattern: Only those whose name matches this pattern, such as ``prod-*``. Default: None, any name.
        :param status: Only those with this status: ``active``, ``inactive``, ``locked`` or ``deprecated``. Default:
            None, any status.
        :param tags: Only those with at least one of these tags, given by name or ID (Airbyte 1.6 and newer). Default:
            any tags.
        :param source_id: Only those from the source with this UUID. Default: None, any source.
        :param destination_id: Only those to the destination with this UUID. Default: None, any destination.
        :raises AirbyteNotFoundError: if a workspace does not exist or is not visible to the application's user.
        """
        filters = filter_of(
            name=name,
            name_pattern=name_pattern,
            status=status,
            tags=tags,
            source_id=source_id,
            destination_id=destination_id,
        )
        return self._iter(resources.list_connections(workspace_ids, filters))

    def list_jobs(
        self,
        connection_id: str | None = None,
        *,
        workspace_ids: str | Iterable[str] = (),
        status: str | None = None,
        job_type: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        updated_after: datetime | None = None,
        updated_before: datetime | None = None,
        with_reason: bool = False,
    ) -> Iterator[Job]:
        """Yield jobs, newest first. Pages are fetched lazily, while the caller iterates.

        A datetime without a time zone is in UTC. Airbyte compares times in seconds.

        :param connection_id: Only those of the Airbyte connection with this UUID. Default: None, any connection.
        :param workspace_ids: Only those of these workspaces: one UUID or several. Airbyte ignores it if
            ``connection_id`` is given. Default: all workspaces that the application's user can access.
        :param status: Only those with this status. Default: None, any status.
        :param job_type: Only those of this type: ``sync``, ``reset``, ``clear`` or ``refresh``. Default: None, which
            lists syncs and resets up to Airbyte 2.0, and all four types on newer versions.
        :param created_after: Only those created at this time or later. Default: None.
        :param created_before: Only those created at this time or earlier. Default: None.
        :param updated_after: Only those whose status last changed at this time or later. Default: None.
        :param updated_before: Only those whose status last changed at this time or earlier. Default: None.
        :param with_reason: Set ``reason`` of each job that failed or was cancelled, with one more request each to
            Airbyte's internal API. It stays None if it is unknown. Default: False.
        """
        found = self._iter(
            resources.list_jobs(
                connection_id=connection_id,
                workspace_ids=workspace_ids,
                status=status,
                job_type=job_type,
                times=JobTimeFilter(created_after, created_before, updated_after, updated_before),
            )
        )
        return self._iter_with_reasons(found) if with_reason else found

    def get_failure_reason(self, job: Job) -> FailureReason | None:
        """Return why a job failed or was cancelled, with one request to Airbyte's internal API.

        The log says why if the reason is unknown. See :meth:`require_success`, which raises it.

        :param job: The job.
        :return: The reason, or None if it is unknown, if ``config_api`` is off, or for a job with another status.
        """
        config_url = self._settings.config_url
        if config_url is None or job.status not in UNSUCCESSFUL_STATUSES:
            return None
        found = self.run(jobs.get_failure_reason(job, config_url))
        return found if isinstance(found, FailureReason) else None

    def list_tags(self, workspace_ids: str | Iterable[str] = ()) -> list[Tag]:
        """Return the tags that connections can have (Airbyte 1.6 and newer).

        :param workspace_ids: Only those of these workspaces: one UUID or several. Default: all workspaces.
        """
        return self.run(resources.list_tags(workspace_ids))

    def list_streams(
        self, source_id: str, destination_id: str | None = None, *, ignore_cache: bool = False
    ) -> list[dict[str, Any]]:
        """Return the streams of a source as the API returns them: ``streamName``, ``propertyFields`` and so on.

        This can take minutes. Airbyte runs the connector if it has no recent schema of the source, or with
        ``ignore_cache``.

        :param source_id: UUID of the source.
        :param destination_id: UUID of a destination, sent along with the request. Default: None.
        :param ignore_cache: Discover the schema again instead of using Airbyte's cached one. Default: False.
        """
        return self.run(resources.list_streams(source_id, destination_id, ignore_cache=ignore_cache))

    def get_connection_by_name(self, name: str, workspace_ids: str | Iterable[str] = ()) -> Connection:
        """Return the Airbyte connection with this name.

        :param name: Its exact name.
        :param workspace_ids: Search only these workspaces: one UUID or several. Default: all workspaces.
        :raises AirbyteResourceLookupError: if no connection has this name (the message lists similar names), or more
            than one has it (the message lists their IDs).
        """
        return self.run(resources.get_connection_by_name(name, workspace_ids))

    def get_source_by_name(self, name: str, workspace_ids: str | Iterable[str] = ()) -> Source:
        """Return the source with this name.

        :param name: Its exact name.
        :param workspace_ids: Search only these workspaces: one UUID or several. Default: all workspaces.
        :raises AirbyteResourceLookupError: if no source, or more than one, has this name.
        """
        return self.run(resources.get_source_by_name(name, workspace_ids))

    def get_destination_by_name(self, name: str, workspace_ids: str | Iterable[str] = ()) -> Destination:
        """Return the destination with this name.

        :param name: Its exact name.
        :param workspace_ids: Search only these workspaces: one UUID or several. Default: all workspaces.
        :raises AirbyteResourceLookupError: if no destination, or more than one, has this name.
        """
        return self.run(resources.get_destination_by_name(name, workspace_ids))

    def get_workspace_ids_by_name(self, names: str | Iterable[str]) -> list[str]:
        """Return the IDs of the workspaces with these names.

        :param names: One exact name or several.
        :raises AirbyteResourceLookupError: if no workspace, or more than one, has one of the names.
        """
        return self.run(resources.resolve_workspace_ids(names))

    def list_workspaces(self) -> Iterator[Workspace]:
        """Yield all workspaces that the application's user can access."""
        return self._iter(resources.list_workspaces())

    def get_airbyte_connection(self, connection_id: str) -> Connection:
        """Return one Airbyte connection.

        ``get_connection`` is Airflow's method, which returns an Airflow connection.

        :param connection_id: UUID of the Airbyte connection.
        """
        return self.run(resources.get_connection(connection_id))

    def get_source(self, source_id: str) -> Source:
        """Return one source.

        :param source_id: UUID of the source.
        """
        return self.run(resources.get_source(source_id))

    def get_destination(self, destination_id: str) -> Destination:
        """Return one destination.

        :param destination_id: UUID of the destination.
        """
        return self.run(resources.get_destination(destination_id))

    def get_job(self, job_id: int) -> Job:
        """Return one job with its current status.

        :param job_id: ID of the job.
        :raises AirbyteNotFoundError: if the job does not exist or is not visible to the application's user.
        """
        return self.run(jobs.get_job(job_id))

    def start_sync(self, connection_id: str) -> Job:
        """Start one sync of an Airbyte connection and return its job.

        The call can take minutes, because Airbyte responds only once the sync is running. If the response is lost, the
        hook checks the connection's jobs to find out whether the sync was started. It is never started twice.

        :param connection_id: UUID of the Airbyte connection.
        :raises AirbyteConnectionInactiveError: if the connection is inactive, locked or deleted.
        :raises AirbyteAlreadyRunningError: if a job of this connection is already running.
        """
        return self.run(start_job.start_job(connection_id))

    def start_clear(self, connection_id: str, *, job_type: str = "clear") -> Job:
        """Start one clear of an Airbyte connection and return its job, whose type is ``reset``.

        A clear deletes the data that the connection has written to its destination. The next sync moves all data again.

        :param connection_id: UUID of the Airbyte connection.
        :param job_type: ``clear``, which requires the editor role, or ``reset``, which requires the runner role.
            Default: ``clear``.
        :raises AirbyteConfigError: if ``job_type`` is neither of the two.
        :raises AirbyteConnectionBusyError: if a job of this connection is running, since Airbyte would cancel it.
        """
        if job_type not in start_job.CLEAR_JOB_TYPES:
            raise AirbyteConfigError(f"job_type is {job_type!r}, expected clear or reset.")
        return self.run(start_job.start_job(connection_id, job_type))

    def update_connection(
        self, connection_id: str, *, status: str | None = None, airbyte_schedule: str | None = None
    ) -> Connection:
        """Change the status or the schedule of an Airbyte connection, and return the updated connection.

        Only values that differ are sent to Airbyte.

        :param connection_id: UUID of the Airbyte connection.
        :param status: ``active`` or ``inactive``. Default: None, unchanged.
        :param airbyte_schedule: ``manual``, or a Quartz cron expression in UTC, such as ``0 0 5 * * ?``. Default: None,
            unchanged.
        :raises AirbyteConfigError: if both values are None, or if Airbyte's public API does not accept one of them.
        :raises AirbyteConnectionInactiveError: if the connection is locked or deleted.
        """
        change = connection_update.parse_update(status, airbyte_schedule)
        return self.run(connection_update.update_connection(self.get_airbyte_connection(connection_id), change))

    def wait_for_job(
        self,
        job_id: int,
        *,
        poll_interval: timedelta | float = DEFAULT_POLL_INTERVAL,
        timeout: timedelta | float | None = None,
        unreachable_timeout: timedelta | float = DEFAULT_UNREACHABLE_TIMEOUT,
        check: bool = False,
    ) -> Job:
        """Return the job once it has finished.

        :param job_id: ID of the job.
        :param poll_interval: Seconds (or a ``timedelta``) between two polls, at least 1. Default: 30.
        :param timeout: Seconds (or a ``timedelta``) from now within which the job must finish; it is not cancelled
            then. Default: None, no limit.
        :param unreachable_timeout: Seconds (or a ``timedelta``) for which Airbyte may be unreachable. Default: 1800.
        :param check: Raise an exception if the job failed or was cancelled. Default: False, return it with any status.
        :raises AirbyteJobTimeoutError: if the job has not finished within ``timeout``.
        :raises AirbyteJobError: with ``check``, if the job did not succeed.
        :raises AirbyteUnreachableError: if Airbyte was unreachable for longer than ``unreachable_timeout``.
        """
        options = _wait_options(poll_interval, timeout, unreachable_timeout)
        job = self.run(jobs.wait_for_job(job_id, options)).job
        if check:
            self.require_success(job)
        return job

    @property
    def config_url(self) -> str | None:
        """The root URL of Airbyte's internal API, or None if its use is switched off."""
        return self._settings.config_url

    def require_success(
        self,
        job: Job,
        context: JobContext = JobContext(),  # noqa: B008 - it is frozen
        *,
        show_internal_errors: bool = False,
        log_tail: int = 0,
    ) -> None:
        """Raise an exception unless the finished job succeeded, with the reason as far as Airbyte reports it.

        If the job failed or was cancelled, one request to Airbyte's internal API gets the reason. The log gets a line
        for each failure of each attempt. If there is no reason, the exception's message says so, and nothing else
        changes. The extra ``config_api`` of the Airflow connection sets the API's address, or switches it off.

        :param job: The job.
        :param context: What the exception's message has about the job. Default: only what Airbyte reports.
        :param show_internal_errors: Also log the internal messages and the stack traces, which may contain secrets.
            Default: False.
        :param log_tail: Also log up to this number of lines from the end of the last attempt's log, which may contain
            secrets. Default: 0.
        :raises AirbyteJobError: with the attribute ``reason``, if the job did not succeed.
        """
        self.run(
            jobs.require_success(
                job, context, self.config_url, show_internal_errors=show_internal_errors, log_tail=log_tail
            )
        )

    async def aget_job(self, job_id: int) -> Job:
        """Return a job, without blocking the event loop: for triggers of your own.

        :param job_id: ID of the job.
        :raises AirbyteNotFoundError: if there is no such job.
        """
        return await self._arun(jobs.get_job(job_id))

    async def await_job(
        self,
        job_id: int,
        *,
        poll_interval: timedelta | float = DEFAULT_POLL_INTERVAL,
        timeout: timedelta | float | None = None,
        unreachable_timeout: timedelta | float = DEFAULT_UNREACHABLE_TIMEOUT,
        check: bool = False,
    ) -> Job:
        """Return the job once it has finished, without blocking the event loop: :meth:`wait_for_job` for triggers.

        :class:`~airflow_provider_airbyte_api.triggers.airbyte.AirbyteJobTrigger` shares its polls with all other
        triggers of the process; this method does not.

        :param job_id: ID of the job.
        :param poll_interval: Seconds (or a ``timedelta``) between two polls, at least 1. Default: 30.
        :param timeout: Seconds (or a ``timedelta``) from now within which the job must finish; it is not cancelled
            then. Default: None, no limit.
        :param unreachable_timeout: Seconds (or a ``timedelta``) for which Airbyte may be unreachable. Default: 1800.
        :param check: Raise an exception if the job failed or was cancelled. Default: False, return it with any status.
        :raises: the same errors as :meth:`wait_for_job`.
        """
        options = _wait_options(poll_interval, timeout, unreachable_timeout)
        job = (await self._arun(jobs.wait_for_job(job_id, options))).job
        if check:
            config_url = parse_settings(self._connection).config_url
            await self._arun(jobs.require_success(job, JobContext(), config_url))
        return job

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send a request to an endpoint of Airbyte's public API that has no method here, and return the reply's JSON.

        It uses the token, the error classes and the retries of all requests; only a GET is repeated after a failure
        that Airbyte may have processed.

        :param method: HTTP method, such as ``GET``.
        :param path: Path below the API root, such as ``/permissions``.
        :param params: Query parameters.
        :param json: JSON object to send as the body.
        :return: The parsed JSON, or None for an empty response.
        :raises AirbyteConfigError: if ``path`` does not begin with ``/``: the token is sent to no other host.
        """
        if not path.startswith("/") or path.startswith("//"):
            raise AirbyteConfigError(f"path is {path!r}, expected a path below the API root, such as /permissions.")
        query = tuple((name, str(value)) for name, value in (params or {}).items())
        request = Request(method.upper(), path, query, json, idempotent=method.upper() == "GET")
        return self.run(request_json(request))

    def cancel_job(self, job_id: int) -> Job:
        """Cancel the job unless it has finished. Return it once it has stopped, or with its status after 2 minutes.

        The request is repeated within these 2 minutes if it failed, or if Airbyte accepted it and the job still runs. A
        newer job of the same Airbyte connection is never cancelled.

        :param job_id: ID of the job.
        :raises AirbyteNotFoundError: if the job does not exist or is not visible to the application's user.
        """
        return self.run(jobs.cancel_and_wait(job_id, known_to_exist=False))

    def cancel_job_on_kill(
        self, job_id: int, should_cancel: Callable[[], bool] = lambda: True, *, wait: bool = True
    ) -> None:
        """Cancel the job unless it has finished, within 4 s. It raises no error.

        This method is for ``on_kill``. Airflow calls ``on_kill`` in a signal handler, while the interrupted code may
        hold any lock, and kills the process 5 s later. So the cancel runs in a separate thread with its own sockets,
        and the caller waits at most 4 s.

        :param job_id: ID of the job.
        :param should_cancel: Called in that thread; if it returns False, the job is not cancelled. It raises no error.
            Default: cancel.
        :param wait: Wait for the thread. False if the interrupted code continues after ``on_kill``, so that the thread
            can get the locks that this code holds. Default: True.
        """
        settings = replace(self._settings, connect_timeout=1.5, read_timeout=2.0, use_disk_cache=False)
        thread = threading.Thread(target=_cancel_in_thread, args=(settings, job_id, should_cancel), daemon=True)
        thread.start()
        if wait:
            thread.join(ON_KILL_TIMEOUT)

    def job_url(self, workspace_id: str, connection_id: str, job_id: int) -> str:
        """Return the URL of the job's page in Airbyte's web app.

        :param workspace_id: UUID of the workspace.
        :param connection_id: UUID of the Airbyte connection.
        :param job_id: ID of the job.
        """
        return self._settings.urls.job_url(workspace_id, connection_id, job_id)

    def connection_url(self, workspace_id: str, connection_id: str) -> str | None:
        """Return the URL of an Airbyte connection's page in the web app, or None if its workspace is unknown.

        :param workspace_id: UUID of the workspace, or an empty string if it is unknown.
        :param connection_id: UUID of the Airbyte connection.
        """
        return self._settings.urls.connection_url(workspace_id, connection_id) if workspace_id else None

    def asset_uri(self, connection_id: str, *stream: str) -> str:
        """Return the URI of the Airflow asset for an Airbyte connection or one of its streams.

        :param connection_id: UUID of the Airbyte connection.
        :param stream: Namespace of the stream, if it has one, and its name. Omit both for the whole connection.
        """
        return self._settings.urls.asset_uri(connection_id, *stream)

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the Airflow connection works, and a message with a hint if it does not, within 15 s.

        It gets a new token and lists the workspaces. Airbyte's health endpoint needs no credentials, so it would not
        test them.
        """
        diagnosis = self.diagnose()
        return diagnosis.ok, diagnosis.message

    def diagnose(self) -> Diagnosis:
        """Return the diagnosis of the Airflow connection: see :mod:`~airflow_provider_airbyte_api.api.diagnostics`."""
        from airflow_provider_airbyte_api.api import diagnostics  # noqa: PLC0415 - seldom needed

        deadline = time.monotonic() + TEST_CONNECTION_TIMEOUT
        try:
            settings = self._settings
        except AirbyteError as error:
            return diagnostics.failure(diagnostics.Problem.INVALID_FIELD, str(error))
        diagnosis = _diagnose_in_thread(settings, deadline)
        unknown = self._unknown_extras
        if not unknown:
            return diagnosis
        return replace(diagnosis, message=f"{diagnosis.message} Unknown extras: {', '.join(unknown)}.")

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels of the standard fields, for Airflow before 3.2. Newer versions read the metadata."""
        return {
            "hidden_fields": connection_form.HIDDEN_FIELDS,
            "relabeling": connection_form.RELABELING,
            "placeholders": connection_form.PLACEHOLDERS,
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form fields of the extras, for Airflow before 3.2. Newer versions read the metadata."""
        from airflow_provider_airbyte_api.hooks._form_widgets import form_widgets  # noqa: PLC0415 - it needs what few have

        return form_widgets()

    @functools.cached_property
    def _client(self) -> Client:
        from airflow_provider_airbyte_api.clients.sync_client import Client  # noqa: PLC0415 - not while a DAG is parsed

        return Client(self._settings, self.log, on_token=mask_secret)

    @functools.cached_property
    def _connection(self) -> AirflowConnection:
        try:
            return self.get_connection(self.airbyte_conn_id)
        except AirflowNotFoundException as error:
            raise AirflowNotFoundException(missing_connection(self.airbyte_conn_id)) from error

    @functools.cached_property
    def _settings(self) -> ClientSettings:
        settings = parse_settings(self._connection)
        for secret in extract_secrets(self._connection, settings):
            mask_secret(secret)
        if not settings.tls.verify:
            self.log.warning("TLS certificate verification is disabled; traffic to Airbyte can be intercepted.")
        return settings

    @property
    def _unknown_extras(self) -> list[str]:
        return unknown_extras(self._connection)

    async def _arun(self, flow: Flow[T]) -> T:
        """Perform a flow on the running event loop."""
        from airflow_provider_airbyte_api._airflow_compat import get_async_connection  # noqa: PLC0415 - for triggers only
        from airflow_provider_airbyte_api.clients.async_client import AsyncClient  # noqa: PLC0415 - it imports aiohttp

        if "_connection" not in self.__dict__:
            self._connection = await get_async_connection(self.airbyte_conn_id)
        async with AsyncClient(await parse_and_mask(self._connection), self.log) as client:
            return await client.run(flow)

    def _iter_with_reasons(self, found: Iterator[Job]) -> Iterator[Job]:
        """Yield the jobs with their reasons. After some requests in a row without an answer, it asks no more."""
        unanswered = 0
        for job in found:
            if job.status in UNSUCCESSFUL_STATUSES and unanswered < MAX_UNANSWERED:
                reason = self.get_failure_reason(job)
                unanswered = unanswered + 1 if reason is None else 0
                yield replace(job, reason=reason)
            else:
                yield job

    def _iter(self, flow: Flow[None]) -> Iterator[Any]:
        yield from self._client.iter_rows(flow)


def _wait_options(
    poll_interval: timedelta | float, timeout: timedelta | float | None, unreachable_timeout: timedelta | float
) -> WaitOptions:
    return WaitOptions(
        checks.parse_seconds(poll_interval, "poll_interval"),
        None if timeout is None else time.time() + checks.parse_seconds(timeout, "timeout"),
        unreachable_timeout=checks.parse_seconds(unreachable_timeout, "unreachable_timeout"),
    )


def _diagnose_in_thread(settings: ClientSettings, deadline: float) -> Diagnosis:
    """Diagnose the path to Airbyte in a separate thread, because a DNS lookup may take longer than the timeout."""
    from airflow_provider_airbyte_api.api import diagnostics  # noqa: PLC0415 - as above

    diagnoses: list[Diagnosis] = []
    limited = replace(
        settings,
        connect_timeout=min(settings.connect_timeout, TEST_REQUEST_TIMEOUT),
        read_timeout=min(settings.read_timeout, TEST_REQUEST_TIMEOUT),
        use_disk_cache=False,
    )

    def run() -> None:
        from airflow_provider_airbyte_api.clients.sync_client import Client  # noqa: PLC0415 - within the timeout

        try:
            with Client(limited, logging.getLogger(__name__)) as client:
                diagnosis = client.run(diagnostics.diagnose(limited.urls, limited.credentials, limited.static_token))
                diagnoses.append(diagnosis)
                if diagnosis.ok:  # what is known so far counts, even if this takes too long
                    reasons = client.run(diagnostics.diagnose_reasons(limited.config_url))
                    diagnoses.append(replace(diagnosis, message=f"{diagnosis.message} {reasons}"))
        except AirbyteError as error:
            diagnoses.append(diagnostics.failure(diagnostics.Problem.INVALID_FIELD, str(error)))
        except Exception as error:  # noqa: BLE001 - its text may hold a secret
            diagnoses.append(diagnostics.failure(diagnostics.Problem.OTHER, f"({type(error).__name__})"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 1.0))
    if diagnoses:
        return diagnoses[-1]
    return diagnostics.failure(
        diagnostics.Problem.TIMEOUT,
        f"{settings.urls.api_url} did not respond in time. Check Airbyte URL (Host), DNS and proxies.",
    )


def _cancel_in_thread(settings: ClientSettings, job_id: int, should_cancel: Callable[[], bool]) -> None:
    from airflow_provider_airbyte_api.clients.sync_client import Client  # noqa: PLC0415 - as above
    from airflow_provider_airbyte_api.clients.token_cache import TOKENS, TokenCache  # noqa: PLC0415 - as above

    if not should_cancel():
        return
    tokens = TokenCache() if settings.token_key is None else TOKENS.snapshot(settings.token_key)
    # Airflow's loggers may send messages to the supervisor, which must not happen in a signal handler.
    with contextlib.suppress(AirbyteError), Client(settings, logging.getLogger(__name__), tokens) as client:
        client.run(jobs.cancel_and_wait(job_id, ON_KILL, settings.read_timeout))
