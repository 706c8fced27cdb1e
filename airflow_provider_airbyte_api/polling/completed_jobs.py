"""The stream of completed jobs of a workspace: one poll for any number of subscribers."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from dataclasses import dataclass

from airflow_provider_airbyte_api.api import resources
from airflow_provider_airbyte_api.api.backoff import Outage
from airflow_provider_airbyte_api.api.endpoints import PAGE_SIZE
from airflow_provider_airbyte_api.api.flow import Page
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.poll_plan import CURSOR_OVERLAP, repeats
from airflow_provider_airbyte_api.api.timestamps import plausible
from airflow_provider_airbyte_api.clients.clock import CLOCK, jitter_factor
from airflow_provider_airbyte_api.exceptions import AirbyteError
from airflow_provider_airbyte_api.polling.asyncio_utils import create_background_task, yield_every
from airflow_provider_airbyte_api.polling.poller import RunFlow

MAX_BATCH_PAGES = 300
"""Maximum pages of a list that one poll fetches. After a long outage there may be many."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompletedBatch:
    """The jobs that had finished by ``server_time``, in seconds since the epoch by the server's clock.

    Batches overlap, so some of the jobs may have been in the previous one. The oldest job comes first.
    """

    jobs: list[Job]
    server_time: float


class Subscription:
    """A subscription to completed jobs."""

    def __init__(self, since: float | None, interval: float) -> None:
        self.since = since
        self.interval = interval
        self.due = CLOCK.monotonic()
        self._items: asyncio.Queue[CompletedBatch | AirbyteError] = asyncio.Queue()

    async def next(self) -> CompletedBatch:
        """Return the next batch, which may be empty.

        :raises AirbyteError: if the poll failed.
        """
        item = await self._items.get()
        if isinstance(item, AirbyteError):
            raise item
        return item

    def deliver(self, item: CompletedBatch | AirbyteError) -> None:
        """Queue the result of a poll. Each subscriber raises an error itself, so each gets its own copy."""
        self._items.put_nowait(item if isinstance(item, CompletedBatch) else copy.copy(item))


class CompletedJobsStream:
    """Streams the completed jobs of one workspace; of all workspaces if ``workspace_id`` is None."""

    def __init__(self, run_flow: RunFlow, workspace_id: str | None) -> None:
        self._run_flow = run_flow
        self._workspace_id = workspace_id
        self._subscriptions: list[Subscription] = []
        self._wakeup = asyncio.Event()
        self._outage = Outage()
        self._backoff_until = 0.0
        self._has_warned = False
        self._task = create_background_task(self._run())

    @property
    def is_empty(self) -> bool:
        """True if there are no subscriptions."""
        return not self._subscriptions

    def subscribe(self, since: float | None, interval: float) -> Subscription:
        """Return a subscription to the jobs that finish at ``since`` or later.

        :param since: Time in seconds since the epoch; None means now.
        :param interval: Seconds between two polls.
        """
        subscription = Subscription(since, interval)
        self._subscriptions.append(subscription)
        self._wakeup.set()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription."""
        self._subscriptions.remove(subscription)

    def stop(self) -> None:
        """Cancel the poll loop."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            due = min((subscription.due for subscription in self._subscriptions), default=CLOCK.monotonic() + 1.0)
            await CLOCK.wait_event(self._wakeup, max(max(due, self._backoff_until) - CLOCK.monotonic(), 0.0))
            self._wakeup.clear()
            due = min((subscription.due for subscription in self._subscriptions), default=math.inf)
            if CLOCK.monotonic() >= max(due, self._backoff_until):
                await self._poll()

    async def _poll(self) -> None:
        started_at = CLOCK.monotonic()
        subscriptions = list(self._subscriptions)
        item: CompletedBatch | AirbyteError
        delay = 0.0
        try:
            item = await self._fetch([subscription.since for subscription in subscriptions])
        except Exception as error:  # noqa: BLE001 - a bug in this package must not leave subscribers waiting forever
            item = error if isinstance(error, AirbyteError) else _unexpected(error)
            delay = self._outage.on_retryable_error(item, CLOCK.time()).delay
        else:
            self._outage.on_success()
        self._backoff_until = started_at + delay
        for number, subscription in enumerate(subscriptions):
            subscription.due = started_at + max(delay, subscription.interval * jitter_factor())
            if isinstance(item, CompletedBatch):
                subscription.since = item.server_time
            subscription.deliver(item)
            await yield_every(number)

    async def _fetch(self, since: list[float | None]) -> CompletedBatch:
        """Return the jobs that have finished since the earliest of these times; None means now."""
        now = CLOCK.time()
        earliest = min(now if time is None else time for time in since) - CURSOR_OVERLAP
        batch = await self._fetch_completed_since(earliest, now)
        if None in since and batch.server_time - CURSOR_OVERLAP < earliest:
            # The local clock is ahead: by the server's clock, jobs that have just finished are missing in the batch.
            return await self._fetch_completed_since(batch.server_time - CURSOR_OVERLAP, now)
        return batch

    async def _fetch_completed_since(self, since: float, started_at: float) -> CompletedBatch:
        previous: list[Job] = []
        finished: dict[int, Job] = {}
        server_time = 0.0
        for offset in range(0, MAX_BATCH_PAGES * PAGE_SIZE, PAGE_SIZE):
            page = await self._run_flow(resources.fetch_updated_jobs_page(self._workspace_id, since, offset))
            server_time = server_time or plausible(page.server_time, started_at) or started_at
            self._warn_of_unreadable(page)
            finished |= {job.job_id: job for job in page.rows if job.is_terminal}
            if page.is_last or repeats(page, previous):
                break
            previous = page.rows
        else:
            _LOG.warning(
                "More than %d jobs have changed since the last poll. The oldest of them are left out: their syncs emit "
                "no event.",
                MAX_BATCH_PAGES * PAGE_SIZE,
            )
        return CompletedBatch(
            sorted(finished.values(), key=lambda job: (job.completed_timestamp, job.job_id)), server_time
        )

    def _warn_of_unreadable(self, page: Page[Job]) -> None:
        if page.unreadable and not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "Skipped %d rows of the list of jobs, which cannot be parsed: their syncs emit no event. %s",
                len(page.unreadable),
                page.unreadable[0],
            )


def _unexpected(error: Exception) -> AirbyteError:
    """Return an ``AirbyteError`` for an unexpected exception, which itself may not be copyable."""
    _LOG.error("Polling the finished jobs failed; polling goes on.", exc_info=error)
    return AirbyteError(f"Polling the finished jobs failed with an unexpected {type(error).__name__}.")
