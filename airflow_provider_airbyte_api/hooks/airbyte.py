"""The hook: Airbyte's public API for DAG authors and for the classes of this package."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_airbyte_api import connection_form
from airflow_provider_airbyte_api._defaults import DEFAULT_CONN_ID, DEFAULT_POLL_INTERVAL, DEFAULT_UNREACHABLE_TIMEOUT
from airflow_provider_airbyte_api.api import checks, connection_update, jobs, resources, start_job
from airflow_provider_airbyte_api.api.backoff import RetryPolicy
from airflow_provider_airbyte_api.api.endpoints import JobTimeFilter
from airflow_provider_airbyte_api.api.filters import filter_of
from airflow_provider_airbyte_api.api.flow import Flow
from airflow_provider_airbyte_api.api.models import Connection, Destination, Job, Source, Tag, Workspace
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError, AirbyteError
from airflow_provider_airbyte_api.hooks.masking import mask_secret
from airflow_provider_airbyte_api.hooks.settings import extract_secrets, parse_settings, unknown_extras

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection as AirflowConnection

    from airflow_provider_airbyte_api.api.diagnostics import Diagnosis
    from airflow_provider_airbyte_api.clients.config import ClientConfig
    from airflow_provider_airbyte_api.clients.sync_client import Client

T = TypeVar("T")

TEST_CONNECTION_TIMEOUT = 14.0
"""How long Airflow's Test button is kept waiting at the most, counted from the call: imports and look-ups included."""

TEST_REQUEST_TIMEOUT = 4.0
"""Seconds that the doctor waits for each connection and each reply."""

ON_KILL_TIMEOUT = 4.0
"""Airflow kills a process 5 s after it called ``on_kill``."""

ON_KILL = RetryPolicy(attempts=9, timeout=ON_KILL_TIMEOUT, wait_initial=0.2, wait_max=0.8, is_known=True)
"""Attempts to cancel a job in that time."""


class AirbyteHook(BaseHook):
    """Talks to one Airbyte, Cloud or self-managed.

    The Airflow connection holds the address in Airbyte URL (Host) in any reasonable spelling, and an application's
    client id and secret in Client ID (Login) and Client secret (Password). Both empty: that Airbyte has authentication
    switched off. All else is an extra: see :data:`~..form.CONN_FIELDS`.

    Every method raises an :class:`~airflow_provider_airbyte_api.exceptions.AirbyteError` that is an
    ``AirflowException`` too. Nothing is looked up or sent before the first call.

    :param airbyte_conn_id: the id of the Airflow connection.
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
        """Return a hook for an Airflow connection that is at hand, wherever it came from."""
        hook = cls(connection.conn_id)
        hook._connection = connection
        return hook

    def get_conn(self) -> Client:
        """Return the client, with its pool of sockets. It is made once for each hook."""
        return self._client

    def run(self, flow: Flow[T]) -> T:
        """Perform a conversation of :mod:`~airflow_provider_airbyte_api.api` and return what it returns."""
        return self._client.run(flow)

    def list_sources(
        self,
        workspace_ids: str | Iterable[str] = (),
        *,
        name: str | None = None,
        name_pattern: str | None = None,
        source_type: str | None = None,
    ) -> Iterator[Source]:
        """Yield sources, a page of 100 at a time, as they are asked for.

        :param workspace_ids: only these workspaces' sources; all by default. One that does not exist is an error.
        :param name: only those of exactly this name.
        :param name_pattern: only those whose name matches, as ``prod-*``.
        :param source_type: only those of this type, as ``postgres``; it is empty for custom connectors.
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
        """Yield destinations; see :meth:`list_sources`."""
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
        """Yield Airbyte connections, as they are asked for.

        :param workspace_ids: only these workspaces' connections; all by default. One that does not exist is an error.
        :param name: only those of exactly this name.
        :param name_pattern: only those whose name matches, as ``prod-*``.
        :param status: only those that are ``active``, ``inactive``, ``locked`` or ``deprecated``.
        :param tags: only those with one of these tags, by name or by id (Airbyte 1.6 and newer).
        :param source_id: only those from this source.
        :param destination_id: only those to this destination.
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
    ) -> Iterator[Job]:
        """Yield jobs, the newest first, as they are asked for.

        :param connection_id: only this Airbyte connection's jobs.
        :param workspace_ids: only these workspaces' jobs; Airbyte does not look at it if ``connection_id`` is given.
        :param job_type: only jobs of this one type: sync, reset, clear or refresh. By default what the server's
            version lists: syncs and resets up to 2.0, all four since.
        :param status: only jobs of this one status.
        :param created_after: only jobs that were created then or later, in UTC if it names no zone; the others
            likewise. Airbyte counts in seconds.
        """
        return self._iter(
            resources.list_jobs(
                connection_id=connection_id,
                workspace_ids=workspace_ids,
                status=status,
                job_type=job_type,
                times=JobTimeFilter(created_after, created_before, updated_after, updated_before),
            )
        )

    def list_tags(self, workspace_ids: str | Iterable[str] = ()) -> list[Tag]:
        """Return the tags of connections (Airbyte 1.6 and newer)."""
        return self.run(resources.list_tags(workspace_ids))

    def list_streams(
        self, source_id: str, destination_id: str | None = None, *, ignore_cache: bool = False
    ) -> list[dict[str, Any]]:
        """Return the streams of a source, as the API shows them: ``streamName``, ``propertyFields`` and so on.

        This may take minutes: where Airbyte has not looked into the source lately, or has to with ``ignore_cache``, it
        runs the connector to do so.
        """
        return self.run(resources.list_streams(source_id, destination_id, ignore_cache=ignore_cache))

    def get_connection_by_name(self, name: str, workspace_ids: str | Iterable[str] = ()) -> Connection:
        """Return the Airbyte connection of that name.

        :param workspace_ids: look only there.
        :raises AirbyteResourceLookupError: if there is none, with the nearest names, or more than one, with their ids.
        """
        return self.run(resources.get_connection_by_name(name, workspace_ids))

    def get_source_by_name(self, name: str, workspace_ids: str | Iterable[str] = ()) -> Source:
        """Return the source of that name; see :meth:`get_connection_by_name`."""
        return self.run(resources.get_source_by_name(name, workspace_ids))

    def get_destination_by_name(self, name: str, workspace_ids: str | Iterable[str] = ()) -> Destination:
        """Return the destination of that name; see :meth:`get_connection_by_name`."""
        return self.run(resources.get_destination_by_name(name, workspace_ids))

    def get_workspace_ids_by_name(self, names: str | Iterable[str]) -> list[str]:
        """Return the ids of the workspaces of these names.

        :raises AirbyteResourceLookupError: if there is none of a name, or more than one.
        """
        return self.run(resources.resolve_workspace_ids(names))

    def list_workspaces(self) -> Iterator[Workspace]:
        """Yield all workspaces that the application's user sees."""
        return self._iter(resources.list_workspaces())

    def get_airbyte_connection(self, connection_id: str) -> Connection:
        """Return one Airbyte connection; ``get_connection`` is Airflow's own and returns an Airflow connection."""
        return self.run(resources.get_connection(connection_id))

    def get_source(self, source_id: str) -> Source:
        """Return one source."""
        return self.run(resources.get_source(source_id))

    def get_destination(self, destination_id: str) -> Destination:
        """Return one destination."""
        return self.run(resources.get_destination(destination_id))

    def get_job(self, job_id: int) -> Job:
        """Return one job as it is now."""
        return self.run(jobs.get_job(job_id))

    def start_sync(self, connection_id: str) -> Job:
        """Start one sync of an Airbyte connection and return its job.

        If the reply gets lost, the connection's jobs tell whether it was started; it is never started twice.
        This may take minutes: Airbyte answers only when the sync runs.

        :raises AirbyteConnectionInactiveError: if it is inactive, locked or deleted.
        :raises AirbyteAlreadyRunningError: if a job of this connection runs already.
        """
        return self.run(start_job.start_job(connection_id))

    def start_clear(self, connection_id: str, *, job_type: str = "clear") -> Job:
        """Start one clear of an Airbyte connection and return its job, whose type is ``reset``.

        It removes what the connection has brought to its destination, and the next sync moves everything anew.

        :param job_type: ``clear``, which needs the role of an editor, or ``reset``, which needs that of a runner.
        :raises AirbyteConnectionBusyError: if a job of this connection runs, which Airbyte would cancel for the clear.
        """
        if job_type not in start_job.CLEAR_JOB_TYPES:
            raise AirbyteConfigError(f"job_type is {job_type!r}, expected clear or reset.")
        return self.run(start_job.start_job(connection_id, job_type))

    def update_connection(
        self, connection_id: str, *, status: str | None = None, schedule: str | None = None
    ) -> Connection:
        """Switch an Airbyte connection on or off, or change its schedule, and return how it is then.

        Airbyte is told only of what is different.

        :param status: ``active`` or ``inactive``; None: as it is.
        :param schedule: ``manual``, or a cron expression of Quartz in UTC, such as ``0 0 5 * * ?``; None: as it is.
        :raises AirbyteConnectionInactiveError: if it is locked or deleted.
        """
        change = connection_update.parse_update(status, schedule)
        return self.run(connection_update.update_connection(self.get_airbyte_connection(connection_id), change))

    def wait_for_job(
        self,
        job_id: int,
        *,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        deadline: float | None = None,
        unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT,
    ) -> Job:
        """Return the job once it is finished, however it ended.

        :param poll_interval: seconds between two looks.
        :param deadline: when to give up, in seconds since the epoch; None: never. The job is not cancelled.
        :param unreachable_timeout: seconds that Airbyte may be away meanwhile.
        :raises AirbyteJobTimeoutError: if it is not finished by then.
        """
        checks.parse_seconds(poll_interval, "poll_interval")
        options = jobs.WaitOptions(poll_interval, deadline, unreachable_timeout=unreachable_timeout)
        return self.run(jobs.wait_for_job(job_id, options)).job

    def cancel_job(self, job_id: int) -> Job:
        """Cancel the job unless it is finished, and return it once it has stopped, or as it is after 2 minutes.

        A request that failed, or that Airbyte accepted and did not obey, is repeated meanwhile. A newer job of the same
        Airbyte connection is never touched.
        """
        return self.run(jobs.cancel_and_wait(job_id, is_seen=False))

    def cancel_job_on_kill(self, job_id: int) -> None:
        """Cancel the job unless it is finished, within 4 s and without a word to Airflow, whatever happens.

        For ``on_kill``: Airflow calls it in a signal handler, where whatever was interrupted may hold any lock, and
        kills the process 5 s later. So this runs in a thread with sockets of its own, and is not waited for for long.
        """
        settings = replace(self._settings, connect_timeout=1.5, read_timeout=2.0, use_disk_cache=False)
        thread = threading.Thread(target=_cancel_in_thread, args=(settings, job_id), daemon=True)
        thread.start()
        thread.join(ON_KILL_TIMEOUT)

    def job_url(self, workspace_id: str, connection_id: str, job_id: int) -> str:
        """Return the job's page in Airbyte's web app."""
        return self._settings.root.job_url(workspace_id, connection_id, job_id)

    def connection_url(self, workspace_id: str, connection_id: str) -> str | None:
        """Return the page of an Airbyte connection in the web app; None if its workspace is not known."""
        return self._settings.root.connection_url(workspace_id, connection_id) if workspace_id else None

    def asset_uri(self, connection_id: str, *stream: str) -> str:
        """Return the URI that stands for an Airbyte connection, or one of its streams, as an asset of Airflow."""
        return self._settings.root.asset_uri(connection_id, *stream)

    def test_connection(self) -> tuple[bool, str]:
        """Tell whether the Airflow connection works, and what to change if it does not, within 15 s.

        It gets a new token and lists the workspaces: Airbyte's health endpoint is open to all and proves nothing.
        """
        finding = self.diagnose()
        return finding.ok, finding.message

    def diagnose(self) -> Diagnosis:
        """Return what is wrong with the Airflow connection, or that nothing is: see :mod:`~..api.diagnostics`."""
        from airflow_provider_airbyte_api.api import diagnostics  # noqa: PLC0415 - seldom needed

        ends_at = time.monotonic() + TEST_CONNECTION_TIMEOUT
        try:
            settings = self._settings
        except AirbyteError as error:
            return diagnostics.failure(diagnostics.Problem.INVALID_FIELD, str(error))
        finding = _examined_by(ends_at, settings)
        unknown = self._unknown_extras
        if not unknown:
            return finding
        return replace(finding, message=f"{finding.message} Extras that nobody reads: {', '.join(unknown)}.")

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the standard fields look in the form of Airflow before 3.2; newer ones read the metadata."""
        return {
            "hidden_fields": connection_form.HIDDEN_FIELDS,
            "relabeling": connection_form.RELABELING,
            "placeholders": connection_form.PLACEHOLDERS,
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extras' fields in the form of Airflow before 3.2; newer ones read the metadata."""
        from airflow_provider_airbyte_api.hooks.form_widgets import form_widgets  # noqa: PLC0415 - it needs what few have

        return form_widgets()

    @functools.cached_property
    def _client(self) -> Client:
        from airflow_provider_airbyte_api.clients.sync_client import Client  # noqa: PLC0415 - not while a DAG is parsed

        return Client(self._settings, self.log, on_token=mask_secret)

    @functools.cached_property
    def _connection(self) -> AirflowConnection:
        return self.get_connection(self.airbyte_conn_id)

    @functools.cached_property
    def _settings(self) -> ClientConfig:
        settings = parse_settings(self._connection)
        for secret in extract_secrets(self._connection, settings):
            mask_secret(secret)
        if not settings.tls.verify:
            self.log.warning("TLS certificates are not verified: anyone on the way to Airbyte can read along.")
        return settings

    @property
    def _unknown_extras(self) -> list[str]:
        return unknown_extras(self._connection)

    def _iter(self, flow: Flow[None]) -> Iterator[Any]:
        yield from self._client.iter_rows(flow)


def _examined_by(ends_at: float, settings: ClientConfig) -> Diagnosis:
    """Examine the way to Airbyte, in a thread of its own: looking up a name may take longer than anybody waits."""
    from airflow_provider_airbyte_api.api import diagnostics  # noqa: PLC0415 - as above

    findings: list[Diagnosis] = []
    limited = replace(
        settings,
        connect_timeout=min(settings.connect_timeout, TEST_REQUEST_TIMEOUT),
        read_timeout=min(settings.read_timeout, TEST_REQUEST_TIMEOUT),
        use_disk_cache=False,
    )

    def examine() -> None:
        from airflow_provider_airbyte_api.clients.sync_client import Client  # noqa: PLC0415 - it counts as well

        try:
            with Client(limited, logging.getLogger(__name__)) as client:
                findings.append(
                    client.run(diagnostics.diagnose(limited.root, limited.credentials, limited.static_token))
                )
        except AirbyteError as error:
            findings.append(diagnostics.failure(diagnostics.Problem.INVALID_FIELD, str(error)))
        except Exception as error:  # noqa: BLE001 - its text may hold a secret
            findings.append(diagnostics.failure(diagnostics.Problem.OTHER, f"({type(error).__name__})"))

    thread = threading.Thread(target=examine, daemon=True)
    thread.start()
    thread.join(max(ends_at - time.monotonic(), 1.0))
    if findings:
        return findings[0]
    return diagnostics.failure(
        diagnostics.Problem.TIMEOUT,
        f"{settings.root.api_url} has not answered in time. Check Airbyte URL (Host), DNS and proxies.",
    )


def _cancel_in_thread(settings: ClientConfig, job_id: int) -> None:
    from airflow_provider_airbyte_api.clients.sync_client import Client  # noqa: PLC0415 - as above
    from airflow_provider_airbyte_api.clients.token_cache import TOKENS, TokenCache  # noqa: PLC0415 - as above

    tokens = TokenCache() if settings.token_key is None else TOKENS.snapshot(settings.token_key)
    # A logger of Airflow's may talk to the supervisor, which must not happen here.
    with contextlib.suppress(AirbyteError), Client(settings, logging.getLogger(__name__), tokens) as client:
        client.run(jobs.cancel_and_wait(job_id, ON_KILL, settings.read_timeout))
