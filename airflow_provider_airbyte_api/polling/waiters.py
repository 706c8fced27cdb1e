"""Waiters for a job that the shared poller polls."""

from __future__ import annotations

import asyncio
import copy
from typing import Protocol

from airflow_provider_airbyte_api.api import progress
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.poll_plan import TrackedJob
from airflow_provider_airbyte_api.api.wait import Poll
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.exceptions import AirbyteError, AirbyteUnreachableError, is_recoverable_while_waiting

LAST_POLL_TIMEOUT = 60.0
"""Seconds after a deadline in which the last poll of the job may finish.

It is less than ``DEFERRAL_TIMEOUT_MARGIN``, after which Airflow itself ends the deferral.
"""


class PollLoop(Protocol):
    """The interface of the poll loop that a waiter needs."""

    def refresh(self, tracked: TrackedJob) -> None:
        """Take over the intervals and the deadlines of a job's waiters."""

    def is_unreachable(self, tracked: TrackedJob) -> bool:
        """Return True if the last poll that concerned the job failed."""

    def poll_count(self, tracked: TrackedJob) -> int:
        """Return how often the job was polled, lists included."""


class Waiter:
    """A waiter for updates of one job.

    ``deadline`` is the time of an update in any case, in seconds since the epoch; None if there is none.
    """

    __slots__ = ("_poll", "_poller", "_update", "deadline", "interval", "tracked")

    def __init__(self, poller: PollLoop, tracked: TrackedJob, interval: float) -> None:
        self._poller = poller
        self.tracked = tracked
        self.interval = interval
        self.deadline: float | None = None
        self._poll = Poll(0.0, None, None)
        self._update: asyncio.Future[Job | AirbyteError] | None = None

    @property
    def poll_count(self) -> int:
        """The number of polls of the job, lists included."""
        return self._poller.poll_count(self.tracked)

    @property
    def seen_at(self) -> float:
        """The time of the request that :attr:`job` is from, in seconds since the epoch."""
        return self.tracked.seen_at

    @property
    def job(self) -> Job | None:
        """The job as last seen; None if it was never seen, or during an outage."""
        return None if self._poller.is_unreachable(self.tracked) else self.tracked.job

    async def wait(self, poll: Poll) -> Job | AirbyteError:
        """Return the first update of the job.

        An update is a status other than ``poll.last_status``, the start of an outage, or the end of one
        (``poll.last_status`` is then None). From ``poll.report_at`` on, so are other rows or bytes than
        ``poll.last_numbers``. At ``poll.deadline`` the result of one last poll is an update in any case, and so is the
        unchanged job after :data:`~.api.progress.PROGRESS_LOG_INTERVAL`.
        """
        loop = asyncio.get_running_loop()
        self._update = loop.create_future()
        self._poll = poll
        # A little later, because a wait measures the interval by another clock.
        timers = [loop.call_later(progress.PROGRESS_LOG_INTERVAL * 1.01, self._show_again)]
        if poll.deadline is not None:
            timeout = max(poll.deadline - CLOCK.time(), 0.0) + LAST_POLL_TIMEOUT
            timers.append(loop.call_later(timeout, self._no_poll_in_time))
            self._set_deadline(poll.deadline)
        if self.job is not None:
            self.notify(self.job)  # the job may have changed while the waiter handled its last update
        try:
            return await self._update
        finally:
            self._update = None
            for timer in timers:
                timer.cancel()

    def notify(self, outcome: Job | AirbyteError, *, now: float | None = None) -> None:
        """Wake the waiter if ``outcome`` is new, or if ``now`` is at or after its deadline."""
        overdue = now is not None and self.deadline is not None and now >= self.deadline
        if isinstance(outcome, Job):
            is_new = outcome.status != self._poll.last_status or self._has_progressed(outcome, now)
        else:
            is_new = self._poll.last_status is not None or not is_recoverable_while_waiting(outcome)
        if is_new or overdue:
            # Each waiter raises the error, so each gets its own copy.
            self._wake(outcome if isinstance(outcome, Job) else copy.copy(outcome))

    def _has_progressed(self, job: Job, now: float | None) -> bool:
        numbers = progress.numbers_of(job)
        if numbers in (self._poll.last_numbers, (None, None)):
            return False
        return (CLOCK.time() if now is None else now) >= self._poll.report_at

    def _show_again(self) -> None:
        """Wake the waiter with the unchanged job, so that it logs its progress."""
        if self.job is not None:
            self._wake(self.job)

    def _no_poll_in_time(self) -> None:
        """Wake the waiter if no poll has finished after its deadline, so that the deadline always holds."""
        self._wake(
            AirbyteUnreachableError(
                f"Job {self.tracked.job_id}: no poll ended within {LAST_POLL_TIMEOUT:.0f} s after the deadline, for "
                "Airbyte has not answered earlier requests."
            )
        )

    def _wake(self, outcome: Job | AirbyteError) -> None:
        if self._update is None or self._update.done():
            return
        self._update.set_result(outcome)
        if self.deadline is not None:
            self._set_deadline(None)

    def _set_deadline(self, deadline: float | None) -> None:
        self.deadline = deadline
        self._poller.refresh(self.tracked)
