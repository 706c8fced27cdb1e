"""The trigger for asset watchers, which emits an event for each sync that finishes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, TypeAlias

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api._defaults import DEFAULT_CONN_ID, DEFAULT_POLL_INTERVAL, at_least_min_poll_interval
from airflow_provider_airbyte_api.api import resources
from airflow_provider_airbyte_api.api.backoff import NO_RETRY, Outage, RetryPolicy
from airflow_provider_airbyte_api.api.cursor import Cursor
from airflow_provider_airbyte_api.api.filters import ResourceFilter
from airflow_provider_airbyte_api.api.jobs import get_job
from airflow_provider_airbyte_api.api.models import TERMINAL_STATUSES, Connection, Job, parse_uuid
from airflow_provider_airbyte_api.api.outcome import build_asset_event_extra
from airflow_provider_airbyte_api.api.safe import safe_float, safe_repr
from airflow_provider_airbyte_api.clients.clock import CLOCK, jitter_factor
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteConfigError,
    AirbyteError,
    is_recoverable_while_waiting,
)
from airflow_provider_airbyte_api.polling.completed_jobs import CompletedBatch, Subscription
from airflow_provider_airbyte_api.polling.service import CONNECTION_TTL, PollingService, shared_polling_service
from airflow_provider_airbyte_api.triggers import _rows
from airflow_provider_airbyte_api.triggers._event_store import (
    MAX_BACKOFF,
    CursorStore,
    Producer,
    VariableAccessor,
    emit_payloads,
)
from airflow_provider_airbyte_api.triggers._settings_cache import get_settings
from airflow_provider_airbyte_api.types import AssetEventExtra, JobType

RESOLUTION_TTL = 600.0
"""Seconds for which a resolved name and the settings of the Airflow connection are reused before they are checked."""

MAX_ENRICH_ATTEMPTS = 5
"""Maximum attempts to fetch the details of a job. After that its event is emitted without them."""

StreamItem: TypeAlias = tuple[AssetEventExtra | None, Cursor]
"""An event payload, or None if only time has passed, with the cursor after it."""


class AirbyteSyncEventTrigger(BaseEventTrigger):
    """Emits one event for each sync that finishes, whether Airflow, Airbyte's scheduler or a user started it.

    Use it in Airflow's ``AssetWatcher`` (3.0 and newer). A sync has to match all filters that are given. All triggers
    for the same Airbyte share one poll. The event is a dict: see the documentation of the events.

    After a restart, the trigger continues where it stopped. Airflow 3.3 and newer keep its cursor with the asset; on
    3.0.5 to 3.2 it is in an Airflow Variable, ``airbyte_cursor.<digest>``. Before 3.0.5, only syncs that finish after
    the restart get an event.

    :param connection_id: Only syncs of the Airbyte connection with this UUID. Mutually exclusive with
        ``connection_name``. Default: None, any connection.
    :param connection_name: Only syncs of the Airbyte connection with exactly this name. Default: None.
    :param workspace_id: Only syncs in the workspace with this UUID. Default: None, any workspace.
    :param workspace_name: Name of that workspace, instead of ``workspace_id``. Default: None.
    :param tags: Only syncs of connections with at least one of these tags, given by name or ID (Airbyte 1.6 and newer).
        Default: None, any tags.
    :param statuses: Only syncs that finished with one of these statuses: ``succeeded``, ``failed`` and ``cancelled``.
        Default: ``succeeded``.
    :param job_types: Only jobs of these types: ``sync``, ``reset``, ``clear`` and ``refresh``. Default: ``sync``.
    :param airbyte_conn_id: ID of the Airflow connection. Default: ``airbyte_api_default``.
    :param poll_interval: Seconds between two polls, at least 1. Default: 30.
    :param from_row: Whether the arguments come from :meth:`serialize`. An invalid argument is then only logged.
        Default: False.
    :param unknown: Arguments of another version. In a row they are ignored.
    :raises AirbyteConfigError: if an argument is invalid, unless ``from_row`` is True.
    """

    __module__ = _rows.MODULE

    def __init__(
        self,
        *,
        connection_id: str | None = None,
        connection_name: str | None = None,
        workspace_id: str | None = None,
        workspace_name: str | None = None,
        tags: str | Iterable[str] | None = None,
        statuses: str | Iterable[str] = ("succeeded",),
        job_types: str | Iterable[str] = ("sync",),
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        from_row: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.connection_id = connection_id
        self.connection_name = connection_name
        self.workspace_id = workspace_id
        self.workspace_name = workspace_name
        self.tags = _sorted_strings(tags)
        self.statuses = _sorted_strings(statuses)
        self.job_types = _sorted_strings(job_types)
        self.airbyte_conn_id = airbyte_conn_id
        self.poll_interval = poll_interval
        self._tries: dict[int, int] = {}
        problem = _rows.check_arguments(type(self).__name__, unknown, self._validate, self.log, from_row=from_row)
        if problem is not None:
            # Airflow restarts a watcher that ends at once, in a loop. So this one runs with the valid arguments.
            self.log.error("%s", problem)
            self.poll_interval = safe_float(poll_interval) or DEFAULT_POLL_INTERVAL

    def _validate(self) -> None:
        for name in ("connection_id", "workspace_id"):
            if getattr(self, name) is not None:
                setattr(self, name, parse_uuid(getattr(self, name), name))
        if self.connection_id is not None and self.connection_name is not None:
            raise AirbyteConfigError(
                f"connection_id is {self.connection_id!r} and connection_name {self.connection_name!r}, "
                "expected only one of the two."
            )
        if not self.statuses or not set(self.statuses) <= TERMINAL_STATUSES:
            raise AirbyteConfigError(
                f"statuses is {self.statuses!r}, expected some of {', '.join(sorted(TERMINAL_STATUSES))}."
            )
        if not self.job_types or not set(self.job_types) <= set(JobType):
            raise AirbyteConfigError(f"job_types is {self.job_types!r}, expected some of {', '.join(sorted(JobType))}.")
        self.poll_interval = _rows.parse_interval(self.poll_interval)
        _rows.parse_text(self.airbyte_conn_id, "airbyte_conn_id")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that recreate this trigger. Airflow identifies watchers by them."""
        return _rows.serialize(self)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each sync that finishes, without end. For Airflow before 3.3."""
        async with aclosing(emit_payloads(self, self._variable_store)) as payloads:
            async for payload in payloads:
                yield TriggerEvent(payload)  # type: ignore[no-untyped-call] # Airflow's

    @property
    def _variable_store(self) -> CursorStore | None:
        """A Variable for the cursor of this watcher; None where Airflow does not let a trigger use Variables."""
        if not _airflow_compat.trigger_has_variables():
            return None
        arguments = ", ".join(
            f"{name}={value!r}" for name, value in self._identity.items() if value and name != "from_row"
        )
        description = f"Position of a watcher of Airbyte syncs ({arguments}), written by the triggerer."
        return CursorStore([VariableAccessor(description)], f"airbyte_cursor.{_digest(self._identity)}")

    # -- Airflow 3.3 and newer, instead of run() -----------------------------------------------------------------

    def shared_stream_key(self) -> Hashable | None:
        """Return a key for this trigger alone if Airflow reports when it has stored an event, else None.

        The key does not control the sharing of polls: on every Airflow version all triggers share those.
        """
        if self.asset_state_store is None or _airflow_compat.shared_stream_producer() is None:
            return None
        # The producer is created from the arguments alone, and needs the store of the cursor.
        accessors = _airflow_compat.asset_stores(self.asset_state_store)
        _STORES[self._stream_key] = CursorStore(accessors, f"airbyte_sync_events_{_digest(self._identity)}")
        return self._stream_key

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Return the producer that yields the events and is notified when Airflow has stored them."""
        trigger = cls(**kwargs)
        return Producer(trigger, _STORES.pop(trigger._stream_key))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each payload of the producer."""
        async for payload in shared_stream:
            yield TriggerEvent(payload)  # type: ignore[no-untyped-call] # Airflow's

    @property
    def _stream_key(self) -> str:
        return _digest(self.serialize()[1])

    @property
    def _identity(self) -> dict[str, Any]:
        """The arguments that identify the cursor. ``poll_interval`` may change."""
        return {name: value for name, value in self.serialize()[1].items() if name != "poll_interval"}

    @property
    def _interval(self) -> float:
        return at_least_min_poll_interval(self.poll_interval)

    # -- finding finished syncs ----------------------------------------------------------------------------------

    async def stream(self, cursor: Cursor | None) -> AsyncGenerator[StreamItem, None]:
        """Yield payloads, each with the cursor after it; a payload is None if only time has passed.

        The stream never ends and never raises, because Airflow restarts a failed watcher at once, in a loop.
        """
        failures = 0
        while True:
            try:
                settings = await get_settings(self.airbyte_conn_id)
                async with (
                    shared_polling_service(settings) as service,
                    aclosing(self._listen(service, settings, cursor)) as found,
                ):
                    async for payload, position in found:
                        cursor, failures = position, 0
                        yield payload, position
            except Exception as error:  # noqa: BLE001 - see above
                failures += 1
                delay = (
                    RetryPolicy(wait_initial=self._interval, wait_max=MAX_BACKOFF).backoff(failures) * jitter_factor()
                )
                # Airflow's errors name the connection, and errors of this package hold no secret.
                self.log.warning("Polling Airbyte failed; retrying in %.0f s. %s", delay, error)
                await CLOCK.sleep_async(delay)

    async def _listen(
        self, service: PollingService, settings: ClientSettings, cursor: Cursor | None
    ) -> AsyncGenerator[StreamItem, None]:
        """Yield stream items until the Airflow connection, or what a name resolves to, has changed."""
        connection, workspace_id = await self._resolve_scope(service)
        check_again_at = CLOCK.monotonic() + RESOLUTION_TTL * jitter_factor()
        since = None if cursor is None else cursor.position
        with service.subscribe_completed_jobs(workspace_id, since, self._interval) as subscription:
            while True:
                batch = await self._next(subscription, settings)
                if batch is None:
                    return
                wanted = [job for job in batch.jobs if self._matches(job, connection)]
                if cursor is None:
                    # Jobs that finished before the start get no event.
                    cursor = Cursor(batch.server_time, {job.job_id: job.completed_timestamp for job in wanted})
                for job in filter(cursor.is_new, wanted):
                    payload = await self._payload(service, job)
                    cursor = cursor.advance_past(job, batch.server_time)
                    if payload is not None:
                        yield payload, cursor
                cursor = cursor.advance_to(batch.server_time)
                yield None, cursor
                if CLOCK.monotonic() >= check_again_at:
                    check_again_at = CLOCK.monotonic() + RESOLUTION_TTL * jitter_factor()
                    if await self._connection_changed(settings):
                        return
                    if self._resolves_names and await self._resolve_scope(service) != (connection, workspace_id):
                        return

    async def _connection_changed(self, settings: ClientSettings) -> bool:
        """Return True if the Airflow connection has changed."""
        try:
            return await get_settings(self.airbyte_conn_id) != settings
        except Exception as error:  # noqa: BLE001 - the known settings remain in use
            self.log.info("Could not load the Airflow connection; using the previous one. %s", error)
            return False

    async def _next(self, subscription: Subscription, settings: ClientSettings) -> CompletedBatch | None:
        """Return the next batch, or None if the Airflow connection has changed.

        This method waits until an outage has ended: the stream of completed jobs decides when to poll again.
        """
        outage = Outage(log_prefix="Could not poll the finished syncs")
        while True:
            try:
                batch = await subscription.next()
            except AirbyteError as error:
                warning = outage.on_error(error, CLOCK.time()).warning
                if warning is not None:
                    self.log.warning("%s", warning)
                if await self._connection_changed(settings):
                    return None
            else:
                recovery = outage.on_success()
                if recovery is not None:
                    self.log.info("%s", recovery)
                return batch

    @property
    def _resolves_names(self) -> bool:
        return self.connection_name is not None or self.workspace_name is not None

    async def _resolve_scope(self, service: PollingService) -> tuple[str | None, str | None]:
        """Return the ID of the connection and of the workspace that the filters name; None where they name none."""
        if self.connection_id is not None or self.connection_name is not None:
            which = (self.connection_id, self.connection_name, self.workspace_id, self.workspace_name)
            found = await service.run_limited(resources.resolve_connection(*which, NO_RETRY))
            return found.connection_id, found.workspace_id or None
        if self.workspace_name is not None:
            (workspace_id,) = await service.run_limited(
                resources.resolve_workspace_ids([self.workspace_name], NO_RETRY)
            )
            return None, workspace_id
        return None, self.workspace_id

    async def _payload(self, service: PollingService, job: Job) -> AssetEventExtra | None:
        """Return the event payload of a job, or None if its connection has none of the tags.

        Details that Airbyte does not return are left out after some attempts, so that other jobs do not wait for them.
        """
        connection: Connection | None = None
        try:
            connection = await service.connection(
                job.connection_id, self.poll_interval if self.tags else CONNECTION_TTL
            )
            if job.rows_synced is None:
                # Some servers omit the row counts in their lists.
                found = await service.run_limited(get_job(job.job_id, NO_RETRY))
                job = found if found.status == job.status else job  # a replica that lags may show it as running
        except AirbyteAuthenticationError:
            raise
        except AirbyteError as error:
            self._tries[job.job_id] = self._tries.get(job.job_id, 0) + 1
            if is_recoverable_while_waiting(error) and self._tries[job.job_id] < MAX_ENRICH_ATTEMPTS:
                raise
            self.log.warning("Could not get all details of job %d. %s", job.job_id, error)
            connection = service.cached_connection(job.connection_id)
        self._tries.pop(job.job_id, None)
        if self.tags and connection is None:
            self.log.warning("Dropping job %d: the tags of its connection could not be determined.", job.job_id)
        if not self._has_tag(connection):
            return None
        if connection is None or not connection.workspace_id:
            return build_asset_event_extra(job, None, "" if connection is None else connection.name, None)
        url = service.urls.job_url(connection.workspace_id, connection.connection_id, job.job_id)
        return build_asset_event_extra(job, url, connection.name, connection.workspace_id)

    def _has_tag(self, connection: Connection | None) -> bool:
        return not self.tags or (connection is not None and ResourceFilter(tags=tuple(self.tags)).matches(connection))

    def _matches(self, job: Job, connection_id: str | None) -> bool:
        return (
            job.status in self.statuses
            and (job.job_type in self.job_types or (job.job_type == JobType.RESET and JobType.CLEAR in self.job_types))
            and connection_id in (None, job.connection_id)
        )


def _digest(arguments: Mapping[str, Any]) -> str:
    encoded = json.dumps(arguments, sort_keys=True).encode()
    return hashlib.sha256(encoded).hexdigest()[:16]


def _sorted_strings(value: object) -> list[str]:
    if value is None or isinstance(value, str):
        return [] if value is None else [value]
    return sorted({str(each) for each in value} if isinstance(value, Iterable) else [safe_repr(value)])


_STORES: dict[str, CursorStore] = {}
"""The cursor stores of triggers whose producers are about to be created."""
