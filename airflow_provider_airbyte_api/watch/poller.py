"""The one poll loop for all jobs of a workspace."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

from airflow_provider_airbyte_api.api import jobs, resources
from airflow_provider_airbyte_api.api.calls import PAGE
from airflow_provider_airbyte_api.api.conversation import Conversation, Page
from airflow_provider_airbyte_api.api.errors import AirbyteAuthenticationError, AirbyteError, may_heal
from airflow_provider_airbyte_api.api.models import Job, JobStatus
from airflow_provider_airbyte_api.api.retry import LONGEST_RETRY_AFTER, ONCE
from airflow_provider_airbyte_api.api.times import plausible
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.watch.tasks import breathe, detached, jitter
from airflow_provider_airbyte_api.watch.waiters import Waiter, WatchedJob

T = TypeVar("T")

FEW = 5
"""As many jobs of a workspace are cheaper for the server one by one than by a list."""

OVERLAP = 60.0
"""Seconds by which two lists of changes overlap: Airbyte's database may show a change a moment after it happened."""

SWEEP_AFTER = 10
"""Poll intervals between two sweeps, and until lists are tried again where Airbyte refused them."""

SCANS = 2
"""How often a job that no list has shown is sought among the unfinished ones, before it is only asked for by its id."""

MAX_PAGES = 50
"""Pages of a list that one poll reads at the most; what they do not show is asked for by id."""

ALWAYS_SCANNED = (JobStatus.RUNNING.value, JobStatus.INCOMPLETE.value, JobStatus.PENDING.value)
"""The unfinished statuses that every version of Airbyte knows."""

_LOG = logging.getLogger(__name__)


class Ask(Protocol):
    """Performs a conversation, in its turn."""

    def __call__(self, conversation: Conversation[T]) -> Awaitable[T]:
        """Return what the conversation returns."""


class Poller:
    """The jobs of one workspace that somebody waits for; of all workspaces if nobody knows which one."""

    def __init__(self, ask: Ask, workspace_id: str | None) -> None:
        self._ask = ask
        self._workspace_id = workspace_id
        self._jobs: dict[int, WatchedJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._wakes_at = 0.0
        self._poll: asyncio.Task[None] | None = None
        self._sweep: asyncio.Task[None] | None = None
        self._swept_at = 0.0
        self._changed_since: float | None = None
        self._by_id_until = 0.0
        self._outage = jobs.Outage()
        self._has_warned = False
        self._spawn(self._serve())

    # -- who waits ---------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """True if nobody waits."""
        return not self._jobs

    @property
    def is_away(self) -> bool:
        """True if Airbyte did not list anything when it was last asked to."""
        return self._outage.failures > 0

    def join(self, job_id: int, interval: float, first_look: float) -> Waiter:
        """Wait for a job, which is looked at for the first time at ``first_look``."""
        watched = self._jobs.get(job_id)
        if watched is None:
            watched = self._jobs[job_id] = WatchedJob(job_id, first_look)
        waiter = Waiter(self, watched, interval)
        watched.waiters.append(waiter)
        watched.update()
        watched.due = min(watched.due, first_look)
        self.wake_by(watched.due)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Wait no longer; a look that is under way for this one alone is dropped."""
        waiter.watched.waiters.remove(waiter)
        waiter.watched.update()
        if not waiter.watched.waiters:
            del self._jobs[waiter.watched.job_id]
            if waiter.watched.look is not None:
                waiter.watched.look.cancel()

    def wake_by(self, moment: float) -> None:
        """See to it that this is awake at ``moment``."""
        if moment < self._wakes_at:
            self._wakes_at = moment
            self._woken.set()

    def stop(self) -> None:
        """Drop all that is under way."""
        for task in self._tasks:
            task.cancel()

    # -- when to look ------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        while True:
            self._woken.clear()
            try:
                self._wakes_at = self._look_where_due(CLOCK.time())
            except Exception:  # noqa: BLE001 - a mistake of ours: nobody shall wait for ever because of it
                _LOG.exception("Polling the jobs of workspace %s failed; polling goes on.", self._workspace_id)
                self._wakes_at = CLOCK.time() + max(self._interval, 1.0)
            await CLOCK.wait(self._woken, max(self._wakes_at - CLOCK.time(), 0.0))

    def _look_where_due(self, moment: float) -> float:
        """Begin all looks that are due, and return when the next one is."""
        by_list = len(self._jobs) > FEW and moment >= self._by_id_until
        if not by_list and self._changed_since is not None:
            # Nobody will know what changes from now on.
            self._changed_since = None
            self._outage.is_over()
            for watched in self._jobs.values():
                watched.is_listed, watched.scans = False, 0
        next_look = math.inf
        for watched in self._jobs.values():
            if watched.look is not None:
                continue
            if watched.due > moment + max(watched.interval, LONGEST_RETRY_AFTER):
                watched.due = moment  # the clock was set back
            if (watched.until is not None and moment >= watched.until) or (not by_list and moment >= watched.due):
                self._look_by_id(watched)
            elif by_list and self._poll is None and moment >= watched.due:
                self._poll = self._spawn(self._poll_list())
            elif by_list and self._poll is not None:
                next_look = min(next_look, watched.until or next_look)
            else:
                next_look = min(next_look, watched.due, watched.until or next_look)
        return next_look

    # -- looking -----------------------------------------------------------------------------------------------

    def _look_by_id(self, watched: WatchedJob) -> None:
        if watched.look is None:
            watched.look = self._spawn(self._look(watched))

    async def _look(self, watched: WatchedJob) -> None:
        began = CLOCK.time()
        try:
            job = await self._ask(jobs.get_job(watched.job_id, ONCE))
            watched.outage = None
            await self._show([job], listed=False, began=began)
            watched.due = CLOCK.time() + watched.interval * jitter()
        except AirbyteError as error:
            self._missed(watched, error, began)
        except Exception as error:  # noqa: BLE001
            # A mistake of ours concerns those alone who wait for this job.
            _LOG.exception("Polling job %d failed.", watched.job_id)
            self._missed(watched, AirbyteError(f"Polling job {watched.job_id} failed with {_named(error)}."), began)
        finally:
            watched.look = None
        # Not at its due moment alone: somebody's deadline may have come up meanwhile.
        self.wake_by(CLOCK.time())

    async def _poll_list(self) -> None:
        began = CLOCK.time()
        try:
            await self._see_what_changed(began)
            await self._look_for_the_unlisted(began)
            self._sweep_now_and_then(began)
            due = began + self._interval * jitter()
            for watched in self._jobs.values():
                if watched.is_covered:
                    watched.due = due
        except AirbyteError as error:
            await self._list_failed(error)
        except Exception as error:  # noqa: BLE001 - a mistake of ours; the jobs can be asked for one by one
            _LOG.exception("Polling the list of jobs failed.")
            self._poll_by_id_for_a_while(_named(error))
        finally:
            self._poll = None
        self.wake_by(CLOCK.time())

    async def _list_failed(self, error: AirbyteError) -> None:
        """Ask for one job by its id, to tell an Airbyte that is away from one that only does not list."""
        # One that could be asked for the last time: a job may have trouble of its own.
        probe = min(self._jobs.values(), key=lambda watched: watched.is_away, default=None)
        if probe is None:
            return
        if not isinstance(error, AirbyteAuthenticationError):
            await self._look(probe)
            if probe.outage is None or not probe.waiters or not may_heal(error):
                self._poll_by_id_for_a_while(str(error))
                return
        await self._missed_by_all(error)

    def _poll_by_id_for_a_while(self, reason: str) -> None:
        _LOG.warning("Airbyte does not list the jobs as expected; asking for each by its id for a while. %s", reason)
        self._by_id_until = CLOCK.time() + SWEEP_AFTER * self._interval

    async def _see_what_changed(self, began: float) -> None:
        since = self._changed_since or began - self._interval - OVERLAP
        server_time = 0.0
        previous: list[Job] = []
        for offset in range(0, MAX_PAGES * PAGE, PAGE):
            page = await self._ask(resources.page_of_changes(self._workspace_id, since, offset))
            server_time = server_time or plausible(page.server_time, began) or began
            await self._show_page(page)
            if page.is_last or repeats(page, previous):
                break
            previous = page.rows
        else:
            self._poll_by_id_for_a_while(
                f"It lists more than {MAX_PAGES * PAGE} jobs that changed since the last poll."
            )
            return
        self._changed_since = server_time - OVERLAP
        for watched in self._jobs.values():
            # That one is not listed tells that it has not changed.
            watched.looks += watched.is_listed and watched.seen_at < began
        if self._outage.failures:
            self._outage.is_over()
            await self._tell_that_it_answers_again()

    async def _look_for_the_unlisted(self, began: float) -> None:
        soon = began + self._interval
        unlisted = [watched for watched in self._jobs.values() if not watched.is_covered and watched.due <= soon]
        sought = [watched for watched in unlisted if watched.scans < SCANS]
        if len(sought) > FEW:
            for watched in sought:
                watched.scans += 1
            await self._scan(sought)
        for watched in unlisted:
            if not watched.is_covered and watched.waiters:
                self._look_by_id(watched)

    def _sweep_now_and_then(self, began: float) -> None:
        if self._swept_at == 0.0:
            self._swept_at = began
        if self._sweep is None and began >= self._swept_at + SWEEP_AFTER * self._interval:
            self._sweep = self._spawn(self._sweep_slowly(began))

    async def _sweep_slowly(self, began: float) -> None:
        """Look at all that the lists cover, a page in two intervals, and by id at what is not there any more."""
        try:
            covered = [watched for watched in self._jobs.values() if watched.is_listed]
            await self._scan(covered, pause=2 * self._interval)
            for watched in covered:
                if watched.seen_at < began and watched.waiters:
                    self._look_by_id(watched)
                    await CLOCK.asleep(2 * self._interval / FEW)
        except Exception:  # noqa: BLE001 - a mistake of ours
            _LOG.exception("Sweeping over the unfinished jobs failed; the next sweep tries again.")
        finally:
            self._sweep = None
            self._swept_at = CLOCK.time()

    async def _scan(self, sought: list[WatchedJob], pause: float = 0.0) -> None:
        """List what is unfinished, until nearly all of ``sought`` were seen, or a look at each would be as cheap."""
        began = CLOCK.time()
        statuses = dict.fromkeys(
            (*ALWAYS_SCANNED, *(watched.job.status for watched in sought if watched.job is not None))
        )
        pages_left = min(len(sought), MAX_PAGES)
        # What goes wrong here is met again, and told, by the looks that follow.
        with contextlib.suppress(AirbyteError):
            for status in statuses:
                for offset in itertools.count(0, PAGE):
                    unseen = sum(watched.seen_at < began and bool(watched.waiters) for watched in sought)
                    if unseen <= FEW or pages_left == 0:
                        return
                    page = await self._ask(resources.page_of_jobs(self._workspace_id, status, offset))
                    pages_left -= 1
                    await self._show_page(page)
                    await CLOCK.asleep(pause)
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
        await self._show(page.rows, listed=True)

    async def _show(self, found: Iterable[Job], *, listed: bool, began: float | None = None) -> None:
        """Take in what Airbyte shows, and wake who waits for what has changed.

        A look that ``began`` before somebody's deadline is none at that deadline.
        """
        moment = CLOCK.time()
        for number, job in enumerate(found):
            await breathe(number)
            watched = self._jobs.get(job.job_id)
            if watched is None:
                continue
            if watched.job is not None and watched.job.is_finished:
                watched.tell(watched.job, moment)
                continue
            watched.seen_at = moment
            if listed and job.is_finished and job.rows_synced is None:
                # Some servers leave the numbers out of their lists.
                watched.is_listed = False
                self._look_by_id(watched)
                continue
            watched.job = job
            watched.is_listed = watched.is_listed or listed
            watched.looks += 1
            watched.outage = None
            watched.tell(job, moment if began is None else began)

    # -- when Airbyte is away ----------------------------------------------------------------------------------

    def _missed(self, watched: WatchedJob, error: AirbyteError, began: float) -> None:
        moment = CLOCK.time()
        watched.outage = watched.outage or jobs.Outage()
        watched.looks += 1
        watched.due = moment + max(watched.outage.missed(error, moment), watched.interval * jitter())
        watched.tell(error, began)

    async def _missed_by_all(self, error: AirbyteError) -> None:
        moment = CLOCK.time()
        due = moment + max(self._outage.missed(error, moment), self._interval * jitter())
        for number, watched in enumerate(list(self._jobs.values())):
            watched.looks += 1
            watched.due = due
            watched.tell(error, moment)
            await breathe(number)

    async def _tell_that_it_answers_again(self) -> None:
        for number, watched in enumerate(list(self._jobs.values())):
            if watched.job is not None and not watched.is_away:
                watched.tell(watched.job, CLOCK.time())
            await breathe(number)

    # -- tasks -------------------------------------------------------------------------------------------------

    @property
    def _interval(self) -> float:
        return min((watched.interval for watched in self._jobs.values()), default=0.0)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = detached(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def repeats(page: Page[Job], previous: list[Job]) -> bool:
    """Tell whether a page is the one before it once more, as from a server that ignores the offset.

    That all of its jobs were on earlier pages is no sign of that: those that change meanwhile move to the top of the
    list, and push down the others. Nor is a page of rows that cannot be parsed.
    """
    return bool(page.rows) and page.rows == previous


def _named(error: Exception) -> str:
    """Return an unexpected exception as text; its own words may hold anything."""
    return f"an unexpected {type(error).__name__}"
