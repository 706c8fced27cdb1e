"""Waiters for a job, and the state of a tracked job."""

from __future__ import annotations

import asyncio
import copy
from typing import Protocol

from airflow_provider_airbyte_api.api.backoff import Outage
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.wait import Poll
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.exceptions import AirbyteError, AirbyteUnreachableError, is_recoverable_while_waiting

LAST_POLL_TIMEOUT = 60.0
"""Seconds after a deadline in which the last poll of the job may finish.

It is less than ``DEFERRAL_TIMEOUT_MARGIN``, after which Airflow itself ends the deferral.
"""


class PollLoop(Protocol):
    """The interface of the poll loop that a waiter needs."""

    @property
    def is_unreachable(self) -> bool:
        """Return True during an outage of Airbyte."""

    def schedule_wakeup(self, now: float) -> None:
        """Poll the job at ``now``, in seconds since the epoch, or earlier."""


class Waiter:
    """A waiter for updates of one job."""

    __slots__ = ("_known", "_news", "_until", "interval", "poller", "watched")

    def __init__(self, poller: PollLoop, tracked: TrackedJob, interval: float) -> None:
        self.poller = poller
        self.watched = tracked
        self.interval = interval
        self._known: str | None = None
        self._until: float | None = None
        self._news: asyncio.Future[Job | AirbyteError] | None = None

    @property
    def poll_count(self) -> int:
        """The number of polls of the job, lists included."""
        return self.watched.poll_count

    @property
    def deadline(self) -> float | None:
        """The time of an update in any case, in seconds since the epoch; None if there is none."""
        return self._until

    async def wait(self, poll: Poll) -> Job | AirbyteError:
        """Return the first update of the job.

        An update is a status other than ``poll.last_status``, the start of an outage, or the end of one
        (``poll.last_status`` is then None). At ``poll.deadline`` the result of one last poll is an update in any case.
        """
        loop = asyncio.get_running_loop()
        self._news = loop.create_future()
        self._known = poll.last_status
        alarm = None
        if poll.deadline is not None:
            alarm = loop.call_later(max(poll.deadline - CLOCK.time(), 0.0) + LAST_POLL_TIMEOUT, self._no_poll_in_time)
        self._set_until(poll.deadline)
        if self.watched.job is not None and not (self.watched.is_unreachable or self.poller.is_unreachable):
            self.notify(self.watched.job)  # the job may have changed while the waiter handled its last update
        try:
            return await self._news
        finally:
            self._news = None
            if alarm is not None:
                alarm.cancel()

    def notify(self, outcome: Job | AirbyteError, *, now: float | None = None) -> None:
        """Wake the waiter if ``outcome`` is new, or if ``now`` is at or after its deadline."""
        if self._news is None or self._news.done():
            return
        overdue = now is not None and self._until is not None and now >= self._until
        if isinstance(outcome, Job):
            is_news = outcome.status != self._known
        else:
            is_news = self._known is not None or not is_recoverable_while_waiting(outcome)
        if is_news or overdue:
            # Each waiter raises the error, so each gets its own copy.
            self._news.set_result(outcome if isinstance(outcome, Job) else copy.copy(outcome))
            self._set_until(None)

    def _no_poll_in_time(self) -> None:
        """Wake the waiter if no poll has finished after its deadline, so that the deadline always holds."""
        if self._news is None or self._news.done():
            return
        self._news.set_result(
            AirbyteUnreachableError(
                f"Job {self.watched.job_id}: no poll ended within {LAST_POLL_TIMEOUT:.0f} s after the deadline, for "
                "Airbyte has not answered earlier requests."
            )
        )
        self._set_until(None)

    def _set_until(self, now: float | None) -> None:
        self._until = now
        self.watched.recompute()
        if now is not None:
            self.poller.schedule_wakeup(now)


class TrackedJob:
    """A job with its waiters and the state of its polls. Times are in seconds since the epoch."""

    __slots__ = (
        "deadline",
        "interval",
        "is_listed",
        "job",
        "job_id",
        "last_seen_at",
        "next_poll_at",
        "outage",
        "poll_count",
        "poll_task",
        "scan_count",
        "waiters",
    )

    def __init__(self, job_id: int, due: float) -> None:
        self.job_id = job_id
        self.next_poll_at = due
        self.waiters: list[Waiter] = []
        self.interval = 0.0
        self.deadline: float | None = None
        self.job: Job | None = None
        self.last_seen_at = 0.0
        self.poll_count = 0
        self.is_listed = False
        self.scan_count = 0
        self.outage: Outage | None = None
        self.poll_task: asyncio.Task[None] | None = None

    @property
    def is_unreachable(self) -> bool:
        """True if the last poll of this job by its ID failed."""
        return self.outage is not None

    @property
    def is_covered(self) -> bool:
        """True if the lists cover this job, so that it need not be polled by its ID."""
        return self.is_listed and not self.is_unreachable

    def recompute(self) -> None:
        """Compute the interval and the deadline from the waiters. They are stored, because each poll reads them."""
        self.interval = min((waiter.interval for waiter in self.waiters), default=self.interval)
        self.deadline = min((waiter.deadline for waiter in self.waiters if waiter.deadline is not None), default=None)

    def notify_all(self, outcome: Job | AirbyteError, now: float) -> None:
        """Notify all waiters of the result of a poll."""
        for waiter in self.waiters:
            waiter.notify(outcome, now=now)
