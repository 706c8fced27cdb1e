"""The watch that all triggers of one event loop share for one Airbyte."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from airflow_provider_airbyte_api.api import jobs
from airflow_provider_airbyte_api.api.conversation import Conversation, News, Now, Say, Step, drive
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import Log, Settings
from airflow_provider_airbyte_api.watch.poller import Poller
from airflow_provider_airbyte_api.watch.tasks import detached, jitter

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.clients.aio import AsyncClient

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[Watch]:
    """Share the watch of this event loop over one Airbyte. The last one who leaves closes its session."""
    watches = _WATCHES.setdefault(asyncio.get_running_loop(), {})
    watch = watches.get(settings)
    if watch is None:
        watch = watches[settings] = Watch(settings)
    watch.users += 1
    try:
        yield watch
    finally:
        watch.users -= 1
        if watch.users == 0:
            del watches[settings]
            await asyncio.shield(detached(watch.close()))


class Watch:
    """What all who wait for one Airbyte share. At most ``settings.max_in_flight`` of its requests are under way."""

    def __init__(self, settings: Settings) -> None:
        self.users = 0
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_in_flight)
        self._cancel_slots = asyncio.Semaphore(max(settings.max_in_flight // 2, 1))
        self._pollers: dict[str | None, Poller] = {}
        self._opening: asyncio.Task[AsyncClient] | None = None

    async def ask(self, conversation: Conversation[T]) -> T:
        """Perform a conversation in its turn."""
        async with self._slots:
            if self._opening is None:
                self._opening = detached(self._open())
            client = await asyncio.shield(self._opening)
            return await client.run(conversation)

    async def cancel_job(self, job_id: int) -> Job:
        """Cancel a job; see :func:`~.api.jobs.cancel_job`. It is a slow request: cancels leave room for polls."""
        async with self._cancel_slots:
            return await self.ask(jobs.cancel_job(job_id))

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
            if isinstance(step, News):
                return await waiter.news(step)
            if isinstance(step, Now):
                return CLOCK.time()
            if isinstance(step, Say):
                return log.log(step.level, step.message, *step.arguments)
            raise TypeError(step)

        try:
            waited = await drive(jobs.wait_for_job(job_id, patience, jobs.await_news), perform)
            return replace(waited, looks=waiter.looks)
        finally:
            poller.leave(waiter)
            if poller.is_empty and self._pollers.get(workspace_id) is poller:
                del self._pollers[workspace_id]
                poller.stop()

    async def close(self) -> None:
        """Close the session."""
        if self._opening is not None:
            with contextlib.suppress(Exception):
                await (await self._opening).__aexit__(None, None, None)

    async def _open(self) -> AsyncClient:
        # aiohttp takes long to import, and that must not hold the event loop.
        aio = await asyncio.to_thread(importlib.import_module, "airflow_provider_airbyte_api.clients.aio")
        client: AsyncClient = aio.AsyncClient(self._settings, _LOG)
        return await client.__aenter__()


_WATCHES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, Watch]] = WeakKeyDictionary()
