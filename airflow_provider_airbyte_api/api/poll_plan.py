"""The poll plan: which jobs of a workspace to request when: by ID, by a list of updated jobs, or by a sweep.

The plan does no I/O and has no clock. :meth:`PollPlan.due` returns the requests to send now. The result of each goes
back to :meth:`PollPlan.apply` or :meth:`PollPlan.fail`, which return the updates for the waiters. Times are in seconds
since the epoch. No call does work in proportion to the number of tracked jobs, except for a short pass when a sweep
starts or lists become unusable.

Up to :data:`LIST_THRESHOLD` jobs are polled by ID, each when it is due. More jobs are polled in *rounds*:

1. Read the list of the jobs that were updated since the last round, by the server's clock and with an overlap. A job
   that a list has contained is *covered*: it need not be requested unless a list shows that it has changed.
2. If many jobs that are due are not covered, sweep over the unfinished jobs to find them.
3. Poll by ID the jobs that are due and still not covered.

A slow sweep looks for changes that no list of updated jobs has contained.

Rows and bytes change without an update of the job. So the running jobs that lists cover are also listed for their
*progress*, one page in each interval: at most one request in a minute for 100 of them.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeAlias

from airflow_provider_airbyte_api.api.backoff import MAX_RETRY_AFTER, Outage
from airflow_provider_airbyte_api.api.endpoints import PAGE_SIZE
from airflow_provider_airbyte_api.api.flow import Log, Page
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.timestamps import plausible
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteError,
    is_recoverable_while_waiting,
)
from airflow_provider_airbyte_api.types import JobStatus

LIST_THRESHOLD = 5
"""Up to this number, polling a workspace's jobs one by one is cheaper for the server than listing them."""

CURSOR_OVERLAP = 60.0
"""Seconds by which two lists of updated jobs overlap, because Airbyte's database may show an update with a delay."""

SWEEP_INTERVALS = 10
"""Number of poll intervals between two slow sweeps, and until the next list after Airbyte has rejected one."""

SWEEP_DELAY = 2
"""Number of poll intervals between two pages of a slow sweep."""

PROGRESS_INTERVAL = 60.0
"""Minimum seconds between the starts of two lists of the running jobs for their progress."""

PROGRESS_PAGE_DELAY = 15.0
"""Minimum seconds between two pages of such a list: each page can cause as many writes to Airflow as it has jobs."""

MAX_SWEEPS = 2
"""Maximum sweeps for a job that no list has contained. After that it is polled by its ID."""

MAX_LIST_PAGES = 50
"""Maximum pages of a list that a round reads, unless more than half of their number of jobs are tracked."""

MAX_PAGES_IN_FLIGHT = 4
"""Maximum pages of a list that are requested at the same time."""

MAX_ACTIONS = 50
"""Maximum number of requests by ID that :meth:`PollPlan.due` returns at once, so that the event loop is not held up."""

SWEPT_STATUSES = (JobStatus.RUNNING.value, JobStatus.INCOMPLETE.value, JobStatus.PENDING.value)
"""The non-terminal statuses that every version of Airbyte knows."""


@dataclass(frozen=True)
class PollById:
    """Request one job. ``at`` is the time of the decision."""

    job_id: int
    at: float


@dataclass(frozen=True)
class ListUpdated:
    """Request a page of the jobs that were updated at ``since`` or later, latest update first."""

    since: float
    offset: int
    at: float
    listing: _Listing | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class ListByStatus:
    """Request a page of the jobs with this status, newest first."""

    status: str
    offset: int
    at: float
    listing: _Listing | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class ListProgress(ListByStatus):
    """Request a page of the running jobs, newest first, for their rows and bytes."""


PollRequest: TypeAlias = PollById | ListUpdated | ListByStatus
Action: TypeAlias = PollRequest | Log


@dataclass(eq=False, slots=True)
class TrackedJob:
    """A job that has waiters.

    ``interval`` is the shortest of its waiters and ``deadline`` the earliest, at which the job is polled in any case.
    ``job`` is the job as last seen, by a request at ``seen_at``, and ``outage`` is set after a failed poll by ID.
    """

    job_id: int
    interval: float = 0.0
    deadline: float | None = None
    job: Job | None = None
    outage: Outage | None = None
    seen_at: float = -math.inf
    is_listed: bool = False
    poll_in_flight: bool = False
    sweeps: int = 0
    poll_count: int = 0

    @property
    def is_covered(self) -> bool:
        """True if the lists cover this job, so that it need not be polled by its ID."""
        return self.is_listed and self.outage is None


class Update(NamedTuple):
    """The result of a poll that was decided at ``at``: the job, or the reason why its status is unknown."""

    tracked: TrackedJob
    outcome: Job | AirbyteError
    at: float


class PollPlan:
    """Decides which requests to send for the tracked jobs of one workspace.

    :param jitter: returns a random factor for a delay, at most 1.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._now = -math.inf
        self._jobs: dict[int, TrackedJob] = {}
        self._intervals: Counter[float] = Counter()
        self._due = _DueTimes()
        self._deadlines = _DueTimes()
        self._ready: deque[int] = deque()
        self._logs: list[Log] = []
        self._has_warned = False
        self._outage = Outage()
        self._uses_lists = False
        self._lists_disabled_until = -math.inf
        self._list_count = 0
        self._list_due = math.inf
        self._since: float | None = None
        self._server_time: float | None = None
        self._round: _Round | None = None
        self._probe: tuple[int, AirbyteError] | None = None
        self._sweep: _Sweep | None = None
        self._swept_at: float | None = None
        self._progress: _ProgressList | None = None
        self._progress_at = -math.inf

    # -- jobs --------------------------------------------------------------------------------------------------

    def add(self, job_id: int, interval: float, first_poll_at: float) -> TrackedJob:
        """Track a job that is polled at ``first_poll_at`` at the latest. It may be tracked already."""
        tracked = self._jobs.get(job_id)
        if tracked is None:
            tracked = self._jobs[job_id] = TrackedJob(job_id, poll_count=-self._list_count)
            self._due.set(job_id, first_poll_at)
        elif tracked.is_covered:
            self._list_due = min(self._list_due, first_poll_at)
        elif not tracked.poll_in_flight:
            self._due.set(job_id, min(first_poll_at, self._due.get(job_id)))
        self.change(tracked, min(interval, tracked.interval or interval), tracked.deadline)
        return tracked

    def change(self, tracked: TrackedJob, interval: float, deadline: float | None) -> None:
        """Change the interval and the deadline of a tracked job."""
        if interval != tracked.interval:
            self._forget_interval(tracked)
            self._intervals[interval] += 1
            tracked.interval = interval
        tracked.deadline = deadline
        if not tracked.poll_in_flight:  # else the end of that poll sets it
            self._deadlines.set(tracked.job_id, deadline)

    def remove(self, job_id: int) -> None:
        """Stop tracking a job. The result of a request for it by ID is ignored."""
        self._forget_interval(self._jobs.pop(job_id))
        self._due.set(job_id, None)
        self._deadlines.set(job_id, None)
        self._stop_sweeping_for(job_id)
        if self._probe is not None and self._probe[0] == job_id:
            self._start_probe(self._probe[1])

    def poll_count(self, tracked: TrackedJob) -> int:
        """Return how often the job was polled, lists included: at least once, as a list may be older than the job."""
        return max(tracked.poll_count + self._list_count, 1)

    def is_unreachable(self, tracked: TrackedJob) -> bool:
        """Return True if the last poll that concerned the job failed."""
        return tracked.outage is not None or self._outage.failures > 0

    # -- what to do --------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[Action]:
        """Return what to do at ``now``. Call it again at :attr:`next_at`, and after each other call."""
        self._check_clock(now)
        self._choose_mode(now)
        for job_id in self._deadlines.pop(now, MAX_ACTIONS):
            self._poll_by_id(job_id, front=True)
        actions: list[Action] = [*self._logs]
        self._logs.clear()
        if self._uses_lists:
            actions += [*self._round_pages(now), *self._sweep_pages(now), *self._progress_pages(now)]
        else:
            for job_id in self._due.pop(now, MAX_ACTIONS):
                self._poll_by_id(job_id)
        while self._ready and len(actions) < MAX_ACTIONS:
            job_id = self._ready.popleft()
            tracked = self._jobs.get(job_id)
            if tracked is not None and tracked.poll_in_flight:
                actions.append(PollById(job_id, now))
        return actions

    @property
    def next_at(self) -> float:
        """The time of the next action, unless a result arrives or a job is added before."""
        if self._ready or self._logs:
            return self._now
        times = [self._deadlines.first]
        if not self._uses_lists:
            times.append(self._due.first)
        elif self._round is None and self._probe is None:
            times.append(self._next_round_at)
        if self._sweep is not None and not self._sweep.listing.in_flight and not self._outage.failures:
            times.append(self._sweep.not_before)
        if self._uses_lists and not self._outage.failures:
            times.append(self._next_progress_at)
        return min(times)

    # -- results -----------------------------------------------------------------------------------------------

    def apply(self, request: PollRequest, found: Job | Page[Job], now: float) -> Iterable[Update]:
        """Take in the response to a request, and return the updates for the waiters."""
        if isinstance(request, PollById) and isinstance(found, Job):
            return self._apply_job(request, found, now)
        if isinstance(request, PollById) or isinstance(found, Job):
            raise TypeError(found)
        owner = self._owner(request)
        if owner is None:
            return ()
        if found.unreadable and not self._has_warned:
            self._has_warned = True
            self._warn(
                "Skipped %d rows of the list of jobs, which cannot be parsed; their jobs are polled by id. %s",
                len(found.unreadable),
                found.unreadable[0],
            )
        updates = [update for job in found.rows if (update := self._record(job, request.at, listed=True))]
        owner.listing.read(found)
        if isinstance(owner, _ProgressList):
            self._progress_at = now + max(self._interval, PROGRESS_PAGE_DELAY)
        elif isinstance(owner, _Sweep):
            owner.not_before = now + owner.delay
        elif owner.listing.is_complete:
            return chain(updates, self._finish_listing(owner, now))
        return updates

    def fail(self, request: PollRequest, error: AirbyteError, now: float) -> Iterable[Update]:
        """Take in the failure of a request, and return the updates for the waiters."""
        if isinstance(request, PollById):
            return self._fail_job(request, error, now)
        owner = self._owner(request)
        if isinstance(owner, _Sweep):
            # The polls that follow meet the same error and report it.
            owner.stop()
            owner.not_before = now + owner.delay
        elif isinstance(owner, _ProgressList):
            self._progress, self._progress_at = None, now + max(self._interval, PROGRESS_INTERVAL)
        elif owner is not None:
            self._round = None
            if isinstance(error, AirbyteAuthenticationError):
                return self._start_outage(error, now)
            self._start_probe(error)
        return ()

    def _owner(self, request: ListUpdated | ListByStatus) -> _Round | _Sweep | _ProgressList | None:
        """Return what a page is for, or None if that was given up."""
        owners = (self._round, self._round and self._round.sweep, self._sweep, self._progress)
        return next((owner for owner in owners if owner is not None and owner.listing is request.listing), None)

    def _apply_job(self, poll: PollById, job: Job, now: float) -> Iterable[Update]:
        tracked = self._end_poll(poll)
        if tracked is None:
            return ()
        update = self._record(job, poll.at, listed=False)
        if not tracked.is_covered:
            self._due.set(tracked.job_id, now + tracked.interval * self._jitter())
        if self._probe is not None and self._probe[0] == tracked.job_id:
            self._disable_lists(str(self._probe[1]), now)
        return [update] if update else ()

    def _fail_job(self, poll: PollById, error: AirbyteError, now: float) -> Iterable[Update]:
        tracked = self._end_poll(poll)
        if tracked is None:
            return ()
        tracked.outage = tracked.outage or Outage()
        delay = max(tracked.outage.on_retryable_error(error, now).delay, tracked.interval * self._jitter())
        self._due.set(tracked.job_id, now + delay)
        updates: Iterable[Update] = [Update(tracked, error, poll.at)]
        if self._probe is not None and self._probe[0] == tracked.job_id:
            list_error = self._probe[1]
            if is_recoverable_while_waiting(list_error):
                return chain(updates, self._start_outage(list_error, now))
            self._disable_lists(str(list_error), now)
        return updates

    def _end_poll(self, poll: PollById) -> TrackedJob | None:
        """Return the job of a poll by ID that has ended, or None if it is not tracked any more."""
        tracked = self._jobs.get(poll.job_id)
        if tracked is None or not tracked.poll_in_flight:
            return None
        tracked.poll_in_flight = False
        tracked.poll_count += 1
        if tracked.deadline is not None and tracked.deadline > poll.at:
            self._deadlines.set(tracked.job_id, tracked.deadline)  # this poll does not count as the one at the deadline
        return tracked

    def _record(self, job: Job, at: float, *, listed: bool) -> Update | None:
        """Update a tracked job from a response. A job that has finished stays finished, whatever is shown later."""
        tracked = self._jobs.get(job.job_id)
        if tracked is None:
            return None
        if tracked.job is not None and tracked.job.is_terminal:
            return Update(tracked, tracked.job, at)
        self._stop_sweeping_for(job.job_id)
        if listed and job.is_terminal and job.rows_synced is None:
            # Some servers omit the row counts in their lists.
            tracked.is_listed = False
            self._poll_by_id(job.job_id)
            return None
        tracked.job, tracked.outage, tracked.seen_at = job, None, at
        if listed:
            tracked.is_listed = True
            self._due.set(job.job_id, None)
        return Update(tracked, job, at)

    def _stop_sweeping_for(self, job_id: int) -> None:
        """Stop sweeping for a job."""
        if self._sweep is not None:
            self._sweep.missing.discard(job_id)
        if self._round is not None and self._round.sweep is not None:
            self._round.sweep.missing.discard(job_id)

    # -- polls by ID -------------------------------------------------------------------------------------------

    def _poll_by_id(self, job_id: int, *, front: bool = False) -> None:
        """Poll a job by its ID next, unless such a poll is in flight."""
        tracked = self._jobs[job_id]
        if not tracked.poll_in_flight:
            tracked.poll_in_flight = True
            self._due.set(job_id, None)
            self._deadlines.set(job_id, None)
            (self._ready.appendleft if front else self._ready.append)(job_id)

    # -- rounds ------------------------------------------------------------------------------------------------

    @property
    def _interval(self) -> float:
        return min(self._intervals, default=0.0)

    @property
    def _max_pages(self) -> int:
        return max(MAX_LIST_PAGES, 2 * len(self._jobs) // PAGE_SIZE)

    @property
    def _next_round_at(self) -> float:
        return self._list_due if self._outage.failures else min(self._list_due, self._due.first)

    def _choose_mode(self, now: float) -> None:
        is_worth_it = len(self._jobs) > LIST_THRESHOLD or self._round is not None
        uses_lists = is_worth_it and now >= self._lists_disabled_until
        if self._uses_lists and not uses_lists:
            due = now if self._round or self._probe else max(now, min(self._list_due, now + self._interval))
            for job_id, tracked in self._jobs.items():
                if tracked.is_covered and not tracked.poll_in_flight:
                    self._due.set(job_id, due)
                tracked.is_listed, tracked.sweeps = False, 0
            self._round = self._probe = self._sweep = self._since = self._server_time = self._swept_at = None
            self._progress = None
            self._list_due = math.inf
            self._outage.on_success()
        self._uses_lists = uses_lists

    def _disable_lists(self, reason: str, now: float) -> None:
        self._warn("Airbyte does not list the jobs as expected; polling each by its id for a while. %s", reason)
        self._lists_disabled_until = now + SWEEP_INTERVALS * self._interval

    def _round_pages(self, now: float) -> Iterable[PollRequest]:
        """Return the requests of the current round. It starts when a job that lists cover, or another one, is due."""
        if self._round is None:
            if self._probe is not None or now < self._next_round_at:
                return ()
            since = now - self._interval - CURSOR_OVERLAP if self._since is None else self._since
            self._round = _Round(now, since, self._max_pages)
            self._list_count += 1
        sweep = self._round.sweep
        if sweep is not None and sweep.is_complete:
            self._end_round(self._round, now)
            return ()
        return (sweep or self._round.listing).requests(now)

    def _finish_listing(self, current: _Round, now: float) -> Iterable[Update]:
        """End the first step of a round, and start the second or the third one."""
        listing = current.listing
        server_time = plausible(listing.server_time, current.started_at) or current.started_at
        if not listing.is_ended and (self._server_time is None or listing.oldest > self._server_time):
            rows = listing.offset
            self._disable_lists(f"It lists more than {rows} jobs that were updated since the last poll.", now)
            self._end_round(current, now)
            return ()
        # Pages that are read at the same time may miss a row between them. So the next list contains these again.
        previous = current.since + CURSOR_OVERLAP if self._server_time is None else self._server_time
        self._since = (previous if listing.is_concurrent else server_time) - CURSOR_OVERLAP
        self._server_time = server_time
        was_unreachable = self._outage.failures > 0
        self._outage.on_success()
        current.unlisted = self._due.until(current.started_at + self._interval)
        targets = [job for job_id in current.unlisted if (job := self._jobs[job_id]).sweeps < MAX_SWEEPS]
        if len(targets) > LIST_THRESHOLD:
            for tracked in targets:
                tracked.sweeps += 1
            current.sweep = _Sweep(targets, self._max_pages)
        else:
            self._end_round(current, now)
        return self._recovered(current.started_at) if was_unreachable else ()

    def _end_round(self, current: _Round, now: float) -> None:
        """Poll the jobs by ID that no list has contained, and plan the next round."""
        for job_id in current.unlisted:
            if job_id in self._jobs and job_id in self._due:
                self._poll_by_id(job_id)
        self._round = None
        self._list_due = current.started_at + self._interval * self._jitter()
        if self._swept_at is None:
            self._swept_at = current.started_at
        if self._sweep is None and current.started_at >= self._swept_at + SWEEP_INTERVALS * self._interval:
            covered = [tracked for tracked in self._jobs.values() if tracked.is_listed]
            self._sweep = _Sweep(covered, self._max_pages, SWEEP_DELAY * self._interval, now)

    # -- the slow sweep ----------------------------------------------------------------------------------------

    def _sweep_pages(self, now: float) -> Iterable[PollRequest]:
        """Return the next request of the slow sweep. At its end, the jobs that it has not found are polled by ID."""
        sweep = self._sweep
        if sweep is None or sweep.listing.in_flight or self._outage.failures or now < sweep.not_before:
            return ()
        if not sweep.is_complete:
            return sweep.requests(now)
        if sweep.missing:
            self._poll_by_id(sweep.missing.pop())
            sweep.not_before = now + sweep.delay / LIST_THRESHOLD
        else:
            self._sweep, self._swept_at = None, now
        return ()

    # -- progress ----------------------------------------------------------------------------------------------

    @property
    def _next_progress_at(self) -> float:
        return math.inf if self._progress is not None and self._progress.listing.in_flight else self._progress_at

    def _progress_pages(self, now: float) -> Iterable[PollRequest]:
        """Return the next request for the progress of the running jobs that lists cover."""
        if self._outage.failures or now < self._next_progress_at:
            return ()
        current = self._progress
        if current is not None and current.listing.is_complete:
            self._progress, self._progress_at = None, current.started_at + max(self._interval, PROGRESS_INTERVAL)
            return self._progress_pages(now)
        if current is None:
            running = sum(1 for each in self._jobs.values() if each.is_covered and _is_running(each.job))
            if not running:
                self._progress_at = now + max(self._interval, PROGRESS_INTERVAL)
                return ()
            current = self._progress = _ProgressList(now, math.ceil(running / PAGE_SIZE))
        return current.listing.requests(now)

    # -- outages -----------------------------------------------------------------------------------------------

    def _start_probe(self, error: AirbyteError) -> None:
        """Poll one job by its ID, to distinguish an outage from a failure of lists alone."""
        # A job whose last poll succeeded, because an error may concern a single job.
        jobs = self._jobs.values()
        probe = next((each for each in jobs if each.outage is None and not each.poll_in_flight), None) or next(
            iter(jobs), None
        )
        self._probe = None if probe is None else (probe.job_id, error)
        if probe is not None:
            self._poll_by_id(probe.job_id, front=True)

    def _start_outage(self, error: AirbyteError, now: float) -> Iterator[Update]:
        self._probe = None
        self._list_due = now + max(self._outage.on_retryable_error(error, now).delay, self._interval * self._jitter())
        return (Update(tracked, error, now) for tracked in list(self._jobs.values()))

    def _recovered(self, at: float) -> Iterator[Update]:
        return (
            Update(tracked, tracked.job, at)
            for tracked in list(self._jobs.values())
            if tracked.job is not None and tracked.outage is None
        )

    def _warn(self, message: str, *arguments: object) -> None:
        self._logs.append(Log(message, arguments, logging.WARNING))

    # -- time --------------------------------------------------------------------------------------------------

    def _check_clock(self, now: float) -> None:
        """Poll all jobs now if the clock was set back."""
        if now < self._now - MAX_RETRY_AFTER:
            self._due.cap(now)
            self._list_due = min(self._list_due, now)
            self._lists_disabled_until = min(self._lists_disabled_until, now)
            self._swept_at = None
            self._progress_at = min(self._progress_at, now)
            if self._sweep is not None:
                self._sweep.not_before = min(self._sweep.not_before, now)
        self._now = now

    def _forget_interval(self, tracked: TrackedJob) -> None:
        self._intervals[tracked.interval] -= 1
        if self._intervals[tracked.interval] <= 0:
            del self._intervals[tracked.interval]


class _DueTimes:
    """The times of jobs, as a heap with the latest time that was set for each."""

    def __init__(self) -> None:
        self._times: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._times

    def get(self, job_id: int) -> float:
        """Return the time of a job, which is infinite if it has none."""
        return self._times.get(job_id, math.inf)

    def set(self, job_id: int, at: float | None) -> None:
        """Set the time of a job; None removes it."""
        if at is None:
            self._times.pop(job_id, None)
        elif self._times.get(job_id) != at:
            self._times[job_id] = at
            heapq.heappush(self._heap, (at, job_id))
        if len(self._heap) > 2 * len(self._times) + 64:
            self._rebuild()

    def cap(self, at: float) -> None:
        """Set the time of all jobs to ``at`` at the latest."""
        self._times = {job_id: min(time, at) for job_id, time in self._times.items()}
        self._rebuild()

    @property
    def first(self) -> float:
        """The earliest time."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def until(self, at: float) -> list[int]:
        """Return the jobs whose time is ``at`` or earlier."""
        return [job_id for job_id, time in self._times.items() if time <= at]

    def pop(self, at: float, limit: int) -> Iterator[int]:
        """Remove and yield up to ``limit`` jobs whose time is ``at`` or earlier."""
        for _ in range(limit):
            if self.first > at:
                return
            job_id = heapq.heappop(self._heap)[1]
            del self._times[job_id]
            yield job_id

    def _rebuild(self) -> None:
        self._heap = [(time, job_id) for job_id, time in self._times.items()]
        heapq.heapify(self._heap)


class _Listing:
    """Reads the pages of a list, the more of them at the same time the more were full."""

    def __init__(
        self, request: Callable[..., PollRequest], max_pages: int, max_in_flight: int = MAX_PAGES_IN_FLIGHT
    ) -> None:
        self._request = request
        self._max_in_flight = max_in_flight
        self.pages_left = max_pages
        self.offset = 0
        self.in_flight = 0
        self.pages_read = 0
        self.is_ended = False
        self.is_concurrent = False
        self.server_time: float | None = None
        self.oldest = math.inf
        self._previous: list[Job] = []

    @property
    def is_complete(self) -> bool:
        """True if no page is missing, or no more of them may be read."""
        return not self.in_flight and (self.is_ended or not self.pages_left)

    def requests(self, now: float) -> Iterator[PollRequest]:
        """Yield the requests for the next pages."""
        limit = min(max(self.pages_read, 1), self._max_in_flight)
        while self.in_flight < limit and self.pages_left and not self.is_ended:
            yield self._request(self.offset, now, self)
            self.offset += PAGE_SIZE
            self.pages_left -= 1
            self.in_flight += 1
            self.is_concurrent = self.is_concurrent or self.in_flight > 1

    def read(self, page: Page[Job]) -> None:
        """Take in a page."""
        self.in_flight -= 1
        self.pages_read += 1
        self.server_time = self.server_time or page.server_time
        self.is_ended = self.is_ended or page.is_last or repeats(page, self._previous)
        self._previous = page.rows
        if page.rows and (updated_at := page.rows[-1].last_updated_at) is not None:
            self.oldest = min(self.oldest, updated_at.timestamp())


class _Sweep:
    """Lists the unfinished jobs of each status until nearly all ``missing`` jobs were seen.

    After that, or after as many pages as there are jobs, polling the rest of them by ID is as cheap.

    :param delay: seconds after each page of a slow sweep, which starts at ``not_before``. 0 stands for a fast one.
    """

    def __init__(
        self, targets: list[TrackedJob], max_pages: int, delay: float = 0.0, not_before: float = -math.inf
    ) -> None:
        shown = (tracked.job.status for tracked in targets if tracked.job is not None and not tracked.job.is_terminal)
        self._statuses = deque(dict.fromkeys((*SWEPT_STATUSES, *shown)))
        self.missing = {tracked.job_id for tracked in targets}
        self.delay = delay
        self.not_before = not_before
        self.listing = self._next_listing(min(len(targets), max_pages))

    def _next_listing(self, max_pages: int) -> _Listing:
        max_in_flight = 1 if self.delay else MAX_PAGES_IN_FLIGHT
        return _Listing(partial(ListByStatus, self._statuses.popleft()), max_pages, max_in_flight)

    @property
    def is_complete(self) -> bool:
        """True if no page is in flight, and no more are worth reading."""
        is_done = len(self.missing) <= LIST_THRESHOLD or not self.listing.pages_left
        return not self.listing.in_flight and (is_done or (self.listing.is_ended and not self._statuses))

    def requests(self, now: float) -> Iterator[PollRequest]:
        """Yield the requests for the next pages."""
        if self.listing.is_complete and self._statuses:
            self.listing = self._next_listing(self.listing.pages_left)
        if len(self.missing) > LIST_THRESHOLD:
            yield from self.listing.requests(now)

    def stop(self) -> None:
        """Read no more pages, after one of them has failed."""
        self.listing.in_flight -= 1
        self.listing.is_ended = True
        self._statuses.clear()


class _ProgressList:
    """A list of the running jobs, for their rows and bytes. It has as many pages as the tracked ones need."""

    def __init__(self, started_at: float, max_pages: int) -> None:
        self.started_at = started_at
        self.listing = _Listing(partial(ListProgress, JobStatus.RUNNING.value), max_pages, max_in_flight=1)


def _is_running(job: Job | None) -> bool:
    return job is not None and job.status == JobStatus.RUNNING


class _Round:
    """A poll of all jobs that lists cover; ``unlisted`` jobs were due, and the list has not contained them."""

    def __init__(self, started_at: float, since: float, max_pages: int) -> None:
        self.started_at = started_at
        self.since = since
        self.listing = _Listing(partial(ListUpdated, since), max_pages)
        self.unlisted: list[int] = []
        self.sweep: _Sweep | None = None


def repeats(page: Page[Job], previous: list[Job]) -> bool:
    """Return True if a page equals the previous one, as from a server that ignores the offset.

    It is not enough that all of its jobs were on earlier pages: jobs that change meanwhile move to the top of the list
    and push the others down. A page whose rows cannot be parsed does not count either.
    """
    return bool(page.rows) and page.rows == previous
