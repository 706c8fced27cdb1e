"""The polling service that all triggers of one event loop share for one Airbyte."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from airflow_provider_airbyte_api.api import jobs, resources
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.base_url import AirbyteUrls
from airflow_provider_airbyte_api.api.flow import (
    Flow,
    GetTime,
    GetToken,
    Log,
    SendRequest,
    Sleep,
    Step,
    run_async,
)
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.api.wait import Done, JobWait, Poll, WaitOptions
from airflow_provider_airbyte_api.clients.clock import CLOCK, jitter_factor
from airflow_provider_airbyte_api.clients.settings import ClientSettings, LoggerLike
from airflow_provider_airbyte_api.exceptions import (
    AirbyteNotFoundError,
    AirbytePermissionError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.polling import waiters
from airflow_provider_airbyte_api.polling.asyncio_utils import (
    acquired,
    create_background_task,
    forget_closed_loops,
    within,
)
from airflow_provider_airbyte_api.polling.completed_jobs import CompletedJobsStream, Subscription
from airflow_provider_airbyte_api.polling.poller import Poller

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.clients.async_client import AsyncClient

T = TypeVar("T")

CONNECTION_TTL = 600.0
"""Seconds for which a fetched Airbyte connection is reused."""

SLOT_TIMEOUT = 300.0
"""Maximum seconds that a request waits for earlier requests to finish."""

_LOG = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def shared_polling_service(settings: ClientSettings) -> AsyncIterator[PollingService]:
    """Yield this event loop's polling service for one Airbyte. The last user closes its session."""
    services = _SERVICES.setdefault(asyncio.get_running_loop(), {})
    service = services.get(settings)
    if service is None:
        _forget_closed_loops()
        service = services[settings] = PollingService(settings)
    service.ref_count += 1
    try:
        yield service
    finally:
        service.ref_count -= 1
        if service.ref_count == 0:
            del services[settings]
            await asyncio.shield(create_background_task(service.close()))


def _forget_closed_loops() -> None:
    """Drop the services, and so the sockets, of event loops that were closed while triggers were running."""
    forget_closed_loops()
    for loop in [loop for loop in _SERVICES if loop.is_closed()]:
        del _SERVICES[loop]


class PollingService:
    """Shares one session, and at most ``settings.max_concurrent_requests`` requests at a time, among all waiters."""

    def __init__(self, settings: ClientSettings) -> None:
        self.ref_count = 0
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_concurrent_requests)
        self._cancel_slots = asyncio.Semaphore(max(settings.max_concurrent_requests // 2, 1))
        self._pollers: dict[str | None, Poller] = {}
        self._streams: dict[str | None, CompletedJobsStream] = {}
        self._connections: dict[str, tuple[float, Connection]] = {}
        self._opening: asyncio.Task[AsyncClient] | None = None

    @property
    def urls(self) -> AirbyteUrls:
        """The URLs of the polled Airbyte."""
        return self._settings.urls

    @property
    def config_url(self) -> str | None:
        """The root URL of its internal API, or None if its use is switched off."""
        return self._settings.config_url

    async def run_limited(self, flow: Flow[T]) -> T:
        """Run a flow within the request limit. It holds a slot until its end, so it must not wait for a job."""
        async with self._slot() as client:
            return await client.run(flow)

    async def run_waiting(
        self,
        flow: Flow[T],
        log: LoggerLike,
        *,
        first: asyncio.Semaphore | None = None,
        deadline: float | None = None,
    ) -> T:
        """Run a flow that waits. It holds a slot only during each of its requests.

        :param flow: The flow.
        :param log: The logger for the flow's messages.
        :param first: A semaphore to acquire before a slot, so that other flows get slots too. Default: None.
        :param deadline: Time in seconds since the epoch. A request that is pending then, or sent later, must be
            answered within :data:`~.waiters.LAST_POLL_TIMEOUT`. Default: None, no limit.
        """

        async def send(step: Step) -> Any:
            async with first or contextlib.nullcontext(), self._slot() as client:
                return await client.handle_step(step)

        async def perform(step: Step) -> Any:
            if isinstance(step, Sleep):
                return await CLOCK.sleep_async(step.seconds if step.exact else step.seconds * jitter_factor())
            if not isinstance(step, SendRequest | GetToken):
                return _handle_local_step(step, log)
            if deadline is None:
                return await send(step)
            left = max(deadline - CLOCK.time(), 0.0) + waiters.LAST_POLL_TIMEOUT
            try:
                return await within(left, send(step))
            except TimeoutError:
                raise AirbyteUnreachableError(
                    f"{self._settings.urls.api_url}: no response within {waiters.LAST_POLL_TIMEOUT:.0f} s after the "
                    "deadline."
                ) from None

        return await run_async(flow, perform)

    async def cancel_job(self, job_id: int, log: LoggerLike = _LOG) -> Job:
        """Cancel a job; see :func:`~.api.jobs.cancel_and_wait`. Cancels are slow, so they use half of the slots."""
        return await self.run_waiting(jobs.cancel_and_wait(job_id), log, first=self._cancel_slots)

    async def wait_for_job(
        self,
        job_id: int,
        options: WaitOptions,
        workspace_id: str | None,
        log: LoggerLike,
        on_poll: Callable[[Job], object] | None = None,
    ) -> jobs.WaitResult:
        """Wait until the job has finished, and return it; see :class:`~.api.wait.JobWait`.

        :param job_id: ID of the job.
        :param options: Poll interval and deadlines.
        :param workspace_id: UUID of the workspace of its connection; None if unknown.
        :param log: The logger for messages about this job.
        :param on_poll: A function that is called with the job at each update. Default: None.
        """
        poller = self._pollers.get(workspace_id)
        if poller is None:
            poller = self._pollers[workspace_id] = Poller(self.run_limited, workspace_id)
        first_poll_at = CLOCK.time() + options.initial_delay * jitter_factor()
        waiter = poller.subscribe(job_id, options.poll_interval, first_poll_at)

        wait = JobWait(job_id, options, CLOCK.time())
        step: Poll | Done = wait.first_poll()
        try:
            while isinstance(step, Poll):
                result = await waiter.wait(step)
                if on_poll is not None and isinstance(result, Job):
                    on_poll(result)
                step = wait.on_poll(result, CLOCK.time(), waiter.seen_at)
                for line in step.logs:
                    _handle_local_step(line, log)
            return jobs.WaitResult(step.job, waiter.poll_count)
        finally:
            poller.unsubscribe(waiter)
            if poller.is_empty and self._pollers.get(workspace_id) is poller:
                del self._pollers[workspace_id]
                poller.stop()

    @contextlib.contextmanager
    def subscribe_completed_jobs(
        self, workspace_id: str | None, since: float | None, interval: float
    ) -> Iterator[Subscription]:
        """Subscribe to the completed jobs of a workspace; see :class:`~.completed_jobs.CompletedJobsStream`."""
        stream = self._streams.get(workspace_id)
        if stream is None:
            stream = self._streams[workspace_id] = CompletedJobsStream(self.run_limited, workspace_id)
        subscription = stream.subscribe(since, interval)
        try:
            yield subscription
        finally:
            stream.unsubscribe(subscription)
            if stream.is_empty and self._streams.get(workspace_id) is stream:
                del self._streams[workspace_id]
                stream.stop()

    async def connection(self, connection_id: str, max_age: float = CONNECTION_TTL) -> Connection | None:
        """Return a connection, at most ``max_age`` seconds old and without its streams; None if it does not exist."""
        now = CLOCK.monotonic()
        cached = self._connections.get(connection_id)
        if cached is not None and now <= cached[0] + max_age:
            return cached[1]
        try:
            found = await self.run_limited(resources.get_connection(connection_id, NO_RETRY))
        except (AirbytePermissionError, AirbyteNotFoundError):
            self._connections.pop(connection_id, None)
            return None
        self._connections = {name: each for name, each in self._connections.items() if now <= each[0] + CONNECTION_TTL}
        summary = Connection.from_json({name: value for name, value in found.raw.items() if name != "configurations"})
        self._connections[connection_id] = (now, summary)
        return summary

    def cached_connection(self, connection_id: str) -> Connection | None:
        """Return the connection from the cache, or None if it is not cached."""
        cached = self._connections.get(connection_id)
        return None if cached is None else cached[1]

    async def close(self) -> None:
        """Close the session."""
        if self._opening is not None:
            with contextlib.suppress(Exception):
                await (await self._opening).__aexit__(None, None, None)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[AsyncClient]:
        """Acquire a slot, and yield the client while holding it.

        :raises AirbyteUnreachableError: if no slot is free within :data:`SLOT_TIMEOUT`. So an Airbyte that does not
            respond counts as unreachable for all waiters, not only for those that hold a slot.
        """
        if not await acquired(self._slots, SLOT_TIMEOUT):
            raise AirbyteUnreachableError(
                f"{self._settings.urls.api_url}: the request was not sent, for "
                f"{self._settings.max_concurrent_requests} earlier "
                f"requests took up all of max_concurrent_requests for {SLOT_TIMEOUT:.0f} s.",
                outcome_unknown=False,
            )
        try:
            yield await self._client()
        finally:
            self._slots.release()

    async def _client(self) -> AsyncClient:
        if self._opening is None:
            self._opening = create_background_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> AsyncClient:
        # Importing aiohttp takes long and must not block the event loop.
        aio = await asyncio.to_thread(importlib.import_module, "airflow_provider_airbyte_api.clients.async_client")
        client: AsyncClient = aio.AsyncClient(self._settings, _LOG)
        return await client.__aenter__()


def _handle_local_step(step: Step, log: LoggerLike) -> float | None:
    """Handle a step that sends no request to Airbyte, and return its result."""
    if isinstance(step, GetTime):
        return CLOCK.time()
    if isinstance(step, Log):
        log.log(step.level, step.message, *step.arguments)
        return None
    raise TypeError(step)


_SERVICES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ClientSettings, PollingService]] = WeakKeyDictionary()
