"""Waits as state machines: they decide when to poll next, what to log, and when to give up.

They do no I/O and read no clock. A caller feeds a wait the result of each poll with the time, and performs the
:class:`Poll` that it returns, until it returns :class:`Done`. So a worker, a sensor's poke and the shared polling
service of the triggerer wait by the same rules.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from airflow_provider_airbyte_api._defaults import (
    DEFAULT_POLL_INTERVAL,
    DEFAULT_UNREACHABLE_TIMEOUT,
    at_least_min_poll_interval,
)
from airflow_provider_airbyte_api.api.backoff import Outage, while_unreachable
from airflow_provider_airbyte_api.api.flow import Flow, Log, Sleep, get_time, recovery_logs, retry_logs
from airflow_provider_airbyte_api.api.models import KNOWN_STATUSES, Job
from airflow_provider_airbyte_api.api.progress import REPORT_INTERVAL, Numbers, Progress, format_numbers
from airflow_provider_airbyte_api.exceptions import (
    AirbyteError,
    AirbyteJobStalledError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
    AirbyteResponseError,
)
from airflow_provider_airbyte_api.types import JobStatus

NOT_FOUND_GRACE = 30.0
"""Seconds from the start of a wait during which one "not found" is tolerated for a job that Airbyte has shown before.

Airbyte may read its database from a replica that lags behind.
"""

NOT_FOUND_DELAY = 5.0
"""Seconds before the next poll in that case."""

QUEUED_STATUSES = frozenset({JobStatus.PENDING.value, JobStatus.QUEUED.value})
"""The statuses of a job that has not started yet."""


@dataclass(frozen=True)
class WaitOptions:
    """How to wait. Durations are in seconds, deadlines in seconds since the epoch.

    A ``poll_interval`` below ``MIN_POLL_INTERVAL`` in ``_defaults`` counts as that minimum.
    """

    poll_interval: float = DEFAULT_POLL_INTERVAL
    deadline: float | None = None
    queue_deadline: float | None = None
    unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT
    initial_delay: float = 0.0
    known_to_exist: bool = False
    """True if Airbyte has shown the job before this wait, as it has to the task that started it."""

    stalled_timeout: float | None = None
    """Seconds for which the rows and bytes of a running job may stand still. None: no limit."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "poll_interval", at_least_min_poll_interval(self.poll_interval))


@dataclass(frozen=True)
class Poll:
    """Poll at ``at``, which is at most ``deadline``, the time at which a poll decides the wait in any case.

    ``last_status`` is the job's status as the wait knows it: empty before the first poll, None during an outage. From
    ``report_at`` on, other numbers than ``last_numbers`` are an update, too. Times are in seconds since the epoch.
    """

    at: float
    deadline: float | None
    last_status: str | None
    logs: tuple[Log, ...] = ()
    last_numbers: Numbers = (None, None)
    report_at: float = math.inf


class Done(NamedTuple):
    """The job has finished, with any terminal status."""

    job: Job
    logs: tuple[Log, ...] = ()


class Wait:
    """Base class of a wait.

    An outage of Airbyte does not end a wait: it continues for up to ``unreachable_timeout``, with one log line at the
    start of the outage and one at its end. The result of a poll is checked before the deadlines, so that what happened
    in time is never reported as late.

    :param options: the poll interval and the limits.
    :param now: start of the wait, in seconds since the epoch.
    :param unknown: what cannot be known during an outage, as the start of a log line.
    :param hint: what continues if the wait gives up during an outage.
    """

    def __init__(self, options: WaitOptions, now: float, unknown: str, hint: str = "") -> None:
        self.poll_count = 0
        self._options = options
        self._started_at = now
        policy = while_unreachable(options.unreachable_timeout, airbyte_confirmed=options.known_to_exist)
        self._outage = Outage(policy, unknown, hint)

    def first_poll(self) -> Poll:
        """Return the first poll."""
        return self._poll_after(self._options.initial_delay, self._started_at)

    @property
    def _deadline(self) -> float | None:
        return self._options.deadline

    @property
    def _last_status(self) -> str:
        return ""

    def _on_error(self, error: AirbyteError, now: float) -> tuple[float, tuple[Log, ...]]:
        """Return the delay and the log lines after a poll that failed, or raise if waiting cannot help."""
        retry = self._outage.on_error(error, now)
        return max(self._options.poll_interval, retry.delay), retry_logs(retry)

    def _poll_after(self, delay: float, now: float, logs: tuple[Log, ...] = ()) -> Poll:
        deadline = min_or_none(self._deadline, self._outage.ends_at)
        at = now + delay if deadline is None else min(now + delay, deadline)
        return Poll(at, deadline, None if self._outage.failures else self._last_status, logs)


class JobWait(Wait):
    """Waits until a job has finished."""

    def __init__(self, job_id: int, options: WaitOptions, now: float) -> None:
        super().__init__(
            options, now, f"Could not get the status of job {job_id}", f"Job {job_id} may still be running."
        )
        self.job_id = job_id
        self._status = ""
        self._progress = Progress(now)
        self._has_left_queue = False
        self._has_had_grace = False

    def on_poll(self, result: Job | AirbyteError, now: float, seen_at: float | None = None) -> Poll | Done:
        """Take the result of a poll, and return the next poll, or the finished job.

        :param seen_at: the time of the request that ``result`` is from. None: it is from a request just now.
        :raises AirbyteJobStalledError: if rows and bytes have stood still for ``stalled_timeout``.
        :raises AirbyteJobTimeoutError: if the job has not finished at ``deadline``, or has not started at
            ``queue_deadline``. It keeps running in Airbyte.
        :raises AirbyteUnreachableError: if Airbyte was unreachable for longer than ``unreachable_timeout``.
        :raises AirbyteError: ``result``, if waiting cannot help.
        """
        self.poll_count += 1
        if isinstance(result, AirbyteNotFoundError):
            delay, logs = self._on_not_found(result, now)
        elif isinstance(result, AirbyteError):
            delay, logs = self._on_error(result, now)
        else:
            delay, logs = self._options.poll_interval, self._on_job(result, now)
            if result.is_terminal:
                return Done(result, logs)
            self._check_progress(now if seen_at is None else seen_at)
        self._check_deadline(now)
        poll = self._poll_after(delay, now, logs)
        return replace(poll, last_numbers=self._progress.numbers, report_at=now + REPORT_INTERVAL)

    @property
    def _deadline(self) -> float | None:
        """The time at which a poll decides in any case."""
        return min_or_none(self._job_deadline, None if self._outage.failures else self._stalled_at)

    @property
    def _job_deadline(self) -> float | None:
        """The current deadline. The queue deadline no longer applies to a job that has started."""
        return min_or_none(self._options.deadline, None if self._has_left_queue else self._options.queue_deadline)

    @property
    def _stalled_at(self) -> float | None:
        """The time at which the job counts as stalled if its numbers stay the same. None: never."""
        limit = self._options.stalled_timeout
        is_measurable = self._status == JobStatus.RUNNING and self._progress.numbers != (None, None)
        return self._progress.changed_at + limit if limit is not None and is_measurable else None

    @property
    def _last_status(self) -> str:
        return self._status

    def _on_job(self, job: Job, now: float) -> tuple[Log, ...]:
        logs = recovery_logs(self._outage)
        self._has_left_queue = self._has_left_queue or job.status not in QUEUED_STATUSES
        if job.status != self._status:
            self._status = job.status
            self._progress.restart(job, now)
            return (*logs, _status_log(job))
        line = self._progress.feed(job, now)
        return logs if line is None else (*logs, line)

    def _on_not_found(self, error: AirbyteNotFoundError, now: float) -> tuple[float, tuple[Log, ...]]:
        """Poll again soon if the job is so new that Airbyte may not show it yet; else raise ``error``."""
        if not self._outage.policy.airbyte_confirmed:
            raise error
        if self._has_had_grace or now - self._started_at > NOT_FOUND_GRACE:
            raise no_longer_visible(self.job_id, error)
        self._has_had_grace = True
        message = "Airbyte does not show job %d yet; polling it again. The response was %d: %s"
        log = Log(message, (self.job_id, error.status, error.detail), logging.WARNING)
        return min(self._options.poll_interval, NOT_FOUND_DELAY), (log,)

    def _check_progress(self, seen_at: float) -> None:
        """Raise an error if the job has stalled, but only by a poll after that: older numbers may be out of date."""
        if self._stalled_at is None or seen_at < self._stalled_at:
            return
        raise AirbyteJobStalledError(
            f"Job {self.job_id} has stalled: its numbers have not changed for {self._options.stalled_timeout:g} s "
            f"({format_numbers(self._progress.numbers)}).",
            job_id=self.job_id,
        )

    def _check_deadline(self, now: float) -> None:
        if self._job_deadline is None or now < self._job_deadline:
            return
        what = "start" if self._status in QUEUED_STATUSES else "finish"
        raise AirbyteJobTimeoutError(
            f"Timed out waiting for job {self.job_id} to {what} (status: {self._status or 'unknown'}).",
            job_id=self.job_id,
        )


def sleep_until(poll: Poll) -> Flow[None]:
    """Sleep until ``poll.at``, exactly if that is the deadline."""
    now = yield from get_time()
    if now < poll.at:
        yield Sleep(poll.at - now, exact=poll.at == poll.deadline)


def no_longer_visible(job_id: int, error: AirbyteResponseError) -> AirbyteResponseError:
    """Return ``error``, which reports a missing job, with the hint for a job that Airbyte has shown before."""
    return error.with_hint(
        f"Job {job_id} is no longer visible: it was deleted in Airbyte, or the user who created the application lost "
        "access to its workspace. Check both in Airbyte; the job may still be running.",
        error_class=AirbyteNotFoundError,
    )


def min_or_none(*times: float | None) -> float | None:
    """Return the earliest of ``times``, or None if all are None."""
    return min((each for each in times if each is not None), default=None)


def _status_log(job: Job) -> Log:
    if job.status in KNOWN_STATUSES:
        return Log("Job %d is %s.", (job.job_id, job.status))
    return Log("Job %d has unknown status %r; treating it as not finished.", (job.job_id, job.status), logging.WARNING)
