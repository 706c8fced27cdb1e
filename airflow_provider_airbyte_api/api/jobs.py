"""Looking at a job, waiting for its end, and cancelling it, as conversations."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import Conversation, Pause, Say, call_for, now
from airflow_provider_airbyte_api.api.errors import (
    AirbyteAccessError,
    AirbyteConflictError,
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
    AirbyteUnexpectedReplyError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.api.models import KNOWN, Job, JobStatus
from airflow_provider_airbyte_api.api.retry import LONGEST_RETRY_AFTER, ONCE, Retry

UNREACHABLE_TIMEOUT = 1800.0
"""Seconds that Airbyte may be away while a job is waited for."""

AWAY = Retry(first_pause=2.0, longest_pause=60.0)
"""The pauses between two looks while Airbyte is away."""

IN_QUEUE = frozenset({JobStatus.PENDING.value, JobStatus.QUEUED.value})
"""The statuses of a job that has not begun."""


@dataclass(frozen=True)
class Patience:
    """How to wait: see :func:`wait_for_job`. Times are in seconds, deadlines in seconds since the epoch."""

    poll_interval: float = 30.0
    deadline: float | None = None
    queue_deadline: float | None = None
    unreachable_timeout: float = UNREACHABLE_TIMEOUT
    first_pause: float = 0.0


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
        return (yield from call_for(calls.get_job(job_id), Job.from_json, retry))
    except (AirbyteAccessError, AirbyteNotFoundError, AirbyteConflictError) as error:
        raise error.rephrased(
            f"There is no job {job_id}, or the user who created the application may not see it. Check job_id, and "
            "that it belongs to the Airbyte that the Airflow connection names.",
            kind=AirbyteNotFoundError,
        ) from None


def wait_for_job(job_id: int, patience: Patience) -> Conversation[Waited]:
    """Return the job once it is finished, however it ended.

    It is looked at after ``first_pause``, then every ``poll_interval``. Trouble on the way to Airbyte is not a failed
    sync: it is ridden out for ``unreachable_timeout``, with a line in the log when it begins and one when it is over.
    The status is looked at before the clock, so a job that finished in time is never reported late.

    :raises AirbyteJobTimeoutError: if the job is not finished at ``deadline``, or has not begun at ``queue_deadline``.
        It still runs in Airbyte.
    :raises AirbyteUnreachableError: if Airbyte was away for longer than ``unreachable_timeout``.
    :raises AirbyteError: at once, for what cannot heal.
    """
    lookout = _Lookout(job_id, patience)
    if patience.first_pause:
        yield from lookout.pause(patience.first_pause)
    while True:
        job = yield from lookout.look()
        if job is not None and job.is_finished:
            return Waited(job, lookout.looks)
        moment = yield from now()
        lookout.require_time(moment)
        yield from lookout.pause(max(patience.poll_interval, lookout.extra_pause))


def cancel_job(
    job_id: int,
    retry: Retry = Retry(),  # noqa: B008 - it is frozen
    read_timeout: float = calls.SLOW_START,
) -> Conversation[Job]:
    """Cancel the job if it is not finished, and return it as it is then.

    Airbyte's cancel stops *whatever runs on the job's connection*, so a job that is finished is left alone: a newer
    one may be running. That Airbyte finds nothing to cancel is as good.
    """
    job = yield from get_job(job_id, retry)
    if job.is_finished:
        return job
    try:
        job = yield from call_for(calls.cancel_job(job_id, read_timeout), Job.from_json, retry)
    except AirbyteConflictError:
        job = yield from get_job(job_id, retry)
    except AirbyteError as error:
        # It may have been obeyed, and it was our job that ran a moment ago: what it became tells.
        if not error.maybe_processed:
            raise
        job = yield from get_job(job_id, retry)
        if not job.is_finished:
            raise
    yield Say("Asked Airbyte to cancel job %d; its status is %s.", (job.job_id, job.status))
    return job


@dataclass
class _Lookout:
    """Looks at a job again and again, and knows for how long Airbyte has been away."""

    job_id: int
    patience: Patience
    status: str = "unknown"
    looks: int = 0
    failures: int = 0
    away_since: float = 0.0
    extra_pause: float = 0.0
    has_begun: bool = False

    def look(self) -> Conversation[Job | None]:
        """Return the job, or None while Airbyte is away."""
        self.looks += 1
        try:
            job = yield from get_job(self.job_id, ONCE)
        except AirbyteError as error:
            # While Airbyte is updated, a proxy may answer for it with a page of its own. Somebody saw this job before.
            known = self.status != "unknown" or self.patience.first_pause > 0
            if not error.transient and not (known and isinstance(error, AirbyteUnexpectedReplyError)):
                raise
            yield from self._missed(error)
            return None
        if self.failures:
            yield Say("Airbyte answers again.")
            self.failures, self.extra_pause = 0, 0.0
        if job.status != self.status:
            self.status = job.status
            self.has_begun = self.has_begun or job.status not in IN_QUEUE
            yield self._status_line()
        return job

    def require_time(self, moment: float) -> None:
        """Raise if a deadline has passed."""
        if self._deadline is not None and moment >= self._deadline:
            waits = "has not begun" if self.status in IN_QUEUE else "is not finished"
            raise AirbyteJobTimeoutError(
                f"Job {self.job_id} {waits} in the time given; its status is {self.status}.", job_id=self.job_id
            )

    def pause(self, seconds: float) -> Conversation[None]:
        """Let about ``seconds`` pass, but not past a deadline."""
        moment = yield from now()
        if self._deadline is None or moment + seconds < self._deadline:
            yield Pause(seconds)
        elif moment < self._deadline:
            yield Pause(self._deadline - moment, jitter=0.0)

    @property
    def _deadline(self) -> float | None:
        """The deadline that counts now: a job that has begun has left the queue for good."""
        deadlines = [self.patience.deadline, None if self.has_begun else self.patience.queue_deadline]
        return min((each for each in deadlines if each is not None), default=None)

    def _missed(self, error: AirbyteError) -> Conversation[None]:
        moment = yield from now()
        self.failures += 1
        if self.failures == 1:
            self.away_since = moment
            yield Say(
                "Airbyte cannot tell how job %d is doing; waiting all the same. %s",
                (self.job_id, error),
                logging.WARNING,
            )
        asked_for = getattr(error, "retry_after", None) or 0.0
        self.extra_pause = max(AWAY.backoff(self.failures), min(asked_for, LONGEST_RETRY_AFTER))
        if moment - self.away_since >= self.patience.unreachable_timeout:
            raise AirbyteUnreachableError(
                f"Airbyte has not told for {moment - self.away_since:.0f} s how job {self.job_id} is doing, and it may "
                f"still run. {error}"
            ) from error

    def _status_line(self) -> Say:
        if self.status in KNOWN:
            return Say("Job %d is %s.", (self.job_id, self.status))
        return Say(
            "Job %d is %r, a status that this version does not know: waiting on for succeeded, failed or cancelled.",
            (self.job_id, self.status),
            logging.WARNING,
        )
