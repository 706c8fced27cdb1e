"""Looking at a job, waiting for its end, and cancelling it, as conversations."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import (
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
    AirbyteUnreachableError,
    may_heal,
)
from airflow_provider_airbyte_api.api.models import KNOWN, Job, JobStatus, expecting
from airflow_provider_airbyte_api.api.retry import LONGEST_RETRY_AFTER, ONCE, Retry

AWAY = Retry(first_pause=2.0, longest_pause=60.0)
"""The pauses between two looks while Airbyte is away."""

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "poll_interval", at_least_min_poll_interval(self.poll_interval))


@dataclass(frozen=True)
class Waited:
    """A finished job, and how often it was looked at."""

    job: Job
    looks: int


def get_job(job_id: int, retry: Retry = Retry()) -> Conversation[Job]:  # noqa: B008 - it is frozen
    """Return the job.

    :raises AirbyteNotFoundError: for a job that does not exist or may not be seen. Airbyte says that with 403, 404
        or 409, depending on its edition.
    """
    try:
        return (yield from call_for(calls.get_job(job_id), expecting(Job.from_json, job_id=job_id), retry))
    except (AirbyteAccessError, AirbyteNotFoundError, AirbyteConflictError) as error:
        raise error.rephrased(
            f"There is no job {job_id}, or the user who created the application may not see it. Check job_id, and "
            "that it belongs to the Airbyte that the Airflow connection names.",
            kind=AirbyteNotFoundError,
        ) from None


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
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
    read_timeout: float = calls.SLOW_START,
) -> Conversation[Job]:
    """Cancel the job if it is not finished, and return it as it is then.

    Airbyte's cancel stops *whatever runs on the job's connection*, so a job that is finished is left alone: a newer
    one may be running. That Airbyte finds nothing to cancel is as good.
    """
    began = yield from now()
    failures = 0
    while True:
        job = yield from get_job(job_id, retry)
        if job.is_finished:
            return job
        try:
            # Once: whatever time passes before a second try, the job has to be looked at again.
            parse = expecting(Job.from_json, job_id=job_id)
            job = yield from call_for(calls.cancel_job(job_id, read_timeout), parse, ONCE)
            break
        except AirbyteConflictError:
            job = yield from get_job(job_id, retry)
            break
        except AirbyteError as error:
            if error.maybe_processed:
                # It was our job that ran a moment ago: what it became tells.
                job = yield from get_job(job_id, retry)
                if not job.is_finished:
                    raise
                break
            if not error.transient:
                raise
            failures += 1
            yield from pause_before_next_try(retry, failures, began, error)
    yield Say("Asked Airbyte to cancel job %d; its status is %s.", (job.job_id, job.status))
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

    def __post_init__(self) -> None:
        self.outage = Outage()

    def look_once(self) -> Conversation[Job | None]:
        """Return the job, or None while Airbyte is away."""
        known = None if self.outage.failures else self.status
        glance = Glance(self.job_id, self.pause, self._next_limit, known)
        self.pause = self.patience.poll_interval
        self.looks += 1
        try:
            job = yield from self.look(glance)
        except AirbyteError as error:
            # An odd page is no reason to wait for a job that nobody has seen before.
            seen_before = self.status != "unknown" or self.patience.first_pause > 0
            if not (may_heal(error) if seen_before else error.transient):
                raise
            yield from self._missed(error)
            return None
        if self.outage.failures:
            yield Say("Airbyte answers again.")
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
    def _deadline(self) -> float | None:
        """The deadline that counts now: a job that has begun has left the queue for good."""
        return _earliest(self.patience.deadline, None if self.has_begun else self.patience.queue_deadline)

    @property
    def _next_limit(self) -> float | None:
        """The moment at which the wait may be over, whatever the job does."""
        patience_ends = self.outage.since + self.patience.unreachable_timeout if self.outage.failures else None
        return _earliest(self._deadline, patience_ends)

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
