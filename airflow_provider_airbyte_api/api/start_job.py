"""Start a sync or a clear exactly once, even if the response to the request is lost.

Airbyte has no idempotency key that would make a start safe to repeat. It answers a start only once the sync runs, and
its "already running" does not name the running job. So the newest job of the connection is recorded before a start. If
the outcome of the request is unknown, the connection's jobs decide: the oldest job of the requested kind that is newer
than the recorded one is the started job.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.backoff import NO_RETRY, Outage, RetryPolicy, while_unreachable
from airflow_provider_airbyte_api.api.flow import (
    Flow,
    Log,
    Sleep,
    fetch_page,
    get_time,
    recovery_logs,
    request_model,
    sleep_before_retry,
    write_logs,
)
from airflow_provider_airbyte_api.api.jobs import cancel_and_wait
from airflow_provider_airbyte_api.api.models import Connection, Job, expecting, parse_uuid
from airflow_provider_airbyte_api.api.resources import get_connection
from airflow_provider_airbyte_api.api.safe import dict_or_empty, safe_id
from airflow_provider_airbyte_api.api.timestamps import plausible
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAlreadyRunningError,
    AirbyteConnectionBusyError,
    AirbyteConnectionInactiveError,
    AirbyteError,
    AirbytePermissionError,
    AirbyteResponseError,
)
from airflow_provider_airbyte_api.types import ConnectionStatus, JobStatus, JobType

LOST_START_TIMEOUT = 180.0
"""Seconds during which a job may still appear after its start got no response: Airbyte goes on creating it."""

LOST_START_POLL_INTERVAL = 10.0

MAX_START_ATTEMPTS = 3
"""Maximum number of starts with an unknown outcome. Each one is followed by a search that found no job."""

MAX_START_DURATION = MAX_START_ATTEMPTS * (endpoints.START_CANCEL_TIMEOUT + LOST_START_TIMEOUT)
"""Seconds from the first request until the last job that it may start is created, unless Airbyte is unreachable
meanwhile.
"""

START_TIME_TOLERANCE = 300.0
"""Seconds by which the clocks of Airbyte and this machine may differ, beyond what Airbyte's ``Date`` header shows."""

NO_ID = 0
"""The id of a listed job whose own id cannot be read."""

UNREADABLE = "unreadable"
"""The status of a listed job whose own status cannot be read. It is not a terminal status."""

PHANTOM_CONFLICT_TIMEOUT = 300.0
"""Seconds to keep retrying while Airbyte reports a running job but lists none, as it does just after a clear."""

RECENT_JOBS_LIMIT = 10
"""Number of a connection's recent jobs that are searched for the running one."""


INACTIVE_HINTS: dict[str, str] = {
    ConnectionStatus.INACTIVE: "A user disabled it, or Airbyte did after repeated failures. Enable it in Airbyte.",
    ConnectionStatus.LOCKED: "Airbyte locked it, for example because of a payment; see its page in Airbyte.",
    ConnectionStatus.DEPRECATED: "It was deleted in Airbyte. Remove this task, or change its connection_id.",
}
"""Hint for an Airbyte connection of this status."""

CLEAR_FORBIDDEN_HINT = (
    "Airbyte returns 403 also for missing resources. Check connection_id, and the workspace role of the user who "
    "created the application: a clear requires editor, a reset (job_type) runner."
)

REASONLESS_CONFLICTS = ("could not fulfill request", "state conflict")
"""Airbyte's messages for a conflict without a reason: the default message, or the title alone."""

START_FORBIDDEN_HINT = (
    "This application can read the connection, so its id is right, but may not start its jobs. Give the user who "
    "created the application at least the runner role in the workspace. On a self-managed Airbyte with a single "
    "application, update Airbyte: in some versions (2.1.0) its token is read-only."
)

CLEAR_JOB_TYPES = (JobType.CLEAR, JobType.RESET)
"""Airbyte's two words for the same job. It answers both with a job of the type ``reset``."""


@dataclass(frozen=True)
class JobRequest:
    """The type of job to start, as the API calls it, and the policy if a job of the connection is already running.

    ``on_running`` is one of :data:`~.types.OnRunning` for a sync, and of :data:`~.types.OnRunningClear` otherwise.
    """

    job_type: str = JobType.SYNC
    on_running: str = "attach"

    @property
    def is_clear(self) -> bool:
        """True if the job removes data. Airbyte would silently cancel a running job to start it."""
        return self.job_type in CLEAR_JOB_TYPES

    def matches(self, job: Job) -> bool:
        """Return True if ``job`` is of the requested kind."""
        return job.job_type in (CLEAR_JOB_TYPES if self.is_clear else (JobType.SYNC,))


class Started(NamedTuple):
    """The job is running. ``owned`` is True if it was started for this request, so the requester may cancel it."""

    job: Job
    owned: bool


class Blocked(NamedTuple):
    """``job`` is running on the connection and has to finish first."""

    job: Job


class Skipped(NamedTuple):
    """Nothing was started, because the policy is to skip."""

    reason: str


def ensure_can_start(connection: Connection, job_request: JobRequest) -> None:
    """Raise an error if Airbyte is known to refuse this job for ``connection``.

    Whether Airbyte clears an inactive connection depends on its version, so that case is left to Airbyte.

    :raises AirbyteConnectionInactiveError: with a hint.
    """
    if not job_request.is_clear or connection.status == ConnectionStatus.DEPRECATED:
        ensure_active(connection)


def ensure_active(connection: Connection) -> None:
    """Raise an error unless ``connection`` can run jobs. Airbyte itself would refuse without a reason.

    :raises AirbyteConnectionInactiveError: with a hint.
    """
    if connection.status in INACTIVE_HINTS:
        raise AirbyteConnectionInactiveError(
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) is {connection.status}, so "
            f"no job was started. {INACTIVE_HINTS[connection.status]}"
        )


def ensure_modifiable(connection: Connection) -> None:
    """Raise an error unless Airbyte allows changes of ``connection``.

    :raises AirbyteConnectionInactiveError: with a hint.
    """
    if connection.status in (ConnectionStatus.LOCKED, ConnectionStatus.DEPRECATED):
        raise AirbyteConnectionInactiveError(
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) is {connection.status}, so it cannot "
            f"be changed. {INACTIVE_HINTS[connection.status]}"
        )


def get_latest_job_id(connection_id: str, retry: RetryPolicy = RetryPolicy()) -> Flow[int]:  # noqa: B008 - it is frozen
    """Return the id of a connection's newest job, or 0 if it never had one."""
    # Over all rows, also from a server that ignores the filter: ids are global, and too low a bound would attach to an
    # old job.
    jobs, _ = yield from _fetch_recent_jobs(connection_id, retry)
    latest = _latest(jobs)
    if latest is None:
        return 0
    if latest.job_id == NO_ID:
        raise _unreadable_job_error(connection_id, "the latest one")
    return latest.job_id


def find_job_newer_than(
    connection_id: str,
    job_id: int,
    job_request: JobRequest,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
    latest: float = math.inf,
) -> Flow[Job | None]:
    """Return the oldest job of a connection that matches the request and is newer than ``job_id``, in any status.

    Later matching jobs belong to others. With ``on_running="restart"``, a cancelled job may be the one that was
    cancelled to start this one, so jobs that were not cancelled come first. A job without a readable id (:data:`NO_ID`)
    is also a candidate, and is returned if there is no other.

    :param latest: upper bound of the job's creation time, in seconds since the epoch by this machine's clock.
    """
    jobs, clock_offset = yield from _recent_jobs(connection_id, retry)
    latest += clock_offset + START_TIME_TOLERANCE
    return min(
        (
            job
            for job in jobs
            if (job.job_id > job_id or job.job_id == NO_ID)
            and job_request.matches(job)
            and (job.start_time is None or job.start_time.timestamp() <= latest)
        ),
        key=lambda job: (
            job.job_id == NO_ID,
            job_request.on_running == "restart" and job.status == JobStatus.CANCELLED,
            job.job_id,
        ),
        default=None,
    )


def wait_for_lost_job(
    connection_id: str,
    previous_job_id: int,
    job_request: JobRequest,
    until: float,
    unreachable_timeout: float = LOST_START_TIMEOUT,
    latest: float = math.inf,
) -> Flow[Job | None]:
    """Return the job of a start with an unknown outcome, or None if Airbyte does not list it at ``until`` or later.

    :param previous_job_id: id of the connection's newest job before that start.
    :param until: deadline, in seconds since the epoch.
    :param unreachable_timeout: seconds that Airbyte may be unreachable meanwhile.
    :param latest: upper bound of the job's creation time, in seconds since the epoch.
    :raises AirbyteConnectionBusyError: if Airbyte then lists only a job without a readable id, which may be the one.
    """
    retry = while_unreachable(unreachable_timeout, airbyte_confirmed=True)
    while True:
        job = yield from find_job_newer_than(connection_id, previous_job_id, job_request, retry, latest)
        if job is not None and job.job_id != NO_ID:
            return job
        now = yield from get_time()
        if now >= until:
            break
        yield Sleep(LOST_START_POLL_INTERVAL)
    if job is not None:
        raise _unreadable_job_error(connection_id, "the one that this task started")
    return None


def find_job_created_since(
    connection_id: str,
    since: float,
    job_request: JobRequest,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[Job | None]:
    """Return the newest matching job that was created at ``since`` (seconds since the epoch) or later."""
    jobs, _ = yield from _recent_jobs(connection_id, retry)
    return _latest(
        job
        for job in jobs
        if job.job_id != NO_ID and job_request.matches(job) and job.start_time and job.start_time.timestamp() >= since
    )


def find_listed_job(connection_id: str, job_id: int, retry: RetryPolicy) -> Flow[Job | None]:
    """Return the job of a connection with this ID if it is among the newest ones, else None."""
    jobs, _ = yield from _recent_jobs(connection_id, retry)
    return next((job for job in jobs if job.job_id == job_id), None)


def get_active_job(connection_id: str, retry: RetryPolicy = RetryPolicy()) -> Flow[Job | None]:  # noqa: B008 - it is frozen
    """Return the newest job of a connection that is not finished, or None.

    After a crash, Airbyte may list more than one; only the newest is real. Up to 2.0, Airbyte lists refreshes and
    clears only if the request names their type.

    :raises AirbyteConnectionBusyError: if only a job without a readable id may be running.
    """
    is_open = False
    for job_type in (None, JobType.REFRESH, JobType.CLEAR):
        jobs, _ = yield from _recent_jobs(connection_id, retry, job_type=job_type)
        running = _latest(job for job in jobs if not job.is_terminal)
        if running is not None and running.job_id != NO_ID:
            return running
        is_open = is_open or running is not None
    if is_open:
        raise _unreadable_job_error(connection_id, "a running one")
    return None


def start_job(connection_id: str, job_type: str = JobType.SYNC) -> Flow[Job]:
    """Start one sync, clear or reset of a connection and return its job.

    :raises AirbyteAlreadyRunningError: for a sync, if a job of this connection is already running.
    :raises AirbyteConnectionBusyError: for a clear or reset, if a job of this connection is already running.
    :raises AirbyteError: as :func:`start_or_attach`.
    """
    job_request = JobRequest(job_type, "fail")
    connection = yield from get_connection(connection_id)
    ensure_can_start(connection, job_request)
    previous_job_id = yield from get_latest_job_id(connection_id)
    outcome = yield from start_or_attach(connection, previous_job_id, job_request)
    if not isinstance(outcome, Started):
        raise TypeError(outcome)
    return outcome.job


def start_or_attach(
    connection: Connection,
    previous_job_id: int,
    job_request: JobRequest = JobRequest(),
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
    *,
    unknown_outcomes: int = 0,
) -> Flow[Started | Blocked | Skipped]:
    """Start one job of ``connection``, or apply the request's ``on_running`` policy to the job that is already running.

    With ``wait``, and with ``attach`` if the running job is not a sync, the result is :class:`Blocked`. The caller
    waits for that job and calls again.

    :param previous_job_id: id of the connection's newest job before the call.
    :param retry: the policy for requests that are known to have started nothing.
    :param unknown_outcomes: number of requests that were already sent and whose outcome is unknown.
    :raises AirbyteAlreadyRunningError: with ``fail``, or if Airbyte keeps reporting a running job but lists none.
    :raises AirbyteConnectionBusyError: with ``fail``, before a clear.
    :raises AirbyteConnectionInactiveError: if the connection turned out to be inactive, locked or deleted.
    :raises AirbyteError: if the job could not be started, or if it remains unknown whether it was.
    """
    attempts = _StartAttempts(connection, previous_job_id, job_request, retry, unknown_outcomes)
    outcome: Started | Blocked | Skipped | None = None
    try:
        while outcome is None:
            outcome = yield from attempts.attempt()
    except AirbyteError as error:
        # An earlier request may still have been carried out, whatever the outcome of the last one.
        error.outcome_unknown = attempts.unknown_outcomes > 0
        raise
    return outcome


def cancel_active_job(connection_id: str) -> Flow[Job | None]:
    """Cancel a connection's running job, of any type, and return it once it is finished; None if no job is running."""
    running = yield from get_active_job(connection_id)
    if running is None:
        return None
    return (yield from cancel_and_wait(running.job_id))


@dataclass
class _StartAttempts:
    """Attempts to start a job.

    ``rejections`` has those that are known to have started nothing, ``unknown_outcomes`` counts those that may have
    started a job.
    """

    connection: Connection
    previous_job_id: int
    job_request: JobRequest
    retry: RetryPolicy
    unknown_outcomes: int = 0
    phantom_conflict_since: float | None = None

    def __post_init__(self) -> None:
        self.rejections = Outage(self.retry)

    def attempt(self) -> Flow[Started | Blocked | Skipped | None]:
        """Request the job once and return the outcome, or None if the request has to be sent again."""
        if self.job_request.is_clear:
            running = yield from get_active_job(self.connection.connection_id, self.retry)
            if running is not None:
                return (yield from self._handle_active_job(running, None))
        # Before a clear is sent again, the running job has to be checked again, so the request itself is not retried.
        retry = NO_RETRY if self.job_request.is_clear else self.retry
        try:
            request = endpoints.start_job(self.connection.connection_id, self.job_request.job_type)
            parse = expecting(Job.from_json, connection_id=self.connection.connection_id)
            job = yield from request_model(request, parse, retry)
        except AirbyteAlreadyRunningError as error:
            return (yield from self._handle_conflict(error))
        except AirbyteError as error:
            if self.job_request.is_clear and self.retry.is_retryable(error) and not error.outcome_unknown:
                yield from sleep_before_retry(self.rejections, error)
                return None
            if isinstance(error, AirbytePermissionError):
                raise error.with_hint(
                    CLEAR_FORBIDDEN_HINT if self.job_request.is_clear else START_FORBIDDEN_HINT
                ) from None
            yield from self._raise_unless_outcome_unknown(error)
            return (yield from self._recover_lost_start(error))
        yield from write_logs(recovery_logs(self.rejections))
        if self.job_request.matches(job) and job.job_id > self.previous_job_id:
            return Started(job, owned=True)
        # Airbyte (since 2026) answers with the job that waits in its queue, as if it had just been started.
        if not job.is_terminal:
            return (yield from self._handle_active_job(job, None))
        yield from self._already_finished(job)
        return None

    def _handle_conflict(self, error: AirbyteAlreadyRunningError) -> Flow[Started | Blocked | Skipped | None]:
        running = yield from get_active_job(self.connection.connection_id, self.retry)
        if running is None:
            if (yield from self._phantom_conflict_timed_out()):
                raise error
            yield Log("%s No running job is listed; it has probably just finished. Retrying.", (error,))
            yield Sleep(LOST_START_POLL_INTERVAL)
            return None
        return (yield from self._handle_active_job(running, error))

    def _already_finished(self, job: Job) -> Flow[None]:
        """Sleep before another attempt, because ``job``, which Airbyte answered with, is not the requested one."""
        response = (
            f"Airbyte responded to the request for a {self.job_request.job_type} of connection "
            f"{self.connection.name!r} with job {job.job_id} ({job.job_type}), which had already {job.status}."
        )
        if (yield from self._phantom_conflict_timed_out()):
            raise AirbyteConnectionBusyError(
                f"{response} No {self.job_request.job_type} was started; check the connection in Airbyte."
            )
        yield Log("%s Retrying.", (response,), logging.WARNING)
        yield Sleep(LOST_START_POLL_INTERVAL)

    def _phantom_conflict_timed_out(self) -> Flow[bool]:
        """Return True if Airbyte has named jobs that do not run for at least :data:`PHANTOM_CONFLICT_TIMEOUT`."""
        now = yield from get_time()
        if self.phantom_conflict_since is None:
            self.phantom_conflict_since = now
        return now - self.phantom_conflict_since >= PHANTOM_CONFLICT_TIMEOUT

    def _handle_active_job(
        self, running: Job, error: AirbyteAlreadyRunningError | None
    ) -> Flow[Started | Blocked | Skipped | None]:
        """Apply ``on_running`` to ``running``. ``error`` is Airbyte's conflict response, or None if there was none."""
        if self.unknown_outcomes and running.job_id > self.previous_job_id and self.job_request.matches(running):
            yield Log("Found job %d, which this task started.", (running.job_id,))
            return Started(running, owned=True)
        on_running = self.job_request.on_running
        blocker = f"job {running.job_id} ({running.job_type})"
        is_running = f"is already running for Airbyte connection {self.connection.name!r}"
        if on_running == "skip":
            return Skipped(f"Skipping: {blocker} {is_running}.")
        if on_running == "fail":
            raise self._conflict_error(running, error)
        if on_running == "restart":
            yield Log("Cancelling %s, which %s.", (blocker, is_running))
            stopped = yield from cancel_and_wait(running.job_id)
            # The search for a lost start must not mistake it for the job that is started next.
            self.previous_job_id = max(self.previous_job_id, stopped.job_id)
            if not stopped.is_terminal:
                raise AirbyteConnectionBusyError(
                    f"Job {running.job_id} is still running after it was cancelled (on_running='restart'). No new job "
                    "was started; check it in Airbyte."
                )
            return None
        if on_running == "attach" and self.job_request.matches(running):
            yield Log("Attaching to %s, which %s.", (blocker, is_running))
            return Started(running, owned=False)
        yield Log("Waiting for %s, which %s.", (blocker, is_running))
        return Blocked(running)

    def _conflict_error(self, running: Job, error: AirbyteAlreadyRunningError | None) -> AirbyteError:
        if not self.job_request.is_clear:
            error = error or AirbyteAlreadyRunningError(
                method="POST",
                url="/jobs",
                status=200,
                detail=f"a {running.job_type} of this connection is already pending, and has to finish first.",
            )
            return error.with_hint(
                f"Wait for job {running.job_id} ({running.job_type}), or cancel it in Airbyte. The operator does "
                "either for you: set its on_running."
            )
        return AirbyteConnectionBusyError(
            f"Job {running.job_id} ({running.job_type}) is already running for Airbyte connection "
            f"{self.connection.name!r} ({self.connection.connection_id}). A {self.job_request.job_type} would cancel "
            "it, so no job was started. Wait for it or cancel it first. The operator does either for you: set its "
            "on_running (wait, restart, skip)."
        )

    def _recover_lost_start(self, error: AirbyteError) -> Flow[Started | None]:
        yield Log("%s Checking whether the job was started anyway.", (error,), logging.WARNING)
        self.unknown_outcomes += 1
        self.rejections = Outage(self.retry)
        now = yield from get_time()
        until = now + LOST_START_TIMEOUT
        timeout = max(self.retry.timeout, LOST_START_TIMEOUT)
        found = yield from wait_for_lost_job(
            self.connection.connection_id, self.previous_job_id, self.job_request, until, timeout
        )
        if found is not None:
            yield Log("Found the started job %d.", (found.job_id,))
            return Started(found, owned=True)
        if self.unknown_outcomes >= MAX_START_ATTEMPTS:
            raise error
        yield Log("The job was not started. Starting it again.", level=logging.WARNING)
        return None

    def _raise_unless_outcome_unknown(self, error: AirbyteError) -> Flow[None]:
        """Raise ``error``, or its cause, unless it leaves open whether the job was started.

        A 409 without a reason has two possible causes. The connection is inactive, locked or deleted, or Airbyte waited
        60 s for a job that it goes on creating. The connection itself shows which. A 409 with a reason is a refusal.
        """
        if isinstance(error, AirbyteResponseError) and error.status == 409:  # noqa: PLR2004
            is_open = not error.from_airbyte or error.detail.lower().startswith(REASONLESS_CONFLICTS)
            try:
                latest = yield from get_connection(self.connection.connection_id, self.retry)
            except AirbyteError:
                self.unknown_outcomes += is_open
                raise
            ensure_active(latest)
            if not is_open:
                raise error
        elif not error.outcome_unknown:
            raise error


def _fetch_recent_jobs(
    connection_id: str, retry: RetryPolicy, *, job_type: str | None = None
) -> Flow[tuple[list[Job], float]]:
    """Return the recent jobs that Airbyte lists, and how many seconds its clock is ahead of this machine's."""
    request = endpoints.list_jobs(connection_id=connection_id, job_type=job_type).with_query(limit=RECENT_JOBS_LIMIT)
    page = yield from fetch_page(request, None, _parse_listed_job, retry)
    now = yield from get_time()
    return page.rows, (plausible(page.server_time, now) or now) - now


def _recent_jobs(
    connection_id: str, retry: RetryPolicy, *, job_type: str | None = None
) -> Flow[tuple[list[Job], float]]:
    """Return the connection's recent jobs, without other connections' jobs from a server that ignores the filter."""
    wanted = parse_uuid(connection_id, "connection_id")
    jobs, clock_offset = yield from _fetch_recent_jobs(connection_id, retry, job_type=job_type)
    return [job for job in jobs if job.connection_id.lower() in ("", wanted)], clock_offset


def _latest(jobs: Iterable[Job]) -> Job | None:
    return max(jobs, key=lambda job: job.job_id, default=None)


def _parse_listed_job(row: object) -> Job:
    """Return a listed job, with :data:`NO_ID` or :data:`UNREADABLE` for an unreadable field: it may still matter."""
    fields = dict_or_empty(row)
    job_id, status = safe_id(fields.get("jobId")), fields.get("status")
    job = Job.from_json({**fields, "jobId": job_id or 1, "status": status if isinstance(status, str) else UNREADABLE})
    return replace(job, job_id=job_id or NO_ID)


def _unreadable_job_error(connection_id: str, what: str) -> AirbyteConnectionBusyError:
    return AirbyteConnectionBusyError(
        f"Airbyte lists a job of connection {connection_id} without a valid jobId. It may be {what}, so no job was "
        "started. Check the connection's jobs in Airbyte."
    )
