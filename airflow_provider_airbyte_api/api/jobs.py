"""Flows that poll a job, wait until it is finished, and cancel it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_airbyte_api._defaults import (
    DEFAULT_POLL_INTERVAL,
    DEFAULT_UNREACHABLE_TIMEOUT,
    at_least_min_poll_interval,
)
from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.backoff import MAX_RETRY_AFTER, NO_RETRY, RetryPolicy, while_unreachable
from airflow_provider_airbyte_api.api.flow import (
    ANSWERS_AGAIN,
    Flow,
    Log,
    Sleep,
    WaitForUpdate,
    get_time,
    request_model,
    sleep_before_retry,
)
from airflow_provider_airbyte_api.api.models import KNOWN_STATUSES, Job, expecting
from airflow_provider_airbyte_api.exceptions import (
    AirbyteConflictError,
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
    AirbytePermissionError,
    AirbyteResponseError,
    AirbyteUnreachableError,
    is_recoverable_while_waiting,
)
from airflow_provider_airbyte_api.types import JobStatus

OUTAGE_BACKOFF = while_unreachable(DEFAULT_UNREACHABLE_TIMEOUT)
"""The delays between polls while Airbyte is unreachable."""

CANCEL_PATIENCE = 120.0
"""Timeout in seconds for a cancelled job to stop, and for the attempts to cancel it."""

CANCEL = RetryPolicy(attempts=12, timeout=CANCEL_PATIENCE, wait_initial=2.0, wait_max=15.0, is_known=True)
"""The policy for cancelling a job: see :func:`cancel_and_wait`."""

GRACE = 30.0
"""Seconds from the start of a wait during which one "not found" is tolerated for a job that Airbyte has shown before.

Airbyte may read its database from a replica that lags behind.
"""

GRACE_PAUSE = 5.0
"""Seconds before the next poll in that case."""

PROGRESS_LOG_INTERVAL = 600.0
"""Seconds between two log lines of a wait without a change of status."""

QUEUED_STATUSES = frozenset({JobStatus.PENDING.value, JobStatus.QUEUED.value})
"""The statuses of a job that has not started yet."""


@dataclass(frozen=True)
class WaitOptions:
    """How to wait: see :func:`wait_for_job`. Durations are in seconds, deadlines in seconds since the epoch.

    A ``poll_interval`` below ``MIN_POLL_INTERVAL`` in ``_defaults`` counts as that minimum.
    """

    poll_interval: float = DEFAULT_POLL_INTERVAL
    deadline: float | None = None
    queue_deadline: float | None = None
    unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT
    initial_delay: float = 0.0
    is_seen: bool = False
    """True if Airbyte has shown the job before this wait, as it has to the task that started it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "poll_interval", at_least_min_poll_interval(self.poll_interval))


@dataclass(frozen=True)
class WaitResult:
    """A finished job, and how often it was polled."""

    job: Job
    poll_count: int


def get_job(
    job_id: int,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
    *,
    is_seen: bool = False,
) -> Flow[Job]:
    """Return the job.

    :param is_seen: True if Airbyte has shown the job before.
    :raises AirbyteNotFoundError: if the job does not exist or is not visible. Airbyte answers this with 403, 404 or
        409, depending on its edition.
    """
    try:
        return (yield from request_model(endpoints.get_job(job_id), expecting(Job.from_json, job_id=job_id), retry))
    except (AirbytePermissionError, AirbyteNotFoundError, AirbyteConflictError) as error:
        not_found = error.with_hint(
            f"There is no job {job_id}, or the user who created the application may not see it. Check job_id, and "
            "that it belongs to the Airbyte that the Airflow connection names.",
            error_class=AirbyteNotFoundError,
        )
        raise (no_longer_visible(job_id, not_found) if is_seen else not_found) from None


def no_longer_visible(job_id: int, error: AirbyteResponseError) -> AirbyteResponseError:
    """Return ``error``, which reports a missing job, with the hint for a job that Airbyte has shown before."""
    return error.with_hint(
        f"Job {job_id} is no longer visible: it was deleted in Airbyte, or the user who created the application lost "
        "access to its workspace. Check both in Airbyte; the job may still be running.",
        error_class=AirbyteNotFoundError,
    )


@dataclass
class Outage:
    """Tracks an outage and its backoff. ``since`` is its start, in seconds since the epoch."""

    failures: int = 0
    since: float = 0.0

    def record_failure(self, error: Exception, now: float) -> float:
        """Count one more failure, and return the seconds to wait before the next poll."""
        self.failures += 1
        if self.failures == 1:
            self.since = now
        asked_for = getattr(error, "retry_after", None) or 0.0
        return max(OUTAGE_BACKOFF.backoff(self.failures), min(asked_for, MAX_RETRY_AFTER))

    def reset(self) -> None:
        """End the outage: Airbyte has answered."""
        self.failures = 0


@dataclass(frozen=True)
class PollRequest:
    """The parameters of a poll: it starts after ``delay`` seconds, and no later than ``deadline``.

    ``last_status`` is the job's status as the caller knows it, or None while Airbyte is unreachable.
    """

    job_id: int
    delay: float
    deadline: float | None
    last_status: str | None


PollFunc: TypeAlias = Callable[[PollRequest], Flow[Job]]
"""A function that polls a job: it returns the job, or raises the reason why its status is unknown."""


def wait_for_job(job_id: int, options: WaitOptions, poll: PollFunc | None = None) -> Flow[WaitResult]:
    """Return the job once it is finished, with any terminal status.

    The job is polled after ``initial_delay``, then every ``poll_interval``. An outage of Airbyte is not a failed sync:
    the wait continues for up to ``unreachable_timeout``, with one log line at its start and one at its end. The status
    is checked before the deadlines, so a job that finished in time is never reported as late.

    :param poll: how to poll, by default :func:`poll_after_delay`.
    :raises AirbyteJobTimeoutError: if the job is not finished at ``deadline``, or has not started at
        ``queue_deadline``. It keeps running in Airbyte.
    :raises AirbyteUnreachableError: if Airbyte was unreachable for longer than ``unreachable_timeout``.
    :raises AirbyteError: at once, if waiting cannot help.
    """
    wait = _JobWait(job_id, options, poll or poll_after_delay, delay=options.initial_delay)
    while True:
        job = yield from wait.poll_once()
        if job is not None and job.is_terminal:
            return WaitResult(job, wait.poll_count)
        now = yield from get_time()
        wait.check_deadlines(now)


def sleep_until(seconds: float, until: float | None) -> Flow[None]:
    """Sleep for ``seconds``, but no longer than until ``until``, in seconds since the epoch."""
    if not seconds:
        return
    now = yield from get_time()
    if until is None or now + seconds < until:
        yield Sleep(seconds)
    elif now < until:
        yield Sleep(until - now, jitter=0.0)


def poll_after_delay(poll_request: PollRequest) -> Flow[Job]:
    """Sleep for the delay of ``poll_request``, and return the job."""
    yield from sleep_until(poll_request.delay, poll_request.deadline)
    return (yield from get_job(poll_request.job_id, NO_RETRY))


def wait_for_update(poll_request: PollRequest) -> Flow[Job]:
    """Return the job when the shared polling service, which does the polling, has an update."""
    job: Job = yield WaitForUpdate(poll_request.last_status, poll_request.deadline)
    return job


def cancel_job(
    job_id: int,
    retry: RetryPolicy = CANCEL,
    read_timeout: float = endpoints.START_CANCEL_TIMEOUT,
    *,
    is_seen: bool = False,
) -> Flow[Job]:
    """Cancel the job unless it is finished, and return it in its state after that.

    Airbyte's cancel stops *whatever runs on the job's connection*. So each request is preceded by a poll, and a
    finished job is left alone, because a newer one may be running. If Airbyte finds nothing to cancel, that counts as
    success. A failed request is repeated while the job still runs.

    :param retry: the attempts, and the delays between them.
    :param is_seen: True if Airbyte has shown the job before.
    :raises AirbyteNotFoundError: if the job does not exist or is not visible.
    :raises AirbyteError: if the last attempt failed, or no attempt can succeed, and the job still runs.
    """
    started_at = yield from get_time()
    failures = 0
    while True:
        try:
            job = yield from get_job(job_id, NO_RETRY, is_seen=is_seen)
            is_seen = True
            return job if job.is_terminal else (yield from _request_cancel(job_id, read_timeout))
        except AirbyteError as error:
            if not _is_worth_another_cancel(error, is_seen=is_seen):
                raise
            failure = error
        failures += 1
        yield from sleep_before_retry(retry, failures, started_at, failure)


def _request_cancel(job_id: int, read_timeout: float) -> Flow[Job]:
    """Send one cancel request for a running job, and return the job in its state after that."""
    try:
        job = yield from request_model(
            endpoints.cancel_job(job_id, read_timeout), expecting(Job.from_json, job_id=job_id), NO_RETRY
        )
    except AirbyteError as error:
        if not (error.outcome_unknown or isinstance(error, AirbyteConflictError)):
            raise
        # Airbyte may have cancelled the job, or there was nothing left to cancel: poll the job to find out.
        job = yield from get_job(job_id, NO_RETRY, is_seen=True)
        if not job.is_terminal:
            raise
    yield Log("Asked Airbyte to cancel job %d; its status is %s.", (job_id, job.status))
    return job


def _is_worth_another_cancel(error: AirbyteError, *, is_seen: bool) -> bool:
    if not is_seen:
        return error.retryable
    return is_recoverable_while_waiting(error) or isinstance(error, AirbyteConflictError)


def cancel_and_wait(
    job_id: int,
    retry: RetryPolicy = CANCEL,
    read_timeout: float = endpoints.START_CANCEL_TIMEOUT,
    *,
    is_seen: bool = True,
) -> Flow[Job]:
    """Cancel the job unless it is finished, and return it once it is finished, or when the timeout of ``retry`` ends.

    If the job still runs a while after Airbyte accepted the request, it is cancelled again.

    :param retry: the attempts, and the timeout for all of them. Its first delay is also the one between two polls, its
        longest the one between two accepted requests.
    :param is_seen: True if Airbyte has shown the job before.
    :raises AirbyteError: as :func:`cancel_job`.
    """
    started_at = yield from get_time()
    while True:
        job = yield from cancel_job(job_id, retry, read_timeout, is_seen=is_seen)
        is_seen = True
        now = yield from get_time()
        until = min(now + retry.wait_max, started_at + retry.timeout)
        while not job.is_terminal and now < until:
            yield Sleep(retry.wait_initial)
            job = yield from get_job(job_id, retry, is_seen=True)
            now = yield from get_time()
        if job.is_terminal or now >= started_at + retry.timeout:
            return job


def progress_log(job: Job, now: float) -> Log:
    """Return the log line that a wait repeats at intervals."""
    if job.start_time is None:
        return Log("Job %d is still %s.", (job.job_id, job.status))
    minutes = (now - job.start_time.timestamp()) / 60
    return Log("Job %d is still %s, %.0f min after its start.", (job.job_id, job.status, minutes))


@dataclass
class _JobWait:
    """Polls a job repeatedly, and tracks how long Airbyte has been unreachable."""

    job_id: int
    options: WaitOptions
    poll: PollFunc
    delay: float
    status: str = "unknown"
    last_logged_at: float = 0.0
    poll_count: int = 0
    has_started: bool = False
    began: float | None = None
    has_had_grace: bool = False

    def __post_init__(self) -> None:
        self.outage = Outage()

    def poll_once(self) -> Flow[Job | None]:
        """Return the job, or None while Airbyte is unreachable."""
        last_status = None if self.outage.failures else self.status
        poll_request = PollRequest(self.job_id, self.delay, self._next_deadline, last_status)
        self.delay = self.options.poll_interval
        self.poll_count += 1
        if self.began is None:
            self.began = yield from get_time()
        try:
            job = yield from self.poll(poll_request)
        except AirbyteNotFoundError as error:
            yield from self._not_visible(error)
            return None
        except AirbyteError as error:
            # A response from a gateway is no reason to wait for a job that Airbyte has never shown.
            if not (is_recoverable_while_waiting(error) if self._is_seen else error.retryable):
                raise
            yield from self._on_poll_error(error)
            return None
        if self.outage.failures:
            yield Log(ANSWERS_AGAIN)
            self.outage.reset()
        now = yield from get_time()
        if job.status != self.status:
            self.status, self.last_logged_at = job.status, now
            self.has_started = self.has_started or job.status not in QUEUED_STATUSES
            yield self._status_log()
        elif now - self.last_logged_at >= PROGRESS_LOG_INTERVAL:
            self.last_logged_at = now
            yield progress_log(job, now)
        return job

    def check_deadlines(self, now: float) -> None:
        """Raise an error if a deadline has passed."""
        if self._deadline is not None and now >= self._deadline:
            waits = "has not begun" if self.status in QUEUED_STATUSES else "is not finished"
            raise AirbyteJobTimeoutError(
                f"Job {self.job_id} {waits} in the time given; its status is {self.status}.", job_id=self.job_id
            )

    @property
    def _is_seen(self) -> bool:
        return self.status != "unknown" or self.options.is_seen or self.options.initial_delay > 0

    @property
    def _deadline(self) -> float | None:
        """The current deadline. The queue deadline no longer applies to a job that has started."""
        return min_or_none(self.options.deadline, None if self.has_started else self.options.queue_deadline)

    @property
    def _next_deadline(self) -> float | None:
        """The earliest time at which the wait may end, regardless of the job."""
        patience_ends = self.outage.since + self.options.unreachable_timeout if self.outage.failures else None
        return min_or_none(self._deadline, patience_ends)

    def _not_visible(self, error: AirbyteNotFoundError) -> Flow[None]:
        """Raise ``error``, unless the job is so new that Airbyte may not show it yet."""
        if not self._is_seen:
            raise error
        now = yield from get_time()
        is_young = now - (self.began or now) <= GRACE
        if self.has_had_grace or not is_young:
            raise no_longer_visible(self.job_id, error)
        self.has_had_grace = True
        self.delay = min(self.delay, GRACE_PAUSE)
        yield Log(
            "Airbyte does not show job %d at present; polling it once more. It answered %d: %s",
            (self.job_id, error.status, error.detail),
            logging.WARNING,
        )

    def _on_poll_error(self, error: AirbyteError) -> Flow[None]:
        now = yield from get_time()
        self.delay = max(self.delay, self.outage.record_failure(error, now))
        if self.outage.failures == 1:
            yield Log(
                "Airbyte cannot tell how job %d is doing; waiting all the same, for %.0f min at the most. %s",
                (self.job_id, self.options.unreachable_timeout / 60, error),
                logging.WARNING,
            )
        away = now - self.outage.since
        if away >= self.options.unreachable_timeout:
            raise AirbyteUnreachableError(
                f"Airbyte has not told for {away:.0f} s how job {self.job_id} is doing, and it may still run. {error}"
            ) from error

    def _status_log(self) -> Log:
        if self.status in KNOWN_STATUSES:
            return Log("Job %d is %s.", (self.job_id, self.status))
        return Log(
            "Job %d is %r, a status that this version does not know: waiting on for succeeded, failed or cancelled.",
            (self.job_id, self.status),
            logging.WARNING,
        )


def min_or_none(*moments: float | None) -> float | None:
    """Return the earliest of ``moments``, or None if all are None."""
    return min((each for each in moments if each is not None), default=None)
