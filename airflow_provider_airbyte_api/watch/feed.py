"""The jobs of a workspace that finish, for all who want to hear of them: one poll, however many listen."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from dataclasses import dataclass

from airflow_provider_airbyte_api.api import resources
from airflow_provider_airbyte_api.api.calls import PAGE
from airflow_provider_airbyte_api.api.conversation import Page
from airflow_provider_airbyte_api.api.errors import AirbyteError
from airflow_provider_airbyte_api.api.jobs import Outage
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.times import plausible
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.watch.poller import OVERLAP, Ask, repeats
from airflow_provider_airbyte_api.watch.tasks import breathe, detached, jitter

MAX_PAGES = 300
"""Pages of a list that one poll reads at the most: after a long outage there may be many."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """The jobs that had finished by ``server_time``, in seconds since the epoch by the server's clock.

    They are those since a moment before the last batch, the oldest first: some may have been in that one.
    """

    jobs: list[Job]
    server_time: float


class Listener:
    """One who wants to hear of finished jobs."""

    def __init__(self, since: float | None, interval: float) -> None:
        self.since = since
        self.interval = interval
        self.due = CLOCK.monotonic()
        self._said: asyncio.Queue[Batch | AirbyteError] = asyncio.Queue()

    async def next(self) -> Batch:
        """Return the next batch, which may be an empty one.

        :raises AirbyteError: if Airbyte cannot tell.
        """
        said = await self._said.get()
        if isinstance(said, AirbyteError):
            raise said
        return said

    def hear(self, said: Batch | AirbyteError) -> None:
        """Take in what came of a poll. An error is raised by each who hears it, and so must be its own."""
        self._said.put_nowait(said if isinstance(said, Batch) else copy.copy(said))


class Feed:
    """The finished jobs of one workspace; of all workspaces if ``workspace_id`` is None."""

    def __init__(self, ask: Ask, workspace_id: str | None) -> None:
        self._ask = ask
        self._workspace_id = workspace_id
        self._listeners: list[Listener] = []
        self._woken = asyncio.Event()
        self._outage = Outage()
        self._not_before = 0.0
        self._has_warned = False
        self._serving = detached(self._serve())

    @property
    def is_empty(self) -> bool:
        """True if nobody listens."""
        return not self._listeners

    def join(self, since: float | None, interval: float) -> Listener:
        """Hear of what finished at ``since`` (seconds since the epoch, None: now) or later, every ``interval`` s."""
        listener = Listener(since, interval)
        self._listeners.append(listener)
        self._woken.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """Hear no more."""
        self._listeners.remove(listener)

    def stop(self) -> None:
        """Drop what is under way."""
        self._serving.cancel()

    async def _serve(self) -> None:
        while True:
            due = min((listener.due for listener in self._listeners), default=CLOCK.monotonic() + 1.0)
            await CLOCK.wait(self._woken, max(max(due, self._not_before) - CLOCK.monotonic(), 0.0))
            self._woken.clear()
            due = min((listener.due for listener in self._listeners), default=math.inf)
            if CLOCK.monotonic() >= max(due, self._not_before):
                await self._poll()

    async def _poll(self) -> None:
        began = CLOCK.monotonic()
        listeners = list(self._listeners)
        said: Batch | AirbyteError
        pause = 0.0
        try:
            said = await self._look([listener.since for listener in listeners])
        except Exception as error:  # noqa: BLE001 - a mistake of ours, too: nobody shall listen for ever because of it
            pause = self._outage.missed(error, CLOCK.time())
            said = error if isinstance(error, AirbyteError) else _mistake(error)
        else:
            self._outage.is_over()
        self._not_before = began + pause
        for number, listener in enumerate(listeners):
            listener.due = began + max(pause, listener.interval * jitter())
            if isinstance(said, Batch):
                listener.since = said.server_time
            listener.hear(said)
            await breathe(number)

    async def _look(self, since: list[float | None]) -> Batch:
        """Return what has finished since the earliest of these moments; None is now."""
        now = CLOCK.time()
        earliest = min(now if moment is None else moment for moment in since) - OVERLAP
        batch = await self._finished_since(earliest, now)
        if None in since and batch.server_time - OVERLAP < earliest:
            # Our clock is ahead: by the server's own, what finished a moment ago is not in there.
            return await self._finished_since(batch.server_time - OVERLAP, now)
        return batch

    async def _finished_since(self, since: float, began: float) -> Batch:
        previous: list[Job] = []
        finished: dict[int, Job] = {}
        server_time = 0.0
        for offset in range(0, MAX_PAGES * PAGE, PAGE):
            page = await self._ask(resources.page_of_changes(self._workspace_id, since, offset))
            server_time = server_time or plausible(page.server_time, began) or began
            self._warn_of(page)
            finished |= {job.job_id: job for job in page.rows if job.is_finished}
            if page.is_last or repeats(page, previous):
                break
            previous = page.rows
        else:
            _LOG.warning(
                "More than %d jobs have changed since the last poll. The oldest of them are left out: their syncs emit "
                "no event.",
                MAX_PAGES * PAGE,
            )
        return Batch(sorted(finished.values(), key=lambda job: (job.ended_at, job.job_id)), server_time)

    def _warn_of(self, page: Page[Job]) -> None:
        if page.unreadable and not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "Skipped %d rows of the list of jobs, which cannot be parsed: their syncs emit no event. %s",
                len(page.unreadable),
                page.unreadable[0],
            )


def _mistake(error: Exception) -> AirbyteError:
    """Return the error for an unexpected exception, which may be none that can be copied."""
    _LOG.error("Polling the finished jobs failed; polling goes on.", exc_info=error)
    return AirbyteError(f"Polling the finished jobs failed with an unexpected {type(error).__name__}.")
