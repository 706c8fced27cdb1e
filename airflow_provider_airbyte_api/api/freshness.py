"""Flows that check whether an Airbyte connection's data is fresh, and wait until it is."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.flow import ANSWERS_AGAIN, Flow, Log, fetch_page, get_time
from airflow_provider_airbyte_api.api.jobs import (
    PROGRESS_LOG_INTERVAL,
    Outage,
    WaitOptions,
    WaitResult,
    get_job,
    sleep_until,
)
from airflow_provider_airbyte_api.api.models import Job, parse_uuid
from airflow_provider_airbyte_api.api.outcome import JobContext, raise_unless_succeeded
from airflow_provider_airbyte_api.exceptions import (
    AirbyteError,
    AirbyteJobTimeoutError,
    is_recoverable_while_waiting,
    unreachable_for,
)
from airflow_provider_airbyte_api.types import JobStatus, JobType


@dataclass(frozen=True)
class FreshnessCriteria:
    """The conditions of a fresh sync: a successful one that is recent and large enough. None sets no condition.

    It finished at most ``max_age`` seconds ago and not before ``completed_after`` (in seconds since the epoch), and
    moved at least ``min_rows`` rows. With ``fail_on_failure``, a newer sync that did not succeed ends the wait.
    """

    max_age: float | None = None
    completed_after: float | None = None
    min_rows: int | None = None
    fail_on_failure: bool = False

    def earliest_end(self, now: float) -> float:
        """Return the earliest time at which a sync may have finished to be fresh at ``now``."""
        by_age = 0.0 if self.max_age is None else now - self.max_age
        return max(by_age, self.completed_after or 0.0)


@dataclass(frozen=True)
class FreshnessCheck:
    """The result of a check: ``match`` is the fresh sync, or None, ``latest_success`` the newest that succeeded."""

    match: Job | None
    latest_success: Job | None

    def explain(self) -> str:
        """Return why the data is not fresh."""
        if self.latest_success is None:
            return "It is not fresh yet: no sync has succeeded among the newest ones"
        newest = f"job {self.latest_success.job_id}, which ended at {self.latest_success.last_updated_at}"
        return f"It is not fresh yet: the newest sync that succeeded is {newest}"


def check_freshness(
    connection_id: str,
    criteria: FreshnessCriteria,
    context: JobContext = JobContext(),  # noqa: B008 - it is frozen
    too_small: set[int] | None = None,
) -> Flow[FreshnessCheck]:
    """Check with one request whether there is a fresh sync.

    Some servers omit the number of rows from their lists. There, ``criteria.min_rows`` costs one more request for each
    job that could be fresh.

    :param too_small: ids of jobs that earlier polls found to have too few rows; this poll adds to them.
    :raises AirbyteJobFailedError: with ``criteria.fail_on_failure``, if the newest sync that could have been fresh
        failed.
    :raises AirbyteJobCancelledError: likewise, if it was cancelled.
    """
    too_small = set() if too_small is None else too_small
    now = yield from get_time()
    since = criteria.earliest_end(now)
    request = endpoints.list_jobs(
        connection_id=connection_id,
        job_type=JobType.SYNC,
        # Only successful jobs count, unless a failure ends the wait.
        status=None if criteria.fail_on_failure else JobStatus.SUCCEEDED,
    )
    page = yield from fetch_page(request, 0, Job.from_json, NO_RETRY)
    wanted = parse_uuid(connection_id, "connection_id")
    rows = [job for job in page.rows if job.connection_id.lower() in ("", wanted)]  # a server may ignore the filter
    finished = sorted((job for job in rows if job.is_terminal), key=lambda job: job.job_id, reverse=True)
    succeeded = [job for job in finished if job.status == JobStatus.SUCCEEDED]
    for job in succeeded:
        if job.completed_timestamp < since or job.job_id in too_small:
            continue
        if criteria.min_rows is not None and job.rows_synced is None:
            whole = yield from get_job(job.job_id, NO_RETRY, is_seen=True)
            if whole.is_terminal:  # a replica that lags may show it as running
                job = whole  # noqa: PLW2901 - the same job
        if criteria.min_rows is None or (job.rows_synced or 0) >= criteria.min_rows:
            return FreshnessCheck(job, job)
        if job.rows_synced is not None:
            too_small.add(job.job_id)
    newest = max(rows, key=lambda job: job.job_id, default=None)
    # A job that is still running may yet make the data fresh.
    if criteria.fail_on_failure and newest is not None and _has_failed(newest) and newest.completed_timestamp >= since:
        raise_unless_succeeded(newest, context)
    return FreshnessCheck(None, succeeded[0] if succeeded else None)


def wait_until_fresh(
    connection_id: str,
    criteria: FreshnessCriteria,
    options: WaitOptions,
    context: JobContext = JobContext(),  # noqa: B008 - it is frozen
) -> Flow[WaitResult]:
    """Return the sync that makes the data fresh once there is one, polling as ``options`` sets.

    The wait continues during an outage of up to ``options.unreachable_timeout``.

    :raises AirbyteJobTimeoutError: if there is none at ``options.deadline``.
    :raises AirbyteError: as :func:`check_freshness`.
    """
    wait = _FreshnessWait(connection_id, criteria, options, context)
    pause, looks = options.initial_delay, 0
    while True:
        yield from sleep_until(pause, options.deadline)
        fresh = yield from wait.poll_once()
        looks += 1
        if fresh is not None:
            return WaitResult(fresh, looks)
        now = yield from get_time()
        if options.deadline is not None and now >= options.deadline:
            away = f" Airbyte cannot tell at present: {wait.last_error}" if wait.last_error else ""
            raise AirbyteJobTimeoutError(f"There was no fresh sync in the time given.{away}", job_id=0)
        pause = wait.delay


@dataclass
class _FreshnessWait:
    """Checks for fresh data repeatedly, and tracks how long Airbyte has been unreachable."""

    connection_id: str
    criteria: FreshnessCriteria
    options: WaitOptions
    context: JobContext
    outage: Outage = field(default_factory=Outage)
    delay: float = 0.0
    last_error: AirbyteError | None = None
    last_message: str = ""
    last_logged_at: float = 0.0
    too_small: set[int] = field(default_factory=set)

    def poll_once(self) -> Flow[Job | None]:
        """Return the sync that makes the data fresh, or None."""
        self.delay = self.options.poll_interval
        try:
            look = yield from check_freshness(self.connection_id, self.criteria, self.context, self.too_small)
        except AirbyteError as error:
            if not is_recoverable_while_waiting(error):
                raise
            yield from self._on_poll_error(error)
            return None
        if self.last_error is not None:
            yield Log(ANSWERS_AGAIN)
            self.last_error = None
            self.outage.reset()
        now = yield from get_time()
        if look.match is None and (
            self.last_message != look.explain() or now - self.last_logged_at >= PROGRESS_LOG_INTERVAL
        ):
            self.last_message, self.last_logged_at = look.explain(), now
            yield Log("%s.", (self.last_message,))
        return look.match

    def _on_poll_error(self, error: AirbyteError) -> Flow[None]:
        now = yield from get_time()
        self.delay = max(self.delay, self.outage.record_failure(error, now))
        if self.last_error is None:
            yield Log(
                "Airbyte cannot tell whether the data is fresh; waiting all the same. %s", (error,), logging.WARNING
            )
        self.last_error = error
        away = now - self.outage.since
        if away >= self.options.unreachable_timeout:
            raise unreachable_for(away, error) from error


def _has_failed(job: Job) -> bool:
    return job.is_terminal and job.status != JobStatus.SUCCEEDED
