"""The poll loop for all jobs of a workspace."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

from airflow_provider_airbyte_api.api import jobs, resources
from airflow_provider_airbyte_api.api.backoff import MAX_RETRY_AFTER, NO_RETRY, Outage
from airflow_provider_airbyte_api.api.endpoints import PAGE_SIZE
from airflow_provider_airbyte_api.api.flow import Flow, Page
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.timestamps import plausible
from airflow_provider_airbyte_api.clients.clock import CLOCK, jitter_factor
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteError,
    is_recoverable_while_waiting,
)
from airflow_provider_airbyte_api.polling.asyncio_utils import create_background_task, yield_every
from airflow_provider_airbyte_api.polling.waiters import TrackedJob, Waiter
from airflow_provider_airbyte_api.types import JobStatus

T = TypeVar("T")

LIST_THRESHOLD = 5
"""Up to this number, polling a workspace's jobs one by one is cheaper for the server than listing them."""

CURSOR_OVERLAP = 60.0
"""Seconds by which two lists of changes overlap, because Airbyte's database may show a change with a delay."""

SWEEP_INTERVALS = 10
"""Number of poll intervals between two sweeps, and until the next list after Airbyte has rejected one."""

MAX_SCANS = 2
"""Maximum scans of the unfinished jobs for a job that no list has contained. After that it is polled by its ID."""

MAX_PAGES = 50
"""Maximum pages of a list that one poll fetches. Jobs that are not on them are polled by ID."""

SCANNED_STATUSES = (JobStatus.RUNNING.value, JobStatus.INCOMPLETE.value, JobStatus.PENDING.value)
"""The non-terminal statuses that every version of Airbyte knows."""

_LOG = logging.getLogger(__name__)


class RunFlow(Protocol):
    """A function that runs a flow within the request limit."""

    def __call__(self, flow: Flow[T]) -> Awaitable[T]:
        """Return the result of the flow."""


class Poller:
    """Polls the jobs of one workspace that have waiters; of all workspaces if ``workspace_id`` is None."""

    def __init__(self, run_flow: RunFlow, workspace_id: str | None) -> None:
        self._ask = run_flow
        self._workspace_id = workspace_id
        self._jobs: dict[int, TrackedJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._wakes_at = 0.0
        self._poll: asyncio.Task[None] | None = None
        self._sweep: asyncio.Task[None] | None = None
        self._swept_at = 0.0
        self._changed_since: float | None = None
        self._list_disabled_until = 0.0
        self._outage = Outage()
        self._has_warned = False
        self._spawn(self._run())

    # -- waiters -----------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """True if there are no waiters."""
        return not self._jobs

    @property
    def is_unreachable(self) -> bool:
        """True if the last list request failed."""
        return self._outage.failures > 0

    def subscribe(self, job_id: int, interval: float, first_poll_at: float) -> Waiter:
        """Return a waiter for a job. The job is first polled at ``first_poll_at``, in seconds since the epoch."""
        tracked = self._jobs.get(job_id)
        if tracked is None:
            tracked = self._jobs[job_id] = TrackedJob(job_id, first_poll_at)
        waiter = Waiter(self, tracked, interval)
        tracked.waiters.append(waiter)
        tracked.recompute()
        tracked.next_poll_at = min(tracked.next_poll_at, first_poll_at)
        self.schedule_wakeup(tracked.next_poll_at)
        return waiter

    def unsubscribe(self, waiter: Waiter) -> None:
        """Remove a waiter. A poll that only this waiter needs is cancelled."""
        waiter.watched.waiters.remove(waiter)
        waiter.watched.recompute()
        if not waiter.watched.waiters:
            del self._jobs[waiter.watched.job_id]
            if waiter.watched.poll_task is not None:
                waiter.watched.poll_task.cancel()

    def schedule_wakeup(self, now: float) -> None:
        """Wake up the poll loop at ``now``, in seconds since the epoch, or earlier."""
        if now < self._wakes_at:
            self._wakes_at = now
            self._woken.set()

    def stop(self) -> None:
        """Cancel all running tasks."""
        for task in self._tasks:
            task.cancel()

    # -- when to poll ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                self._wakes_at = self._poll_due_jobs(CLOCK.time())
            except Exception:  # noqa: BLE001 - a bug in this package must not leave waiters without an end
                _LOG.exception("Polling the jobs of workspace %s failed; polling goes on.", self._workspace_id)
                self._wakes_at = CLOCK.time() + max(self._interval, 1.0)
            await CLOCK.wait_event(self._woken, max(self._wakes_at - CLOCK.time(), 0.0))

    def _poll_due_jobs(self, now: float) -> float:
        """Start all polls that are due, and return the time of the next one."""
        by_list = len(self._jobs) > LIST_THRESHOLD and now >= self._list_disabled_until
        if not by_list and self._changed_since is not None:
            # Changes are not listed from now on.
            self._changed_since = None
            self._outage.on_success()
            for tracked in self._jobs.values():
                tracked.is_listed, tracked.scan_count = False, 0
        next_look = math.inf
        for tracked in self._jobs.values():
            if tracked.poll_task is not None:
                continue
            if tracked.next_poll_at > now + max(tracked.interval, MAX_RETRY_AFTER):
                tracked.next_poll_at = now  # the clock was set back
            if (tracked.deadline is not None and now >= tracked.deadline) or (
                not by_list and now >= tracked.next_poll_at
            ):
                self._poll_by_id(tracked)
            elif by_list and self._poll is None and now >= tracked.next_poll_at:
                self._poll = self._spawn(self._poll_list())
            elif by_list and self._poll is not None:
                next_look = min(next_look, tracked.deadline or next_look)
            else:
                next_look = min(next_look, tracked.next_poll_at, tracked.deadline or next_look)
        return next_look

    # -- polling -----------------------------------------------------------------------------------------------

    def _poll_by_id(self, tracked: TrackedJob) -> None:
        if tracked.poll_task is None:
            tracked.poll_task = self._spawn(self._poll_job(tracked))

    async def _poll_job(self, tracked: TrackedJob) -> None:
        started_at = CLOCK.time()
        try:
            job = await self._ask(jobs.get_job(tracked.job_id, NO_RETRY))
            tracked.outage = None
            await self._apply([job], listed=False, started_at=started_at)
            tracked.next_poll_at = CLOCK.time() + tracked.interval * jitter_factor()
        except AirbyteError as error:
            self._on_job_error(tracked, error, started_at)
        except Exception as error:  # noqa: BLE001
            # A bug in this package affects only the waiters for this job.
            _LOG.exception("Polling job %d failed.", tracked.job_id)
            self._on_job_error(
                tracked, AirbyteError(f"Polling job {tracked.job_id} failed with {_named(error)}."), started_at
            )
        finally:
            tracked.poll_task = None
        # Now, and not only at its next poll, because a waiter's deadline may have passed meanwhile.
        self.schedule_wakeup(CLOCK.time())

    async def _poll_list(self) -> None:
        started_at = CLOCK.time()
        try:
            await self._poll_changes(started_at)
            await self._poll_uncovered(started_at)
            self._maybe_sweep(started_at)
            due = started_at + self._interval * jitter_factor()
            for tracked in self._jobs.values():
                if tracked.is_covered:
                    tracked.next_poll_at = due
        except AirbyteError as error:
            await self._on_list_error(error)
        except Exception as error:  # noqa: BLE001 - a bug in this package; the jobs can be polled by ID
            _LOG.exception("Polling the list of jobs failed.")
            self._poll_by_id_for_a_while(_named(error))
        finally:
            self._poll = None
        self.schedule_wakeup(CLOCK.time())

    async def _on_list_error(self, error: AirbyteError) -> None:
        """Poll one job by its ID, to distinguish an outage from a failure of lists alone."""
        # A job whose last poll succeeded, because an error may concern a single job.
        probe = min(self._jobs.values(), key=lambda watched: watched.is_unreachable, default=None)
        if probe is None:
            return
        if not isinstance(error, AirbyteAuthenticationError):
            await self._poll_job(probe)
            if probe.outage is None or not probe.waiters or not is_recoverable_while_waiting(error):
                self._poll_by_id_for_a_while(str(error))
                return
        await self._on_outage(error)

    def _poll_by_id_for_a_while(self, reason: str) -> None:
        _LOG.warning("Airbyte does not list the jobs as expected; asking for each by its id for a while. %s", reason)
        self._list_disabled_until = CLOCK.time() + SWEEP_INTERVALS * self._interval

    async def _poll_changes(self, started_at: float) -> None:
        since = self._changed_since or started_at - self._interval - CURSOR_OVERLAP
        server_time = 0.0
        previous: list[Job] = []
        for offset in range(0, MAX_PAGES * PAGE_SIZE, PAGE_SIZE):
            page = await self._ask(resources.fetch_updated_jobs_page(self._workspace_id, since, offset))
            server_time = server_time or plausible(page.server_time, started_at) or started_at
            await self._show_page(page)
            if page.is_last or repeats(page, previous):
                break
            previous = page.rows
        else:
            self._poll_by_id_for_a_while(
                f"It lists more than {MAX_PAGES * PAGE_SIZE} jobs that changed since the last poll."
            )
            return
        self._changed_since = server_time - CURSOR_OVERLAP
        for tracked in self._jobs.values():
            # A covered job that is not listed has not changed.
            tracked.poll_count += tracked.is_listed and tracked.last_seen_at < started_at
        if self._outage.failures:
            self._outage.on_success()
            await self._notify_recovered()

    async def _poll_uncovered(self, started_at: float) -> None:
        soon = started_at + self._interval
        unlisted = [
            watched for watched in self._jobs.values() if not watched.is_covered and watched.next_poll_at <= soon
        ]
        targets = [watched for watched in unlisted if watched.scan_count < MAX_SCANS]
        if len(targets) > LIST_THRESHOLD:
            for tracked in targets:
                tracked.scan_count += 1
            await self._scan(targets)
        for tracked in unlisted:
            if not tracked.is_covered and tracked.waiters:
                self._poll_by_id(tracked)

    def _maybe_sweep(self, started_at: float) -> None:
        if self._swept_at == 0.0:
            self._swept_at = started_at
        if self._sweep is None and started_at >= self._swept_at + SWEEP_INTERVALS * self._interval:
            self._sweep = self._spawn(self._sweep_covered(started_at))

    async def _sweep_covered(self, started_at: float) -> None:
        """Poll all covered jobs, one page every two intervals, and by ID the jobs that are no longer listed."""
        try:
            covered = [watched for watched in self._jobs.values() if watched.is_listed]
            await self._scan(covered, pause=2 * self._interval)
            for watched in covered:
                if watched.last_seen_at < started_at and watched.waiters:
                    self._poll_by_id(watched)
                    await CLOCK.sleep_async(2 * self._interval / LIST_THRESHOLD)
        except Exception:  # noqa: BLE001 - a bug in this package
            _LOG.exception("Sweeping over the unfinished jobs failed; the next sweep tries again.")
        finally:
            self._sweep = None
            self._swept_at = CLOCK.time()

    async def _scan(self, targets: list[TrackedJob], pause: float = 0.0) -> None:
        """List unfinished jobs until nearly all ``targets`` were seen, or polling each by ID is as cheap."""
        started_at = CLOCK.time()
        statuses = dict.fromkeys(
            (*SCANNED_STATUSES, *(watched.job.status for watched in targets if watched.job is not None))
        )
        pages_left = min(len(targets), MAX_PAGES)
        # The polls that follow meet the same error and report it.
        with contextlib.suppress(AirbyteError):
            for status in statuses:
                for offset in itertools.count(0, PAGE_SIZE):
                    missing = sum(watched.last_seen_at < started_at and bool(watched.waiters) for watched in targets)
                    if missing <= LIST_THRESHOLD or pages_left == 0:
                        return
                    page = await self._ask(resources.fetch_jobs_page(self._workspace_id, status, offset))
                    pages_left -= 1
                    await self._show_page(page)
                    await CLOCK.sleep_async(pause)
                    if page.is_last:
                        break

    async def _show_page(self, page: Page[Job]) -> None:
        if page.unreadable and not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "Skipped %d rows of the list of jobs, which cannot be parsed; their jobs are polled by id. %s",
                len(page.unreadable),
                page.unreadable[0],
            )
        await self._apply(page.rows, listed=True)

    async def _apply(self, found: Iterable[Job], *, listed: bool, started_at: float | None = None) -> None:
        """Update the tracked jobs from a response, and wake the waiters for jobs that have changed.

        A poll with ``started_at`` before a waiter's deadline does not count as the poll at that deadline.
        """
        now = CLOCK.time()
        for number, job in enumerate(found):
            await yield_every(number)
            watched = self._jobs.get(job.job_id)
            if watched is None:
                continue
            if watched.job is not None and watched.job.is_terminal:
                watched.notify_all(watched.job, now)
                continue
            watched.last_seen_at = now
            if listed and job.is_terminal and job.rows_synced is None:
                # Some servers omit the row counts in their lists.
                watched.is_listed = False
                self._poll_by_id(watched)
                continue
            watched.job = job
            watched.is_listed = watched.is_listed or listed
            watched.poll_count += 1
            watched.outage = None
            watched.notify_all(job, now if started_at is None else started_at)

    # -- outages -----------------------------------------------------------------------------------------------

    def _on_job_error(self, watched: TrackedJob, error: AirbyteError, started_at: float) -> None:
        now = CLOCK.time()
        watched.outage = watched.outage or Outage()
        watched.poll_count += 1
        watched.next_poll_at = now + max(watched.outage.retry(error, now).delay, watched.interval * jitter_factor())
        watched.notify_all(error, started_at)

    async def _on_outage(self, error: AirbyteError) -> None:
        now = CLOCK.time()
        due = now + max(self._outage.retry(error, now).delay, self._interval * jitter_factor())
        for number, watched in enumerate(list(self._jobs.values())):
            watched.poll_count += 1
            watched.next_poll_at = due
            watched.notify_all(error, now)
            await yield_every(number)

    async def _notify_recovered(self) -> None:
        for number, watched in enumerate(list(self._jobs.values())):
            if watched.job is not None and not watched.is_unreachable:
                watched.notify_all(watched.job, CLOCK.time())
            await yield_every(number)

    # -- tasks -------------------------------------------------------------------------------------------------

    @property
    def _interval(self) -> float:
        return min((watched.interval for watched in self._jobs.values()), default=0.0)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = create_background_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def repeats(page: Page[Job], previous: list[Job]) -> bool:
    """Return True if a page equals the previous one, as from a server that ignores the offset.

    It is not enough that all of its jobs were on earlier pages: jobs that change meanwhile move to the top of the list
    and push the others down. A page whose rows cannot be parsed does not count either.
    """
    return bool(page.rows) and page.rows == previous


def _named(error: Exception) -> str:
    """Return the class name of an unexpected exception. Its message may contain anything, so it is left out."""
    return f"an unexpected {type(error).__name__}"
