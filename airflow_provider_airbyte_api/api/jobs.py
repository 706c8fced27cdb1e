"""Looking at a job, waiting for its end, and cancelling it, as conversations."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import (
    ANSWERS_AGAIN,
    Conversation,
    News,
    Pause,
    Say,
    call_for,
    now,
    pause_before_next_try,
)
from airflow_provider_airbyte_api.api.defaults import POLL_INTERVAL, UNREACHABLE_TIMEOUT, at_least_min_poll_interval
from airflow_provider_airbyte_api.api.errors import (
    AirbyteAccessError,
    AirbyteConflictError,
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
    AirbyteResponseError,
    AirbyteUnreachableError,
    may_heal,
)
from airflow_provider_airbyte_api.api.models import KNOWN, Job, JobStatus, expecting
from airflow_provider_airbyte_api.api.retry import LONGEST_RETRY_AFTER, ONCE, Retry, while_unreachable

AWAY = while_unreachable(UNREACHABLE_TIMEOUT)
"""The pauses between two looks while Airbyte is away."""

CANCEL_PATIENCE = 120.0
"""Seconds for a job that was cancelled to stop, and for attempts to cancel it."""

CANCEL = Retry(attempts=12, patience=CANCEL_PATIENCE, first_pause=2.0, longest_pause=15.0, is_known=True)
"""Attempts to cancel a job: see :func:`cancel_and_wait`."""

GRACE = 30.0
"""Seconds from the beginning of a wait within which Airbyte may say, once, that there is no job that it has shown.

It may read its database from a replica that lags behind.
"""

GRACE_PAUSE = 5.0
"""Seconds before it is asked again then."""

HEARTBEAT = 600.0
"""Seconds after which one who waits says that nothing has changed."""

IN_QUEUE = frozenset({JobStatus.PENDING.value, JobStatus.QUEUED.value})
"""The statuses of a job that has not begun."""


@dataclass(frozen=True)
class Patience:
    """How to wait: see :func:`wait_for_job`. Times are in seconds, deadlines in seconds since the epoch.

    A ``poll_interval`` below :data:`~.defaults.MIN_POLL_INTERVAL` counts as that one.
    """

    poll_interval: float = POLL_INTERVAL
    deadline: float | None = None
    queue_deadline: float | None = None
    unreachable_timeout: float = UNREACHABLE_TIMEOUT
    first_pause: float = 0.0
    is_seen: bool = False
    """True if Airbyte has shown the job before this wait, as it has to whoever started it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "poll_interval", at_least_min_poll_interval(self.poll_interval))


@dataclass(frozen=True)
class Waited:
    """A finished job, and how often it was looked at."""

    job: Job
    looks: int


def get_job(
    job_id: int,
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
    *,
    is_seen: bool = False,
) -> Conversation[Job]:
    """Return the job.

    :param is_seen: True if Airbyte has shown the job before.
    :raises AirbyteNotFoundError: for a job that does not exist or may not be seen. Airbyte says that with 403, 404
        or 409, depending on its edition.
    """
    try:
        return (yield from call_for(calls.get_job(job_id), expecting(Job.from_json, job_id=job_id), retry))
    except (AirbyteAccessError, AirbyteNotFoundError, AirbyteConflictError) as error:
        not_found = error.rephrased(
            f"There is no job {job_id}, or the user who created the application may not see it. Check job_id, and "
            "that it belongs to the Airbyte that the Airflow connection names.",
            kind=AirbyteNotFoundError,
        )
        raise (no_longer_visible(job_id, not_found) if is_seen else not_found) from None


def no_longer_visible(job_id: int, error: AirbyteResponseError) -> AirbyteResponseError:
    """Return ``error``, which says that there is no job, as it is to be said of a job that Airbyte has shown."""
    return error.rephrased(
        f"Job {job_id} is no longer visible: it was deleted in Airbyte, or the user who created the application lost "
        "access to its workspace. Check both in Airbyte; the job may still be running.",
        kind=AirbyteNotFoundError,
    )


@dataclass
class Outage:
    """For how long Airbyte has been away, and when to look again. ``since`` is in seconds since the epoch."""

    failures: int = 0
    since: float = 0.0

    def missed(self, error: Exception, moment: float) -> float:
        """Count one more failure, and return the seconds to let pass before the next look."""
        self.failures += 1
        if self.failures == 1:
            self.since = moment
        asked_for = getattr(error, "retry_after", None) or 0.0
        return max(AWAY.backoff(self.failures), min(asked_for, LONGEST_RETRY_AFTER))

    def is_over(self) -> None:
        """Airbyte has answered."""
        self.failures = 0


@dataclass(frozen=True)
class Glance:
    """What is asked of a look: to come after ``pause`` seconds, and no later than ``until``.

    ``known`` is what who asks knows of the job: its status, or None while Airbyte is away.
    """

    job_id: int
    pause: float
    until: float | None
    known: str | None


Look: TypeAlias = Callable[[Glance], Conversation[Job]]
"""A way to look at a job: it returns the job, or raises why Airbyte cannot tell."""


def wait_for_job(job_id: int, patience: Patience, look: Look | None = None) -> Conversation[Waited]:
    """Return the job once it is finished, however it ended.

    It is looked at after ``first_pause``, then every ``poll_interval``. Trouble on the way to Airbyte is not a failed
    sync: it is ridden out for ``unreachable_timeout``, with a line in the log when it begins and one when it is over.
    The status is looked at before the clock, so a job that finished in time is never reported late.

    :param look: how to look, by default :func:`get_after_a_pause`.
    :raises AirbyteJobTimeoutError: if the job is not finished at ``deadline``, or has not begun at ``queue_deadline``.
        It still runs in Airbyte.
    :raises AirbyteUnreachableError: if Airbyte was away for longer than ``unreachable_timeout``.
    :raises AirbyteError: at once, for what cannot heal.
    """
    lookout = _Lookout(job_id, patience, look or get_after_a_pause, pause=patience.first_pause)
    while True:
        job = yield from lookout.look_once()
        if job is not None and job.is_finished:
            return Waited(job, lookout.looks)
        moment = yield from now()
        lookout.require_time(moment)


def pause_within(seconds: float, until: float | None) -> Conversation[None]:
    """Let ``seconds`` pass, but be back at ``until``, in seconds since the epoch."""
    if not seconds:
        return
    moment = yield from now()
    if until is None or moment + seconds < until:
        yield Pause(seconds)
    elif moment < until:
        yield Pause(until - moment, jitter=0.0)


def get_after_a_pause(glance: Glance) -> Conversation[Job]:
    """Let the pause pass, and ask for the job."""
    yield from pause_within(glance.pause, glance.until)
    return (yield from get_job(glance.job_id, ONCE))


def await_news(glance: Glance) -> Conversation[Job]:
    """Leave it to a watch over many jobs to look, and to say when there is something new."""
    job: Job = yield News(glance.known, glance.until)
    return job


def cancel_job(
    job_id: int,
    retry: Retry = CANCEL,
    read_timeout: float = calls.SLOW_START,
    *,
    is_seen: bool = False,
) -> Conversation[Job]:
    """Cancel the job if it is not finished, and return it as it is then.

    Airbyte's cancel stops *whatever runs on the job's connection*, so before each request the job is looked at, and one
    that is finished is left alone: a newer one may be running. That Airbyte finds nothing to cancel is as good. A
    request that failed is repeated while the job still runs.

    :param retry: the attempts, and the delays between them.
    :param is_seen: True if Airbyte has shown the job before.
    :raises AirbyteNotFoundError: for a job that does not exist or may not be seen.
    :raises AirbyteError: if the last attempt failed, or cannot succeed, and the job still runs.
    """
    began = yield from now()
    failures = 0
    while True:
        try:
            job = yield from get_job(job_id, ONCE, is_seen=is_seen)
            is_seen = True
            return job if job.is_finished else (yield from _request_cancel(job_id, read_timeout))
        except AirbyteError as error:
            if not _is_worth_another_cancel(error, is_seen=is_seen):
                raise
            failure = error
        failures += 1
        yield from pause_before_next_try(retry, failures, began, failure)


def _request_cancel(job_id: int, read_timeout: float) -> Conversation[Job]:
    """Send one cancel request for a job that runs, and return the job as it is then."""
    try:
        job = yield from call_for(calls.cancel_job(job_id, read_timeout), expecting(Job.from_json, job_id=job_id), ONCE)
    except AirbyteError as error:
        if not (error.maybe_processed or isinstance(error, AirbyteConflictError)):
            raise
        # Airbyte may have obeyed, or there was nothing to cancel any more: the job tells.
        job = yield from get_job(job_id, ONCE, is_seen=True)
        if not job.is_finished:
            raise
    yield Say("Asked Airbyte to cancel job %d; its status is %s.", (job_id, job.status))
    return job


def _is_worth_another_cancel(error: AirbyteError, *, is_seen: bool) -> bool:
    if not is_seen:
        return error.transient
    return may_heal(error) or isinstance(error, AirbyteConflictError)


def cancel_and_wait(
    job_id: int,
    retry: Retry = CANCEL,
    read_timeout: float = calls.SLOW_START,
    *,
    is_seen: bool = True,
) -> Conversation[Job]:
    """Cancel the job unless it is finished, and return it once it is, or as it is when the time of ``retry`` is over.

    If it still runs a while after Airbyte accepted the request, it is cancelled again.

    :param retry: the attempts, and the time for all of them. Its first delay is also that between two polls, its
        longest that between two requests that Airbyte accepted.
    :param is_seen: True if Airbyte has shown the job before.
    :raises AirbyteError: as :func:`cancel_job`.
    """
    began = yield from now()
    while True:
        job = yield from cancel_job(job_id, retry, read_timeout, is_seen=is_seen)
        is_seen = True
        moment = yield from now()
        until = min(moment + retry.longest_pause, began + retry.patience)
        while not job.is_finished and moment < until:
            yield Pause(retry.first_pause)
            job = yield from get_job(job_id, retry, is_seen=True)
            moment = yield from now()
        if job.is_finished or moment >= began + retry.patience:
            return job


def nothing_new(job: Job, moment: float) -> Say:
    """Return what one who waits says now and then."""
    if job.start_time is None:
        return Say("Job %d is still %s.", (job.job_id, job.status))
    minutes = (moment - job.start_time.timestamp()) / 60
    return Say("Job %d is still %s, %.0f min after its start.", (job.job_id, job.status, minutes))


@dataclass
class _Lookout:
    """Looks at a job again and again, and knows for how long Airbyte has been away."""

    job_id: int
    patience: Patience
    look: Look
    pause: float
    status: str = "unknown"
    said_at: float = 0.0
    looks: int = 0
    has_begun: bool = False
    began: float | None = None
    has_had_grace: bool = False

    def __post_init__(self) -> None:
        self.outage = Outage()

    def look_once(self) -> Conversation[Job | None]:
        """Return the job, or None while Airbyte is away."""
        known = None if self.outage.failures else self.status
        glance = Glance(self.job_id, self.pause, self._next_limit, known)
        self.pause = self.patience.poll_interval
        self.looks += 1
        if self.began is None:
            self.began = yield from now()
        try:
            job = yield from self.look(glance)
        except AirbyteNotFoundError as error:
            yield from self._not_visible(error)
            return None
        except AirbyteError as error:
            # An odd page is no reason to wait for a job that nobody has seen before.
            if not (may_heal(error) if self._is_seen else error.transient):
                raise
            yield from self._missed(error)
            return None
        if self.outage.failures:
            yield Say(ANSWERS_AGAIN)
            self.outage.is_over()
        moment = yield from now()
        if job.status != self.status:
            self.status, self.said_at = job.status, moment
            self.has_begun = self.has_begun or job.status not in IN_QUEUE
            yield self._status_line()
        elif moment - self.said_at >= HEARTBEAT:
            self.said_at = moment
            yield nothing_new(job, moment)
        return job

    def require_time(self, moment: float) -> None:
        """Raise if a deadline has passed."""
        if self._deadline is not None and moment >= self._deadline:
            waits = "has not begun" if self.status in IN_QUEUE else "is not finished"
            raise AirbyteJobTimeoutError(
                f"Job {self.job_id} {waits} in the time given; its status is {self.status}.", job_id=self.job_id
            )

    @property
    def _is_seen(self) -> bool:
        return self.status != "unknown" or self.patience.is_seen or self.patience.first_pause > 0

    @property
    def _deadline(self) -> float | None:
        """The deadline that counts now: a job that has begun has left the queue for good."""
        return _earliest(self.patience.deadline, None if self.has_begun else self.patience.queue_deadline)

    @property
    def _next_limit(self) -> float | None:
        """The moment at which the wait may be over, whatever the job does."""
        patience_ends = self.outage.since + self.patience.unreachable_timeout if self.outage.failures else None
        return _earliest(self._deadline, patience_ends)

    def _not_visible(self, error: AirbyteNotFoundError) -> Conversation[None]:
        """Raise ``error``, unless the job is so young that Airbyte may not show it yet."""
        if not self._is_seen:
            raise error
        moment = yield from now()
        is_young = moment - (self.began or moment) <= GRACE
        if self.has_had_grace or not is_young:
            raise no_longer_visible(self.job_id, error)
        self.has_had_grace = True
        self.pause = min(self.pause, GRACE_PAUSE)
        yield Say(
            "Airbyte does not show job %d at present; polling it once more. It answered %d: %s",
            (self.job_id, error.status, error.detail),
            logging.WARNING,
        )

    def _missed(self, error: AirbyteError) -> Conversation[None]:
        moment = yield from now()
        self.pause = max(self.pause, self.outage.missed(error, moment))
        if self.outage.failures == 1:
            yield Say(
                "Airbyte cannot tell how job %d is doing; waiting all the same, for %.0f min at the most. %s",
                (self.job_id, self.patience.unreachable_timeout / 60, error),
                logging.WARNING,
            )
        away = moment - self.outage.since
        if away >= self.patience.unreachable_timeout:
            raise AirbyteUnreachableError(
                f"Airbyte has not told for {away:.0f} s how job {self.job_id} is doing, and it may still run. {error}"
            ) from error

    def _status_line(self) -> Say:
        if self.status in KNOWN:
            return Say("Job %d is %s.", (self.job_id, self.status))
        return Say(
            "Job %d is %r, a status that this version does not know: waiting on for succeeded, failed or cancelled.",
            (self.job_id, self.status),
            logging.WARNING,
        )


def _earliest(*moments: float | None) -> float | None:
    return min((each for each in moments if each is not None), default=None)
