"""Looking at a job, waiting for its end, and cancelling it, as conversations."""

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
from airflow_provider_airbyte_api.api.models import KNOWN_STATUSES, Job, JobStatus, expecting
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

OUTAGE_BACKOFF = while_unreachable(DEFAULT_UNREACHABLE_TIMEOUT)
"""The pauses between two looks while Airbyte is away."""

CANCEL_PATIENCE = 120.0
"""Seconds for a job that was cancelled to stop, and for attempts to cancel it."""

CANCEL = RetryPolicy(attempts=12, timeout=CANCEL_PATIENCE, wait_initial=2.0, wait_max=15.0, is_known=True)
"""Attempts to cancel a job: see :func:`cancel_and_wait`."""

GRACE = 30.0
"""Seconds from the beginning of a wait within which Airbyte may say, once, that there is no job that it has shown.

It may read its database from a replica that lags behind.
"""

GRACE_PAUSE = 5.0
"""Seconds before it is asked again then."""

PROGRESS_LOG_INTERVAL = 600.0
"""Seconds after which one who waits says that nothing has changed."""

QUEUED_STATUSES = frozenset({JobStatus.PENDING.value, JobStatus.QUEUED.value})
"""The statuses of a job that has not begun."""


@dataclass(frozen=True)
class WaitOptions:
    """How to wait: see :func:`wait_for_job`. Times are in seconds, deadlines in seconds since the epoch.

    A ``poll_interval`` below :data:`~.defaults.MIN_POLL_INTERVAL` counts as that one.
    """

    poll_interval: float = DEFAULT_POLL_INTERVAL
    deadline: float | None = None
    queue_deadline: float | None = None
    unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT
    initial_delay: float = 0.0
    is_seen: bool = False
    """True if Airbyte has shown the job before this wait, as it has to whoever started it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "poll_interval", at_least_min_poll_interval(self.poll_interval))


@dataclass(frozen=True)
class WaitResult:
    """A finished job, and how often it was looked at."""

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
    :raises AirbyteNotFoundError: for a job that does not exist or may not be seen. Airbyte says that with 403, 404
        or 409, depending on its edition.
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
    """Return ``error``, which says that there is no job, as it is to be said of a job that Airbyte has shown."""
    return error.with_hint(
        f"Job {job_id} is no longer visible: it was deleted in Airbyte, or the user who created the application lost "
        "access to its workspace. Check both in Airbyte; the job may still be running.",
        error_class=AirbyteNotFoundError,
    )


@dataclass
class Outage:
    """For how long Airbyte has been away, and when to look again. ``since`` is in seconds since the epoch."""

    failures: int = 0
    since: float = 0.0

    def record_failure(self, error: Exception, now: float) -> float:
        """Count one more failure, and return the seconds to let pass before the next look."""
        self.failures += 1
        if self.failures == 1:
            self.since = now
        asked_for = getattr(error, "retry_after", None) or 0.0
        return max(OUTAGE_BACKOFF.backoff(self.failures), min(asked_for, MAX_RETRY_AFTER))

    def reset(self) -> None:
        """Airbyte has answered."""
        self.failures = 0


@dataclass(frozen=True)
class PollRequest:
    """What is asked of a look: to come after ``pause`` seconds, and no later than ``until``.

    ``known`` is what who asks knows of the job: its status, or None while Airbyte is away.
    """

    job_id: int
    delay: float
    deadline: float | None
    last_status: str | None


PollFunc: TypeAlias = Callable[[PollRequest], Flow[Job]]
"""A way to look at a job: it returns the job, or raises why Airbyte cannot tell."""


def wait_for_job(job_id: int, options: WaitOptions, poll: PollFunc | None = None) -> Flow[WaitResult]:
    """Return the job once it is finished, however it ended.

    It is looked at after ``first_pause``, then every ``poll_interval``. Trouble on the way to Airbyte is not a failed
    sync: it is ridden out for ``unreachable_timeout``, with a line in the log when it begins and one when it is over.
    The status is looked at before the clock, so a job that finished in time is never reported late.

    :param look: how to look, by default :func:`poll_after_delay`.
    :raises AirbyteJobTimeoutError: if the job is not finished at ``deadline``, or has not begun at ``queue_deadline``.
        It still runs in Airbyte.
    :raises AirbyteUnreachableError: if Airbyte was away for longer than ``unreachable_timeout``.
    :raises AirbyteError: at once, for what cannot heal.
    """
    wait = _JobWait(job_id, options, poll or poll_after_delay, delay=options.initial_delay)
    while True:
        job = yield from wait.poll_once()
        if job is not None and job.is_terminal:
            return WaitResult(job, wait.poll_count)
        now = yield from get_time()
        wait.check_deadlines(now)


def sleep_until(seconds: float, until: float | None) -> Flow[None]:
    """Let ``seconds`` pass, but be back at ``until``, in seconds since the epoch."""
    if not seconds:
        return
    now = yield from get_time()
    if until is None or now + seconds < until:
        yield Sleep(seconds)
    elif now < until:
        yield Sleep(until - now, jitter=0.0)


def poll_after_delay(poll_request: PollRequest) -> Flow[Job]:
    """Let the pause pass, and ask for the job."""
    yield from sleep_until(poll_request.delay, poll_request.deadline)
    return (yield from get_job(poll_request.job_id, NO_RETRY))


def wait_for_update(poll_request: PollRequest) -> Flow[Job]:
    """Leave it to a watch over many jobs to look, and to say when there is something new."""
    job: Job = yield WaitForUpdate(poll_request.last_status, poll_request.deadline)
    return job


def cancel_job(
    job_id: int,
    retry: RetryPolicy = CANCEL,
    read_timeout: float = endpoints.START_CANCEL_TIMEOUT,
    *,
    is_seen: bool = False,
) -> Flow[Job]:
    """Cancel the job if it is not finished, and return it as it is then.

    Airbyte's cancel stops *whatever runs on the job's connection*, so before each request the job is looked at, and one
    that is finished is left alone: a newer one may be running. That Airbyte finds nothing to cancel is as good. A
    request that failed is repeated while the job still runs.

    :param retry: the attempts, and the delays between them.
    :param is_seen: True if Airbyte has shown the job before.
    :raises AirbyteNotFoundError: for a job that does not exist or may not be seen.
    :raises AirbyteError: if the last attempt failed, or cannot succeed, and the job still runs.
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
    """Send one cancel request for a job that runs, and return the job as it is then."""
    try:
        job = yield from request_model(
            endpoints.cancel_job(job_id, read_timeout), expecting(Job.from_json, job_id=job_id), NO_RETRY
        )
    except AirbyteError as error:
        if not (error.outcome_unknown or isinstance(error, AirbyteConflictError)):
            raise
        # Airbyte may have obeyed, or there was nothing to cancel any more: the job tells.
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
    """Cancel the job unless it is finished, and return it once it is, or as it is when the time of ``retry`` is over.

    If it still runs a while after Airbyte accepted the request, it is cancelled again.

    :param retry: the attempts, and the time for all of them. Its first delay is also that between two polls, its
        longest that between two requests that Airbyte accepted.
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
    """Return what one who waits says now and then."""
    if job.start_time is None:
        return Log("Job %d is still %s.", (job.job_id, job.status))
    minutes = (now - job.start_time.timestamp()) / 60
    return Log("Job %d is still %s, %.0f min after its start.", (job.job_id, job.status, minutes))


@dataclass
class _JobWait:
    """Looks at a job again and again, and knows for how long Airbyte has been away."""

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
        """Return the job, or None while Airbyte is away."""
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
            # An odd page is no reason to wait for a job that nobody has seen before.
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
        """Raise if a deadline has passed."""
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
        """The deadline that counts now: a job that has begun has left the queue for good."""
        return min_or_none(self.options.deadline, None if self.has_started else self.options.queue_deadline)

    @property
    def _next_deadline(self) -> float | None:
        """The moment at which the wait may be over, whatever the job does."""
        patience_ends = self.outage.since + self.options.unreachable_timeout if self.outage.failures else None
        return min_or_none(self._deadline, patience_ends)

    def _not_visible(self, error: AirbyteNotFoundError) -> Flow[None]:
        """Raise ``error``, unless the job is so young that Airbyte may not show it yet."""
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
