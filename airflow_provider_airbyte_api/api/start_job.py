"""Starting a sync or a clear: exactly one, whatever becomes of the request.

Airbyte has no key that would make a start safe to repeat, answers it only once the sync runs, and says "already
running" without saying which job does. So before a start the newest job of the connection is remembered, and whenever
the answer leaves open what happened, the connection's jobs tell: the oldest one of that kind that is newer than the
remembered one is ours.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.backoff import NO_RETRY, RetryPolicy, while_unreachable
from airflow_provider_airbyte_api.api.flow import (
    ANSWERS_AGAIN,
    Flow,
    Log,
    Sleep,
    fetch_page,
    get_time,
    request_model,
    sleep_before_retry,
)
from airflow_provider_airbyte_api.api.jobs import cancel_and_wait
from airflow_provider_airbyte_api.api.models import Connection, Job, JobStatus, expecting, parse_uuid
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

LOST_START_TIMEOUT = 180.0
"""Seconds during which a job may yet appear whose start brought no reply: Airbyte goes on creating it."""

LOST_START_POLL_INTERVAL = 10.0

MAX_START_ATTEMPTS = 3
"""Starts at the most whose outcome was unclear, each after a look-up that found no job."""

LONGEST_START = MAX_START_ATTEMPTS * (endpoints.START_CANCEL_TIMEOUT + LOST_START_TIMEOUT)
"""Seconds from the first request until the last job that a start may bring is created, unless Airbyte is unreachable
in between."""

CLOCK_SKEW = 300.0
"""Seconds by which the clocks of Airbyte and of this machine may differ, beyond what Airbyte's ``Date`` tells."""

NO_ID = 0
"""The id of a listed job whose own id cannot be read."""

UNREADABLE = "unreadable"
"""The status of a listed job whose own status cannot be read. It is not a finished one."""

PHANTOM_CONFLICT_TIMEOUT = 300.0
"""Seconds to go on trying where Airbyte says that a job runs and shows none: it does so just after a clear."""

RECENT_JOBS_LIMIT = 10
"""Jobs of a connection to look through for the one that runs."""


INACTIVE_HINTS = {
    "inactive": "Somebody switched it off, or Airbyte did after repeated failures: switch it on in Airbyte.",
    "locked": "Airbyte locked it, for example because of a payment: see its page in Airbyte.",
    "deprecated": "It was deleted in Airbyte: take this task away, or give it another connection_id.",
}
"""What to do about an Airbyte connection of this status."""

CLEAR_FORBIDDEN_HINT = (
    "Airbyte says this of things that do not exist, too. Check connection_id, and the role in the workspace of the "
    "user who created the application: a clear needs an editor's, a reset (job_type) a runner's."
)

HIDES_ITS_REASON = ("could not fulfill request", "state conflict")
"""Airbyte's words for a conflict whose reason it does not tell: the default message, or the title alone."""

MAY_ONLY_READ = (
    "The connection can be read, so its id is right, but this application may not start its jobs. Give the user who "
    "created it the role of a runner or more in the workspace. On a self-managed Airbyte with a single application, "
    "update Airbyte: in some versions (2.1.0) its token may only read."
)

CLEAR_JOB_TYPES = ("clear", "reset")
"""Airbyte's two words for one thing, which it answers with a job of the type ``reset``."""


@dataclass(frozen=True)
class JobRequest:
    """What job to start, as the API calls it, and what to do if a job of the connection runs already.

    ``on_running`` is one of :data:`~.defaults.ON_RUNNING` for a sync, of :data:`~.defaults.ON_RUNNING_CLEAR` else.
    """

    job_type: str = "sync"
    on_running: str = "attach"

    @property
    def is_clear(self) -> bool:
        """True if data is to be removed: Airbyte would cancel whatever runs for it, without a word."""
        return self.job_type in CLEAR_JOB_TYPES

    def matches(self, job: Job) -> bool:
        """Tell whether ``job`` is of the kind that is wished for."""
        return job.job_type in (CLEAR_JOB_TYPES if self.is_clear else ("sync",))


@dataclass(frozen=True)
class Started:
    """The job runs. ``owned``: for this request, so that who asked for it may also cancel it."""

    job: Job
    owned: bool


@dataclass(frozen=True)
class Blocked:
    """``job`` runs on the connection and has to end first."""

    job: Job


@dataclass(frozen=True)
class Skipped:
    """Nothing was started, as the policy says."""

    reason: str


def ensure_can_start(connection: Connection, job_request: JobRequest) -> None:
    """Do nothing unless it is known that Airbyte would not start such a job of ``connection``.

    Whether it clears one that is inactive depends on its version, so that is left to it.

    :raises AirbyteConnectionInactiveError: saying what to do.
    """
    if not job_request.is_clear or connection.status == "deprecated":
        ensure_active(connection)


def ensure_active(connection: Connection) -> None:
    """Do nothing if Airbyte lets ``connection`` run jobs. Airbyte itself would refuse without a reason.

    :raises AirbyteConnectionInactiveError: saying what to do.
    """
    if connection.status in INACTIVE_HINTS:
        raise AirbyteConnectionInactiveError(
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) is {connection.status}, so "
            f"nothing was started. {INACTIVE_HINTS[connection.status]}"
        )


def ensure_modifiable(connection: Connection) -> None:
    """Do nothing if Airbyte lets ``connection`` be changed.

    :raises AirbyteConnectionInactiveError: saying what to do.
    """
    if connection.status in ("locked", "deprecated"):
        raise AirbyteConnectionInactiveError(
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) is {connection.status}, so it cannot "
            f"be changed. {INACTIVE_HINTS[connection.status]}"
        )


def get_latest_job_id(connection_id: str, retry: RetryPolicy = RetryPolicy()) -> Flow[int]:  # noqa: B008 - it is frozen
    """Return the id of a connection's newest job, 0 if it never had one."""
    # Over all rows, also of a server that ignores the filter: ids are global, and too low a bound adopts an old job.
    jobs, _ = yield from _listed(connection_id, retry)
    previous_job_id = _latest(jobs)
    if previous_job_id is None:
        return 0
    if previous_job_id.job_id == NO_ID:
        raise _unreadable(connection_id, "the newest one")
    return previous_job_id.job_id


def find_job_newer_than(
    connection_id: str,
    job_id: int,
    job_request: JobRequest,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
    latest: float = math.inf,
) -> Flow[Job | None]:
    """Return the oldest job of a connection that is as wished for and newer than ``job_id``, whatever its status.

    Newer ones are of somebody else. With ``on_running`` of ``restart``, one that was cancelled may be the one that had
    to make room, so one that was not comes first. A job without a readable id (:data:`NO_ID`) may be the one as well,
    and is returned if there is no other.

    :param latest: when it was created at the latest, in seconds since the epoch by our clock.
    """
    jobs, ahead = yield from _recent_jobs(connection_id, retry)
    latest += ahead + CLOCK_SKEW
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
    """Return the job of a start whose outcome nobody knows; None if Airbyte does not show it at ``until``, or later.

    :param newest: the connection's newest job before that start.
    :param until: seconds since the epoch.
    :param unreachable_timeout: seconds that Airbyte may be unreachable meanwhile.
    :param latest: when the job was created at the latest, in seconds since the epoch.
    :raises AirbyteConnectionBusyError: if Airbyte shows then only a job without a readable id, which may be the one.
    """
    retry = while_unreachable(unreachable_timeout, is_known=True)
    while True:
        job = yield from find_job_newer_than(connection_id, previous_job_id, job_request, retry, latest)
        if job is not None and job.job_id != NO_ID:
            return job
        now = yield from get_time()
        if now >= until:
            break
        yield Sleep(LOST_START_POLL_INTERVAL)
    if job is not None:
        raise _unreadable(connection_id, "the one that this task started")
    return None


def find_job_created_since(
    connection_id: str,
    now: float,
    job_request: JobRequest,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - it is frozen
) -> Flow[Job | None]:
    """Return the newest such job that was created at ``moment`` (seconds since the epoch) or later."""
    jobs, _ = yield from _recent_jobs(connection_id, retry)
    return _latest(
        job
        for job in jobs
        if job.job_id != NO_ID and job_request.matches(job) and job.start_time and job.start_time.timestamp() >= now
    )


def get_active_job(connection_id: str, retry: RetryPolicy = RetryPolicy()) -> Flow[Job | None]:  # noqa: B008 - it is frozen
    """Return the newest job of a connection that is not finished.

    More than one may be listed after a crash of Airbyte; only the newest is real. Up to 2.0 Airbyte lists refreshes and
    clears only if asked for them by name.

    :raises AirbyteConnectionBusyError: if only a job without a readable id may be running.
    """
    is_open = False
    for job_type in (None, "refresh", "clear"):
        jobs, _ = yield from _recent_jobs(connection_id, retry, job_type=job_type)
        running = _latest(job for job in jobs if not job.is_terminal)
        if running is not None and running.job_id != NO_ID:
            return running
        is_open = is_open or running is not None
    if is_open:
        raise _unreadable(connection_id, "one that is running")
    return None


def start_job(connection_id: str, job_type: str = "sync") -> Flow[Job]:
    """Start one sync, clear or reset of a connection and return its job.

    :raises AirbyteAlreadyRunningError: if a job of this connection runs already, and a sync was asked for.
    :raises AirbyteConnectionBusyError: likewise, if a clear was.
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
) -> Flow[Started | Blocked | Skipped]:
    """Start one job of ``connection``, whose newest job was ``newest``, or take up the one that runs.

    ``wait``, and ``attach`` where what runs is no sync, return :class:`Busy`: waiting is for the caller, who then
    begins anew.

    :param retry: for what surely started nothing.
    :raises AirbyteAlreadyRunningError: with ``fail``, or if Airbyte says so for long and shows no such job.
    :raises AirbyteConnectionBusyError: with ``fail``, before a clear.
    :raises AirbyteConnectionInactiveError: if the connection turned out to be inactive, locked or deleted.
    :raises AirbyteError: if it could not be started, or nothing tells whether it was.
    """
    attempts = _StartAttempts(connection, previous_job_id, job_request, retry)
    outcome: Started | Blocked | Skipped | None = None
    try:
        while outcome is None:
            outcome = yield from attempts.attempt()
    except AirbyteError as error:
        # Whatever became of the last request, an earlier one may yet have been obeyed.
        error.outcome_unknown = attempts.unknown_outcomes > 0
        raise
    return outcome


def cancel_active_job(connection_id: str) -> Flow[Job | None]:
    """Cancel what runs on a connection, whatever it is, and return it once it is finished; None if nothing runs."""
    running = yield from get_active_job(connection_id)
    if running is None:
        return None
    return (yield from cancel_and_wait(running.job_id))


@dataclass
class _StartAttempts:
    """Attempts to start a job.

    ``failures`` counts those that surely were not obeyed, ``unclear`` those that may have been.
    """

    connection: Connection
    previous_job_id: int
    job_request: JobRequest
    retry: RetryPolicy
    unknown_outcomes: int = 0
    rejected_attempts: int = 0
    first_failure_at: float | None = None
    nothing_runs_since: float | None = None

    def attempt(self) -> Flow[Started | Blocked | Skipped | None]:
        """Ask once for the job, and return what came of it; None to ask again."""
        if self.job_request.is_clear:
            running = yield from get_active_job(self.connection.connection_id, self.retry)
            if running is not None:
                return (yield from self._handle_active_job(running, None))
        # Whatever time passes before a second try, what runs has to be looked at again before a clear.
        retry = NO_RETRY if self.job_request.is_clear else self.retry
        try:
            request = endpoints.start_job(self.connection.connection_id, self.job_request.job_type)
            parse = expecting(Job.from_json, connection_id=self.connection.connection_id)
            job = yield from request_model(request, parse, retry)
        except AirbyteAlreadyRunningError as error:
            return (yield from self._handle_conflict(error))
        except AirbyteError as error:
            if self.job_request.is_clear and self.retry.may_help(error) and not error.outcome_unknown:
                yield from self._backoff(error)
                return None
            if isinstance(error, AirbytePermissionError):
                raise error.with_hint(CLEAR_FORBIDDEN_HINT if self.job_request.is_clear else MAY_ONLY_READ) from None
            yield from self._require_unclear(error)
            return (yield from self._recover_lost_start(error))
        if self.rejected_attempts and self.retry.rides_out:
            yield Log(ANSWERS_AGAIN)
        if self.job_request.matches(job) and job.job_id > self.previous_job_id:
            return Started(job, owned=True)
        # Airbyte (since 2026) answers with the job that waits in its queue, as if that had been started.
        if not job.is_terminal:
            return (yield from self._handle_active_job(job, None))
        yield from self._already_finished(job)
        return None

    def _backoff(self, error: AirbyteError) -> Flow[None]:
        if self.first_failure_at is None:
            self.first_failure_at = yield from get_time()
        self.rejected_attempts += 1
        yield from sleep_before_retry(self.retry, self.rejected_attempts, self.first_failure_at, error)

    def _handle_conflict(self, error: AirbyteAlreadyRunningError) -> Flow[Started | Blocked | Skipped | None]:
        running = yield from get_active_job(self.connection.connection_id, self.retry)
        if running is None:
            if (yield from self._nothing_runs_for_long()):
                raise error
            yield Log("%s None is to be found, so it should be over soon.", (error,))
            yield Sleep(LOST_START_POLL_INTERVAL)
            return None
        return (yield from self._handle_active_job(running, error))

    def _already_finished(self, job: Job) -> Flow[None]:
        """Wait a little before another attempt: ``job``, which Airbyte answered with, is not the requested one."""
        said = (
            f"Airbyte answered the request for a {self.job_request.job_type} of connection {self.connection.name!r} "
            "with job "
            f"{job.job_id}, a {job.job_type} that had already {job.status}."
        )
        if (yield from self._nothing_runs_for_long()):
            raise AirbyteConnectionBusyError(
                f"{said} No {self.job_request.job_type} was started: check the connection in Airbyte."
            )
        yield Log("%s Requesting it again.", (said,), logging.WARNING)
        yield Sleep(LOST_START_POLL_INTERVAL)

    def _nothing_runs_for_long(self) -> Flow[bool]:
        """Tell whether Airbyte has named jobs that do not run for :data:`PHANTOM_CONFLICT_TIMEOUT`."""
        now = yield from get_time()
        if self.nothing_runs_since is None:
            self.nothing_runs_since = now
        return now - self.nothing_runs_since >= PHANTOM_CONFLICT_TIMEOUT

    def _handle_active_job(
        self, running: Job, error: AirbyteAlreadyRunningError | None
    ) -> Flow[Started | Blocked | Skipped | None]:
        """Do what ``on_running`` says about ``running``; ``error`` is how Airbyte said so, if it did."""
        if self.unknown_outcomes and running.job_id > self.previous_job_id and self.job_request.matches(running):
            yield Log("Job %d is the one that this task started.", (running.job_id,))
            return Started(running, owned=True)
        on_running = self.job_request.on_running
        what = f"a {running.job_type} of Airbyte connection {self.connection.name!r} runs already: job {running.job_id}"
        if on_running == "skip":
            return Skipped(f"Skipping, for {what}.")
        if on_running == "fail":
            raise self._conflict_error(running, error)
        if on_running == "restart":
            yield Log("Cancelling it, for %s.", (what,))
            stopped = yield from cancel_and_wait(running.job_id)
            # A look-up must not take it for the job that is started next.
            self.previous_job_id = max(self.previous_job_id, stopped.job_id)
            if not stopped.is_terminal:
                raise AirbyteConnectionBusyError(
                    f"Job {running.job_id} was cancelled, since on_running is restart, and it runs on: look at it "
                    "in Airbyte. Nothing was started."
                )
            return None
        if on_running == "attach" and self.job_request.matches(running):
            yield Log("Waiting for the one that runs instead of starting another, for %s.", (what,))
            return Started(running, owned=False)
        yield Log("Waiting for its end, for %s.", (what,))
        return Blocked(running)

    def _conflict_error(self, running: Job, error: AirbyteAlreadyRunningError | None) -> AirbyteError:
        if not self.job_request.is_clear:
            error = error or AirbyteAlreadyRunningError(
                method="POST",
                url="/jobs",
                status=200,
                detail=f"a {running.job_type} of this connection is pending already, and it has to end first.",
            )
            return error.with_hint(
                f"It is job {running.job_id}, a {running.job_type}. Wait for it or cancel it in Airbyte; an operator "
                "does either if its on_running says so."
            )
        return AirbyteConnectionBusyError(
            f"A {running.job_type} of Airbyte connection {self.connection.name!r} ({self.connection.connection_id}) "
            f"runs, job {running.job_id}, and a {self.job_request.job_type} would cancel it, so nothing was started. "
            "Wait for "
            "it or cancel it first; an operator does either if its on_running says so (wait, restart, skip)."
        )

    def _recover_lost_start(self, error: AirbyteError) -> Flow[Started | None]:
        yield Log("%s Looking whether the job was started all the same.", (error,), logging.WARNING)
        self.unknown_outcomes += 1
        self.rejected_attempts, self.first_failure_at = 0, None
        now = yield from get_time()
        until = now + LOST_START_TIMEOUT
        timeout = max(self.retry.timeout, LOST_START_TIMEOUT)
        found = yield from wait_for_lost_job(
            self.connection.connection_id, self.previous_job_id, self.job_request, until, timeout
        )
        if found is not None:
            yield Log("It was: job %d.", (found.job_id,))
            return Started(found, owned=True)
        if self.unknown_outcomes >= MAX_START_ATTEMPTS:
            raise error
        yield Log("It was not. Starting it again.", level=logging.WARNING)
        return None

    def _require_unclear(self, error: AirbyteError) -> Flow[None]:
        """Raise ``error``, or what is behind it, unless it leaves open whether the job was started.

        A 409 that hides its reason means that the connection is inactive, locked or deleted, or else that Airbyte
        waited 60 s for a job that it goes on creating. The connection itself tells which. One that names its reason is
        a refusal.
        """
        if isinstance(error, AirbyteResponseError) and error.status == 409:  # noqa: PLR2004
            is_open = not error.from_airbyte or error.detail.lower().startswith(HIDES_ITS_REASON)
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


def _listed(connection_id: str, retry: RetryPolicy, *, job_type: str | None = None) -> Flow[tuple[list[Job], float]]:
    """Return the last jobs that Airbyte lists, and how many seconds its clock is ahead of ours."""
    request = endpoints.list_jobs(connection_id=connection_id, job_type=job_type).with_query(limit=RECENT_JOBS_LIMIT)
    page = yield from fetch_page(request, None, _job_in, retry)
    now = yield from get_time()
    return page.rows, (plausible(page.server_time, now) or now) - now


def _recent_jobs(
    connection_id: str, retry: RetryPolicy, *, job_type: str | None = None
) -> Flow[tuple[list[Job], float]]:
    """Return the connection's last jobs: a server that ignores the filter must not make another one's job ours."""
    wanted = parse_uuid(connection_id, "connection_id")
    jobs, ahead = yield from _listed(connection_id, retry, job_type=job_type)
    return [job for job in jobs if job.connection_id.lower() in ("", wanted)], ahead


def _latest(jobs: Iterable[Job]) -> Job | None:
    return max(jobs, key=lambda job: job.job_id, default=None)


def _job_in(row: object) -> Job:
    """Return a listed job, with :data:`NO_ID` and :data:`UNREADABLE` for what cannot be read: it may matter still."""
    fields = dict_or_empty(row)
    job_id, status = safe_id(fields.get("jobId")), fields.get("status")
    job = Job.from_json({**fields, "jobId": job_id or 1, "status": status if isinstance(status, str) else UNREADABLE})
    return replace(job, job_id=job_id or NO_ID)


def _unreadable(connection_id: str, what: str) -> AirbyteConnectionBusyError:
    return AirbyteConnectionBusyError(
        f"Airbyte lists a job of connection {connection_id} without a readable jobId. It may be {what}, so no job is "
        "started. Check the connection's jobs in Airbyte."
    )
