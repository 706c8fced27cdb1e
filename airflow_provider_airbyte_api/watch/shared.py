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
from airflow_provider_airbyte_api.api.conversation import (
    Authorize,
    Conversation,
    News,
    Now,
    Pause,
    Say,
    Send,
    Step,
    drive,
)
from airflow_provider_airbyte_api.api.errors import AirbyteAccessError, AirbyteNotFoundError, AirbyteUnreachableError
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.api.retry import ONCE
from airflow_provider_airbyte_api.api.urls import ApiRoot
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import Log, Settings
from airflow_provider_airbyte_api.watch import waiters
from airflow_provider_airbyte_api.watch.feed import Feed, Listener
from airflow_provider_airbyte_api.watch.poller import Poller
from airflow_provider_airbyte_api.watch.tasks import acquired, detached, forget_closed_loops, jitter, within
from airflow_provider_airbyte_api.watch.waiters import Waiter

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.clients.aio import AsyncClient

T = TypeVar("T")

CONNECTION_KEPT = 600.0
"""Seconds that a connection is taken to be as it was."""

TURN_TIMEOUT = 300.0
"""Seconds that a request waits for earlier ones to end."""

_LOG = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[Watch]:
    """Share the watch of this event loop over one Airbyte. The last one who leaves closes its session."""
    watches = _WATCHES.setdefault(asyncio.get_running_loop(), {})
    watch = watches.get(settings)
    if watch is None:
        _forget_closed_loops()
        watch = watches[settings] = Watch(settings)
    watch.users += 1
    try:
        yield watch
    finally:
        watch.users -= 1
        if watch.users == 0:
            del watches[settings]
            await asyncio.shield(detached(watch.close()))


def _forget_closed_loops() -> None:
    """Let go of the watches of event loops that were closed with triggers under way, and so of their sockets."""
    forget_closed_loops()
    for loop in [loop for loop in _WATCHES if loop.is_closed()]:
        del _WATCHES[loop]


class Watch:
    """What all who wait for one Airbyte share. At most ``settings.max_in_flight`` of its requests are under way."""

    def __init__(self, settings: Settings) -> None:
        self.users = 0
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_in_flight)
        self._cancel_slots = asyncio.Semaphore(max(settings.max_in_flight // 2, 1))
        self._pollers: dict[str | None, Poller] = {}
        self._feeds: dict[str | None, Feed] = {}
        self._connections: dict[str, tuple[float, Connection]] = {}
        self._opening: asyncio.Task[AsyncClient] | None = None

    @property
    def root(self) -> ApiRoot:
        """The Airbyte that is watched."""
        return self._settings.root

    async def ask(self, conversation: Conversation[T]) -> T:
        """Perform a conversation in its turn. It holds a slot until its end, and so is not to wait for anything."""
        async with self._turn() as client:
            return await client.run(conversation)

    async def run(
        self,
        conversation: Conversation[T],
        log: Log,
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
                return await client.perform(step)

        async def perform(step: Step) -> Any:
            if isinstance(step, Pause):
                return await CLOCK.asleep(step.seconds * (jitter() if step.jitter else 1.0))
            if not isinstance(step, Send | Authorize):
                return _perform(step, log)
            if deadline is None:
                return await send(step)
            left = max(deadline - CLOCK.time(), 0.0) + waiters.LAST_POLL_TIMEOUT
            try:
                return await within(left, send(step))
            except TimeoutError:
                raise AirbyteUnreachableError(
                    f"{self._settings.root.api}: no reply within {waiters.LAST_POLL_TIMEOUT:.0f} s after the deadline."
                ) from None

        return await drive(conversation, perform)

    async def cancel_job(self, job_id: int, log: Log = _LOG) -> Job:
        """Cancel a job; see :func:`~.api.jobs.cancel_and_wait`. It is a slow request: cancels leave room for polls."""
        return await self.run(jobs.cancel_and_wait(job_id), log, first=self._cancel_slots)

    async def wait_for_job(
        self, job_id: int, patience: jobs.Patience, workspace_id: str | None, log: Log
    ) -> jobs.Waited:
        """Return the job once it is finished; see :func:`~.api.jobs.wait_for_job`.

        :param workspace_id: the workspace of its connection; None if nobody knows.
        :param log: where to say what happens to this one job.
        """
        poller = self._pollers.get(workspace_id)
        if poller is None:
            poller = self._pollers[workspace_id] = Poller(self.ask, workspace_id)
        first_look = CLOCK.time() + patience.first_pause * jitter()
        waiter = poller.join(job_id, patience.poll_interval, first_look)

        async def perform(step: Step) -> Any:
            if not isinstance(step, News):
                return _perform(step, log)
            with _heartbeat(waiter, log):
                return await waiter.news(step)

        try:
            waited = await drive(jobs.wait_for_job(job_id, patience, jobs.await_news), perform)
            return replace(waited, looks=waiter.looks)
        finally:
            poller.leave(waiter)
            if poller.is_empty and self._pollers.get(workspace_id) is poller:
                del self._pollers[workspace_id]
                poller.stop()

    @contextlib.contextmanager
    def finished_jobs(self, workspace_id: str | None, since: float | None, interval: float) -> Iterator[Listener]:
        """Listen to which jobs of a workspace finish; see :class:`~.feed.Feed`."""
        feed = self._feeds.get(workspace_id)
        if feed is None:
            feed = self._feeds[workspace_id] = Feed(self.ask, workspace_id)
        listener = feed.join(since, interval)
        try:
            yield listener
        finally:
            feed.leave(listener)
            if feed.is_empty and self._feeds.get(workspace_id) is feed:
                del self._feeds[workspace_id]
                feed.stop()

    async def connection(self, connection_id: str, max_age: float = CONNECTION_KEPT) -> Connection | None:
        """Return a connection as it was within ``max_age`` seconds, without its streams; None if it is not there."""
        moment = CLOCK.monotonic()
        kept = self._connections.get(connection_id)
        if kept is not None and moment <= kept[0] + max_age:
            return kept[1]
        try:
            found = await self.ask(resources.get_connection(connection_id, ONCE))
        except (AirbyteAccessError, AirbyteNotFoundError):
            self._connections.pop(connection_id, None)
            return None
        self._connections = {
            name: each for name, each in self._connections.items() if moment <= each[0] + CONNECTION_KEPT
        }
        small = Connection.from_json({name: value for name, value in found.raw.items() if name != "configurations"})
        self._connections[connection_id] = (moment, small)
        return small

    def last_known_connection(self, connection_id: str) -> Connection | None:
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
                f"{self._settings.root.api}: the request was not sent, for {self._settings.max_in_flight} earlier "
                f"requests took up all of max_in_flight for {TURN_TIMEOUT:.0f} s.",
                maybe_processed=False,
            )
        try:
            yield await self._client()
        finally:
            self._slots.release()

    async def _client(self) -> AsyncClient:
        if self._opening is None:
            self._opening = detached(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> AsyncClient:
        # aiohttp takes long to import, and that must not hold the event loop.
        aio = await asyncio.to_thread(importlib.import_module, "airflow_provider_airbyte_api.clients.aio")
        client: AsyncClient = aio.AsyncClient(self._settings, _LOG)
        return await client.__aenter__()


def _perform(step: Step, log: Log) -> float | None:
    """Return what comes of a step that has nothing to do with Airbyte."""
    if isinstance(step, Now):
        return CLOCK.time()
    if isinstance(step, Say):
        log.log(step.level, step.message, *step.arguments)
        return None
    raise TypeError(step)


@contextlib.contextmanager
def _heartbeat(waiter: Waiter, log: Log) -> Iterator[None]:
    """Say now and then that nothing has changed. It costs no request: the watch knows."""
    loop = asyncio.get_running_loop()
    next_beat: asyncio.TimerHandle

    def beat() -> None:
        nonlocal next_beat
        next_beat = loop.call_later(jobs.HEARTBEAT * jitter(), beat)
        if waiter.watched.job is not None and not (waiter.watched.is_away or waiter.poller.is_away):
            _perform(jobs.nothing_new(waiter.watched.job, CLOCK.time()), log)

    next_beat = loop.call_later(jobs.HEARTBEAT * jitter(), beat)
    try:
        yield
    finally:
        next_beat.cancel()


_WATCHES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, Watch]] = WeakKeyDictionary()
