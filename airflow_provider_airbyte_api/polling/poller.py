"""The poll loop for all jobs of a workspace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

from airflow_provider_airbyte_api.api import jobs, resources
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.flow import Flow, Log
from airflow_provider_airbyte_api.api.poll_plan import ListUpdated, PollById, PollPlan, PollRequest, TrackedJob, Update
from airflow_provider_airbyte_api.clients.clock import CLOCK, jitter_factor
from airflow_provider_airbyte_api.exceptions import AirbyteError
from airflow_provider_airbyte_api.polling.asyncio_utils import create_background_task, yield_every
from airflow_provider_airbyte_api.polling.waiters import Waiter

T = TypeVar("T")

RESTART_DELAY = 1.0
"""Seconds before the poll loop goes on after an unexpected exception."""

_LOG = logging.getLogger(__name__)


class RunFlow(Protocol):
    """A function that runs a flow within the request limit."""

    def __call__(self, flow: Flow[T]) -> Awaitable[T]:
        """Return the result of the flow."""


class Poller:
    """Polls the jobs of one workspace that have waiters; of all workspaces if ``workspace_id`` is None.

    It sends the requests that its :class:`~.api.poll_plan.PollPlan` decides on, and wakes the waiters.
    """

    def __init__(self, run_flow: RunFlow, workspace_id: str | None) -> None:
        self._run_flow = run_flow
        self._workspace_id = workspace_id
        self._plan = PollPlan(jitter_factor)
        self._waiters: dict[int, list[Waiter]] = {}
        self._polls: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._notifying = asyncio.Lock()
        self._wakeup = asyncio.Event()
        self._spawn(self._run())

    # -- waiters -----------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """True if there are no waiters."""
        return not self._waiters

    def subscribe(self, job_id: int, interval: float, first_poll_at: float) -> Waiter:
        """Return a waiter for a job. The job is first polled at ``first_poll_at``, in seconds since the epoch."""
        waiter = Waiter(self, self._plan.add(job_id, interval, first_poll_at), interval)
        self._waiters.setdefault(job_id, []).append(waiter)
        self._wakeup.set()
        return waiter

    def unsubscribe(self, waiter: Waiter) -> None:
        """Remove a waiter. A poll that only this waiter needs is cancelled."""
        job_id = waiter.tracked.job_id
        self._waiters[job_id].remove(waiter)
        if self._waiters[job_id]:
            self.refresh(waiter.tracked)
            return
        del self._waiters[job_id]
        self._plan.remove(job_id)
        if self._waiters:
            self._wakeup.set()
        poll = self._polls.pop(job_id, None)
        if poll is not None:
            poll.cancel()

    def refresh(self, tracked: TrackedJob) -> None:
        """Take over the intervals and the deadlines of a job's waiters."""
        waiters = self._waiters.get(tracked.job_id, ())
        deadlines = [waiter.deadline for waiter in waiters if waiter.deadline is not None]
        interval = min((waiter.interval for waiter in waiters), default=tracked.interval)
        self._plan.change(tracked, interval, min(deadlines, default=None))
        self._wakeup.set()

    def is_unreachable(self, tracked: TrackedJob) -> bool:
        """Return True if the last poll that concerned the job failed."""
        return self._plan.is_unreachable(tracked)

    def poll_count(self, tracked: TrackedJob) -> int:
        """Return how often the job was polled, lists included."""
        return self._plan.poll_count(tracked)

    def stop(self) -> None:
        """Cancel all running tasks."""
        for task in self._tasks:
            task.cancel()

    # -- polling -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wakeup.clear()
            try:
                for action in self._plan.due(CLOCK.time()):
                    if isinstance(action, Log):
                        _LOG.log(action.level, action.message, *action.arguments)
                    else:
                        self._start(action)
                delay = self._plan.next_at - CLOCK.time()
            except Exception:  # noqa: BLE001 - a bug in this package must not leave waiters without an end
                _LOG.exception("Polling the jobs of workspace %s failed; polling goes on.", self._workspace_id)
                delay = RESTART_DELAY
            await CLOCK.wait_event(self._wakeup, max(delay, 0.0))

    def _start(self, request: PollRequest) -> None:
        task = self._spawn(self._perform(request))
        if isinstance(request, PollById):
            self._polls[request.job_id] = task

    async def _perform(self, request: PollRequest) -> None:
        """Send a request, and pass its result to the plan and to the waiters."""
        updates: Iterable[Update]
        try:
            found = await self._run_flow(self._flow(request))
            updates = self._plan.apply(request, found, CLOCK.time())
        except AirbyteError as error:
            updates = self._plan.fail(request, error, CLOCK.time())
        except Exception as error:  # noqa: BLE001 - a bug in this package
            what = f"job {request.job_id}" if isinstance(request, PollById) else "the list of jobs"
            _LOG.exception("Polling %s failed.", what)
            # The exception's message may contain anything, so it is left out.
            failure = AirbyteError(f"Polling {what} failed with an unexpected {type(error).__name__}.")
            updates = self._plan.fail(request, failure, CLOCK.time())
        if isinstance(request, PollById):
            self._polls.pop(request.job_id, None)  # what follows may concern other jobs, so it must not be cancelled
        self._wakeup.set()
        await self._notify(updates)

    def _flow(self, request: PollRequest) -> Flow[Any]:
        if isinstance(request, PollById):
            return jobs.get_job(request.job_id, NO_RETRY)
        if isinstance(request, ListUpdated):
            return resources.fetch_updated_jobs_page(self._workspace_id, request.since, request.offset)
        return resources.fetch_jobs_page(self._workspace_id, request.status, request.offset)

    async def _notify(self, updates: Iterable[Update]) -> None:
        """Pass updates to the waiters, a few in each step of the event loop."""
        async with self._notifying:
            for number, (tracked, outcome, at) in enumerate(updates):
                for waiter in self._waiters.get(tracked.job_id, ()):
                    waiter.notify(outcome, now=at)
                await yield_every(number)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = create_background_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
