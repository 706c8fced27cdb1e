"""Who waits for a job, and what the watch knows of that job."""

from __future__ import annotations

import asyncio
import copy
from typing import Protocol

from airflow_provider_airbyte_api.api.conversation import News
from airflow_provider_airbyte_api.api.errors import AirbyteError, AirbyteUnreachableError, may_heal
from airflow_provider_airbyte_api.api.jobs import Outage
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.clients.clock import CLOCK

LAST_POLL_TIMEOUT = 60.0
"""Seconds after a deadline within which one more poll may tell how the job is doing.

It is less than ``DEFERRAL_GRACE``, after which Airflow itself would end the deferral.
"""


class PollLoop(Protocol):
    """What one who waits needs of the poll loop that looks for it."""

    @property
    def is_away(self) -> bool:
        """Tell whether Airbyte does not answer."""

    def wake_by(self, moment: float) -> None:
        """See to it that the job is looked at then."""


class Waiter:
    """One who waits for news of a job."""

    __slots__ = ("_known", "_news", "_until", "interval", "poller", "watched")

    def __init__(self, poller: PollLoop, watched: WatchedJob, interval: float) -> None:
        self.poller = poller
        self.watched = watched
        self.interval = interval
        self._known: str | None = None
        self._until: float | None = None
        self._news: asyncio.Future[Job | AirbyteError] | None = None

    @property
    def looks(self) -> int:
        """How often the job was looked at, be it by a list."""
        return self.watched.looks

    @property
    def until(self) -> float | None:
        """When it wants to hear of the job in any case, in seconds since the epoch."""
        return self._until

    async def news(self, step: News) -> Job | AirbyteError:
        """Return the first news that :class:`~.api.conversation.News` asks for."""
        loop = asyncio.get_running_loop()
        self._news = loop.create_future()
        self._known = step.known
        alarm = None
        if step.until is not None:
            alarm = loop.call_later(max(step.until - CLOCK.time(), 0.0) + LAST_POLL_TIMEOUT, self._no_poll_in_time)
        self._set_until(step.until)
        if self.watched.job is not None and not (self.watched.is_away or self.poller.is_away):
            self.hear(self.watched.job)  # it may have changed while its last news was taken in
        try:
            return await self._news
        finally:
            self._news = None
            if alarm is not None:
                alarm.cancel()

    def hear(self, outcome: Job | AirbyteError, *, moment: float | None = None) -> None:
        """Wake up if this is news, or if ``moment`` is when to wake up anyway."""
        if self._news is None or self._news.done():
            return
        overdue = moment is not None and self._until is not None and moment >= self._until
        if isinstance(outcome, Job):
            is_news = outcome.status != self._known
        else:
            is_news = self._known is not None or not may_heal(outcome)
        if is_news or overdue:
            # An error is raised by each who hears it, and so must be its own.
            self._news.set_result(outcome if isinstance(outcome, Job) else copy.copy(outcome))
            self._set_until(None)

    def _no_poll_in_time(self) -> None:
        """Wake up at a deadline at which no poll of the job ends: whatever the poller does, the deadline holds."""
        if self._news is None or self._news.done():
            return
        self._news.set_result(
            AirbyteUnreachableError(
                f"Job {self.watched.job_id}: no poll ended within {LAST_POLL_TIMEOUT:.0f} s after the deadline, for "
                "Airbyte has not answered earlier requests."
            )
        )
        self._set_until(None)

    def _set_until(self, moment: float | None) -> None:
        self._until = moment
        self.watched.update()
        if moment is not None:
            self.poller.wake_by(moment)


class WatchedJob:
    """A job, who waits for it, and what the watch knows of it. Times are in seconds since the epoch."""

    __slots__ = (
        "due",
        "interval",
        "is_listed",
        "job",
        "job_id",
        "look",
        "looks",
        "outage",
        "scans",
        "seen_at",
        "until",
        "waiters",
    )

    def __init__(self, job_id: int, due: float) -> None:
        self.job_id = job_id
        self.due = due
        self.waiters: list[Waiter] = []
        self.interval = 0.0
        self.until: float | None = None
        self.job: Job | None = None
        self.seen_at = 0.0
        self.looks = 0
        self.is_listed = False
        self.scans = 0
        self.outage: Outage | None = None
        self.look: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        """True if Airbyte could not tell of this job when it was last asked for it by id."""
        return self.outage is not None

    @property
    def is_covered(self) -> bool:
        """True if the lists tell of this job, so that nobody has to ask for it by id."""
        return self.is_listed and not self.is_away

    def update(self) -> None:
        """Take over what those who wait want; it is kept, for it is looked at at each poll."""
        self.interval = min((waiter.interval for waiter in self.waiters), default=self.interval)
        self.until = min((waiter.until for waiter in self.waiters if waiter.until is not None), default=None)

    def tell(self, outcome: Job | AirbyteError, moment: float) -> None:
        """Let all who wait hear what came of a look."""
        for waiter in self.waiters:
            waiter.hear(outcome, moment=moment)
