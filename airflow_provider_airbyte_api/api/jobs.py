"""Starting a sync, waiting for it, and cancelling it, as conversations."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.api import calls
from airflow_provider_airbyte_api.api.conversation import (
    Conversation,
    Pause,
    Say,
    call_for,
    now,
)
from airflow_provider_airbyte_api.api.errors import (
    AirbyteAccessError,
    AirbyteConflictError,
    AirbyteConnectionInactiveError,
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.api.models import KNOWN, Connection, Job
from airflow_provider_airbyte_api.api.retry import ONCE, Retry

LOOK_UP_PATIENCE = 180.0
"""Seconds during which a job may yet appear whose start brought no reply: Airbyte goes on creating it."""

LOOK_UP_PAUSE = 10.0

UNREACHABLE_TIMEOUT = 1800.0
"""Seconds that Airbyte may be away while a job is waited for."""

AWAY = Retry(first_pause=2.0, longest_pause=60.0)
"""The pauses between two looks while Airbyte is away."""


def require_active(connection: Connection) -> None:
    """Do nothing if Airbyte lets ``connection`` sync. Airbyte itself would refuse without a reason.

    :raises AirbyteConnectionInactiveError: saying what to do.
    """
    what_to_do = {
        "inactive": "Somebody switched it off, or Airbyte did after repeated failures: switch it on in Airbyte.",
        "locked": "Airbyte locked it, for example because of a payment: see its page in Airbyte.",
        "deprecated": "It was deleted in Airbyte: take this task away, or give it another connection_id.",
    }
    if connection.status in what_to_do:
        raise AirbyteConnectionInactiveError(
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) is {connection.status}, so it cannot "
            f"sync, and nothing was started. {what_to_do[connection.status]}"
        )


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


def newest_job(connection_id: str) -> Conversation[Job | None]:
    """Return the newest job of a connection, of any type and status, or None if it never had one."""
    request = calls.list_jobs(connection_id=connection_id).with_query(limit=1)
    jobs = yield from call_for(request, _jobs_in)
    return max(jobs, key=lambda job: job.job_id, default=None)


def start_sync(connection_id: str) -> Conversation[Job]:
    """Start one sync of a connection and return its job.

    Airbyte has no key that would make this safe to repeat. So a reply that got lost is not answered with a second
    request but with a look at the connection's jobs: one that is newer than all before is ours.

    :raises AirbyteAlreadyRunningError: if a job of this connection runs already. Nothing was started.
    :raises AirbyteError: if it could not be started, or nothing tells whether it was.
    """
    before = yield from newest_job(connection_id)
    try:
        return (yield from call_for(calls.start_sync(connection_id), Job.from_json))
    except AirbyteError as error:
        if not error.maybe_processed:
            raise
        yield Say("%s Looking whether the sync was started all the same.", (error,), logging.WARNING)
        job = yield from _appeared(connection_id, after=before.job_id if before else 0)
        if job is None:
            raise
    yield Say("Found the sync that was started: job %d.", (job.job_id,))
    return job


def wait_for_job(
    job_id: int,
    *,
    poll_interval: float,
    deadline: float | None = None,
    unreachable_timeout: float = UNREACHABLE_TIMEOUT,
    first_pause: float = 0.0,
) -> Conversation[Job]:
    """Return the job once it is finished, however it ended.

    ``poll_interval``, ``unreachable_timeout`` and ``first_pause``, which is the time before the first look, are in
    seconds, ``deadline`` in seconds since the epoch. Trouble on
    the way to Airbyte is not a failed sync: it is ridden out for ``unreachable_timeout``, with a line in the log
    when it begins and one when it is over. The status is looked at before the clock, so a job that finished in time
    is never reported late.

    :raises AirbyteJobTimeoutError: if the job is not finished at ``deadline``. It still runs in Airbyte.
    :raises AirbyteUnreachableError: if Airbyte was away for longer than ``unreachable_timeout``.
    :raises AirbyteError: at once, for what cannot heal.
    """
    lookout = _Lookout(job_id, unreachable_timeout)
    if first_pause:
        yield Pause(first_pause)
    while True:
        job = yield from lookout.look()
        if job is not None and job.is_finished:
            return job
        moment = yield from now()
        pause = poll_interval if job is not None else max(poll_interval, AWAY.backoff(lookout.failures))
        if deadline is None or moment + pause < deadline:
            yield Pause(pause)
        elif moment < deadline:
            yield Pause(deadline - moment, jitter=0.0)
        else:
            raise AirbyteJobTimeoutError(
                f"Job {job_id} is not finished in the time given; its status is {lookout.status}.", job_id=job_id
            )


def cancel_job(job_id: int) -> Conversation[Job]:
    """Cancel the job if it is not finished, and return it as it is then.

    Airbyte's cancel stops *whatever runs on the job's connection*, so a job that is finished is left alone: a newer
    one may be running. That Airbyte finds nothing to cancel is as good.
    """
    job = yield from get_job(job_id)
    if job.is_finished:
        return job
    try:
        job = yield from call_for(calls.cancel_job(job_id), Job.from_json)
    except AirbyteConflictError:
        job = yield from get_job(job_id)
    yield Say("Cancelled job %d; its status is %s.", (job.job_id, job.status))
    return job


def _appeared(connection_id: str, after: int) -> Conversation[Job | None]:
    """Return the job of a connection that is newer than ``after``, waiting for it a while."""
    started = yield from now()
    while True:
        try:
            job = yield from newest_job(connection_id)
        except AirbyteError as error:
            if not error.transient:
                raise
        else:
            if job is not None and job.job_id > after:
                return job
        moment = yield from now()
        if moment - started >= LOOK_UP_PATIENCE:
            return None
        yield Pause(LOOK_UP_PAUSE)


def _jobs_in(body: Mapping[str, Any]) -> list[Job]:
    return [Job.from_json(row) for row in body["data"]]


@dataclass
class _Lookout:
    """Looks at a job again and again, and knows for how long Airbyte has been away."""

    job_id: int
    unreachable_timeout: float
    status: str = "unknown"
    failures: int = 0
    away_since: float = 0.0

    def look(self) -> Conversation[Job | None]:
        """Return the job, or None while Airbyte is away."""
        try:
            job = yield from get_job(self.job_id, ONCE)
        except AirbyteError as error:
            if not error.transient:
                raise
            yield from self._missed(error)
            return None
        if self.failures:
            yield Say("Airbyte is back.")
            self.failures = 0
        if job.status != self.status:
            self.status = job.status
            yield self._status_line()
        return job

    def _missed(self, error: AirbyteError) -> Conversation[None]:
        moment = yield from now()
        self.failures += 1
        if self.failures == 1:
            self.away_since = moment
            yield Say("Airbyte is away; waiting for job %d all the same. %s", (self.job_id, error), logging.WARNING)
        if moment - self.away_since >= self.unreachable_timeout:
            raise AirbyteUnreachableError(
                f"Airbyte has been away for {moment - self.away_since:.0f} s, and so nobody knows how job "
                f"{self.job_id} is doing. {error}"
            ) from error

    def _status_line(self) -> Say:
        if self.status in KNOWN:
            return Say("Job %d is %s.", (self.job_id, self.status))
        return Say(
            "Job %d is %r, a status that this version does not know: waiting on for succeeded, failed or cancelled.",
            (self.job_id, self.status),
            logging.WARNING,
        )
