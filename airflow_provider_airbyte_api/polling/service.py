"""The watch that all triggers of one event loop share for one Airbyte."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
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
    WaitForUpdate,
    run_async,
)
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.config import ClientConfig, LoggerLike
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
    jitter_factor,
    within,
)
from airflow_provider_airbyte_api.polling.completed_jobs import CompletedJobsStream, Subscription
from airflow_provider_airbyte_api.polling.poller import Poller
from airflow_provider_airbyte_api.polling.waiters import Waiter

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.clients.async_client import AsyncClient

T = TypeVar("T")

CONNECTION_TTL = 600.0
"""Seconds that a connection is taken to be as it was."""

TURN_TIMEOUT = 300.0
"""Seconds that a request waits for earlier ones to end."""

_LOG = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def shared_polling_service(settings: ClientConfig) -> AsyncIterator[PollingService]:
    """Share the watch of this event loop over one Airbyte. The last one who leaves closes its session."""
    watches = _SERVICES.setdefault(asyncio.get_running_loop(), {})
    watch = watches.get(settings)
    if watch is None:
        _forget_closed_loops()
        watch = watches[settings] = PollingService(settings)
    watch.ref_count += 1
    try:
        yield watch
    finally:
        watch.ref_count -= 1
        if watch.ref_count == 0:
            del watches[settings]
            await asyncio.shield(create_background_task(watch.close()))


def _forget_closed_loops() -> None:
    """Let go of the watches of event loops that were closed with triggers under way, and so of their sockets."""
    forget_closed_loops()
    for loop in [loop for loop in _SERVICES if loop.is_closed()]:
        del _SERVICES[loop]


class PollingService:
    """What all waiters of one Airbyte share: its session, and ``settings.max_concurrent_requests`` at a time."""

    def __init__(self, settings: ClientConfig) -> None:
        self.ref_count = 0
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_concurrent_requests)
        self._cancel_slots = asyncio.Semaphore(max(settings.max_concurrent_requests // 2, 1))
        self._pollers: dict[str | None, Poller] = {}
        self._feeds: dict[str | None, CompletedJobsStream] = {}
        self._connections: dict[str, tuple[float, Connection]] = {}
        self._opening: asyncio.Task[AsyncClient] | None = None

    @property
    def root(self) -> AirbyteUrls:
        """The Airbyte that is watched."""
        return self._settings.root

    async def run_limited(self, flow: Flow[T]) -> T:
        """Perform a conversation in its turn. It holds a slot until its end, and so is not to wait for anything."""
        async with self._turn() as client:
            return await client.run(flow)

    async def run_waiting(
        self,
        flow: Flow[T],
        log: LoggerLike,
        *,
        first: asyncio.Semaphore | None = None,
        deadline: float | None = None,
    ) -> T:
        """Perform a conversation that waits: it takes its turn each time that it asks.

        :param log: where it says what happens.
        :param first: what it takes before its turn, so that others get one, too.
        :param deadline: seconds since the epoch; what it asks then, or has asked, has
            :data:`~.waiters.LAST_POLL_TIMEOUT` to be answered. None: as long as it takes.
        """

        async def send(step: Step) -> Any:
            async with first or contextlib.nullcontext(), self._turn() as client:
                return await client.handle_step(step)

        async def perform(step: Step) -> Any:
            if isinstance(step, Sleep):
                return await CLOCK.sleep_async(step.seconds * (jitter_factor() if step.jitter else 1.0))
            if not isinstance(step, SendRequest | GetToken):
                return _handle_local_step(step, log)
            if deadline is None:
                return await send(step)
            left = max(deadline - CLOCK.time(), 0.0) + waiters.LAST_POLL_TIMEOUT
            try:
                return await within(left, send(step))
            except TimeoutError:
                raise AirbyteUnreachableError(
                    f"{self._settings.root.api_url}: no reply within {waiters.LAST_POLL_TIMEOUT:.0f} s after the "
                    "deadline."
                ) from None

        return await run_async(flow, perform)

    async def cancel_job(self, job_id: int, log: LoggerLike = _LOG) -> Job:
        """Cancel a job; see :func:`~.api.jobs.cancel_and_wait`. It is a slow request: cancels leave room for polls."""
        return await self.run_waiting(jobs.cancel_and_wait(job_id), log, first=self._cancel_slots)

    async def wait_for_job(
        self, job_id: int, options: jobs.WaitOptions, workspace_id: str | None, log: LoggerLike
    ) -> jobs.WaitResult:
        """Return the job once it is finished; see :func:`~.api.jobs.wait_for_job`.

        :param workspace_id: the workspace of its connection; None if nobody knows.
        :param log: where to say what happens to this one job.
        """
        poller = self._pollers.get(workspace_id)
        if poller is None:
            poller = self._pollers[workspace_id] = Poller(self.run_limited, workspace_id)
        first_poll_at = CLOCK.time() + options.initial_delay * jitter_factor()
        waiter = poller.subscribe(job_id, options.poll_interval, first_poll_at)

        async def perform(step: Step) -> Any:
            if not isinstance(step, WaitForUpdate):
                return _handle_local_step(step, log)
            with _progress_logging(waiter, log):
                return await waiter.wait(step)

        try:
            waited = await run_async(jobs.wait_for_job(job_id, options, jobs.wait_for_update), perform)
            return replace(waited, poll_count=waiter.poll_count)
        finally:
            poller.unsubscribe(waiter)
            if poller.is_empty and self._pollers.get(workspace_id) is poller:
                del self._pollers[workspace_id]
                poller.stop()

    @contextlib.contextmanager
    def subscribe_completed_jobs(
        self, workspace_id: str | None, since: float | None, interval: float
    ) -> Iterator[Subscription]:
        """Listen to which jobs of a workspace finish; see :class:`~.completed_jobs.CompletedJobsStream`."""
        stream = self._feeds.get(workspace_id)
        if stream is None:
            stream = self._feeds[workspace_id] = CompletedJobsStream(self.run_limited, workspace_id)
        subscription = stream.subscribe(since, interval)
        try:
            yield subscription
        finally:
            stream.unsubscribe(subscription)
            if stream.is_empty and self._feeds.get(workspace_id) is stream:
                del self._feeds[workspace_id]
                stream.stop()

    async def connection(self, connection_id: str, max_age: float = CONNECTION_TTL) -> Connection | None:
        """Return a connection as it was within ``max_age`` seconds, without its streams; None if it is not there."""
        now = CLOCK.monotonic()
        kept = self._connections.get(connection_id)
        if kept is not None and now <= kept[0] + max_age:
            return kept[1]
        try:
            found = await self.run_limited(resources.get_connection(connection_id, NO_RETRY))
        except (AirbytePermissionError, AirbyteNotFoundError):
            self._connections.pop(connection_id, None)
            return None
        self._connections = {name: each for name, each in self._connections.items() if now <= each[0] + CONNECTION_TTL}
        small = Connection.from_json({name: value for name, value in found.raw.items() if name != "configurations"})
        self._connections[connection_id] = (now, small)
        return small

    def cached_connection(self, connection_id: str) -> Connection | None:
        """Return a connection as it was when it was last asked for, if it was."""
        kept = self._connections.get(connection_id)
        return None if kept is None else kept[1]

    async def close(self) -> None:
        """Close the session."""
        if self._opening is not None:
            with contextlib.suppress(Exception):
                await (await self._opening).__aexit__(None, None, None)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[AsyncClient]:
        """Wait for one of the slots, and hold it.

        :raises AirbyteUnreachableError: if none is free within :data:`TURN_TIMEOUT`: so an Airbyte that answers nobody
            counts as unreachable for all jobs that are waited for, and not for those alone that have a slot.
        """
        if not await acquired(self._slots, TURN_TIMEOUT):
            raise AirbyteUnreachableError(
                f"{self._settings.root.api_url}: the request was not sent, for "
                f"{self._settings.max_concurrent_requests} earlier "
                f"requests took up all of max_concurrent_requests for {TURN_TIMEOUT:.0f} s.",
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
        # aiohttp takes long to import, and that must not hold the event loop.
        aio = await asyncio.to_thread(importlib.import_module, "airflow_provider_airbyte_api.clients.async_client")
        client: AsyncClient = aio.AsyncClient(self._settings, _LOG)
        return await client.__aenter__()


def _handle_local_step(step: Step, log: LoggerLike) -> float | None:
    """Return what comes of a step that has nothing to do with Airbyte."""
    if isinstance(step, GetTime):
        return CLOCK.time()
    if isinstance(step, Log):
        log.log(step.level, step.message, *step.arguments)
        return None
    raise TypeError(step)


@contextlib.contextmanager
def _progress_logging(waiter: Waiter, log: LoggerLike) -> Iterator[None]:
    """Say now and then that nothing has changed. It costs no request: the watch knows."""
    loop = asyncio.get_running_loop()
    next_beat: asyncio.TimerHandle

    def beat() -> None:
        nonlocal next_beat
        next_beat = loop.call_later(jobs.PROGRESS_LOG_INTERVAL * jitter_factor(), beat)
        if waiter.watched.job is not None and not (waiter.watched.is_unreachable or waiter.poller.is_unreachable):
            _handle_local_step(jobs.progress_log(waiter.watched.job, CLOCK.time()), log)

    next_beat = loop.call_later(jobs.PROGRESS_LOG_INTERVAL * jitter_factor(), beat)
    try:
        yield
    finally:
        next_beat.cancel()


_SERVICES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ClientConfig, PollingService]] = WeakKeyDictionary()
