"""Flows that check whether an Airbyte connection's data is fresh, and wait until it is."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_airbyte_api.api import endpoints
from airflow_provider_airbyte_api.api.backoff import NO_RETRY
from airflow_provider_airbyte_api.api.flow import Flow, Log, fetch_page, get_time, outcome_of, recovery_logs, write_logs
from airflow_provider_airbyte_api.api.jobs import WaitResult, get_job, require_success
from airflow_provider_airbyte_api.api.models import Job, parse_uuid
from airflow_provider_airbyte_api.api.outcome import JobContext
from airflow_provider_airbyte_api.api.progress import PROGRESS_LOG_INTERVAL
from airflow_provider_airbyte_api.api.wait import (
    Done,
    Poll,
    Wait,
    WaitOptions,
    sleep_until,
)
from airflow_provider_airbyte_api.exceptions import AirbyteError, AirbyteJobTimeoutError
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
            return "Not fresh yet: none of the latest syncs succeeded"
        newest = f"job {self.latest_success.job_id}, which completed at {self.latest_success.last_updated_at}"
        return f"Not fresh yet: the latest successful sync is {newest}"


def check_freshness(
    connection_id: str,
    criteria: FreshnessCriteria,
    context: JobContext = JobContext(),  # noqa: B008 - it is frozen
    too_small: set[int] | None = None,
    config_url: str | None = None,
) -> Flow[FreshnessCheck]:
    """Check with one request whether there is a fresh sync.

    Some servers omit the number of rows from their lists. There, ``criteria.min_rows`` costs one more request for each
    job that could be fresh.

    :param too_small: ids of jobs that earlier polls found to have too few rows; this poll adds to them.
    :param config_url: root URL of Airbyte's internal API, for the reason of that failure; None does not ask for it.
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
            whole = yield from get_job(job.job_id, NO_RETRY, known_to_exist=True)
            if whole.is_terminal:  # a replica that lags may show it as running
                job = whole  # noqa: PLW2901 - the same job
        if criteria.min_rows is None or (job.rows_synced or 0) >= criteria.min_rows:
            return FreshnessCheck(job, job)
        if job.rows_synced is not None:
            too_small.add(job.job_id)
    newest = max(rows, key=lambda job: job.job_id, default=None)
    # A job that is still running may yet make the data fresh.
    if criteria.fail_on_failure and newest is not None and _has_failed(newest) and newest.completed_timestamp >= since:
        yield from require_success(newest, context, config_url)
    return FreshnessCheck(None, succeeded[0] if succeeded else None)


def wait_until_fresh(
    connection_id: str,
    criteria: FreshnessCriteria,
    options: WaitOptions,
    context: JobContext = JobContext(),  # noqa: B008 - it is frozen
    config_url: str | None = None,
) -> Flow[WaitResult]:
    """Return the sync that makes the data fresh once there is one, polling as ``options`` sets.

    :raises AirbyteError: as :func:`check_freshness` and :meth:`FreshnessWait.on_check`.
    """
    wait = FreshnessWait(options, (yield from get_time()))
    too_small: set[int] = set()
    step: Poll | Done = wait.first_poll()
    while isinstance(step, Poll):
        yield from sleep_until(step)
        result = yield from outcome_of(check_freshness(connection_id, criteria, context, too_small, config_url))
        now = yield from get_time()
        step = wait.on_check(result, now)
        yield from write_logs(step.logs)
    return WaitResult(step.job, wait.poll_count)


class FreshnessWait(Wait):
    """Waits until data is fresh."""

    def __init__(self, options: WaitOptions, now: float) -> None:
        super().__init__(options, now, "Could not check whether the data is fresh")
        self._last_error: AirbyteError | None = None
        self._last_message = ""
        self._last_logged_at = now

    def on_check(self, result: FreshnessCheck | AirbyteError, now: float) -> Poll | Done:
        """Take the result of a check, and return the next poll, or the sync that makes the data fresh.

        :raises AirbyteJobTimeoutError: if the data is not fresh at ``deadline``.
        :raises AirbyteUnreachableError: if Airbyte was unreachable for longer than ``unreachable_timeout``.
        :raises AirbyteError: ``result``, if waiting cannot help.
        """
        self.poll_count += 1
        if isinstance(result, AirbyteError):
            self._last_error = result
            delay, logs = self._on_error(result, now)
        else:
            self._last_error = None
            delay, logs = self._options.poll_interval, recovery_logs(self._outage)
            if result.match is not None:
                return Done(result.match, logs)
            logs += self._progress_logs(result, now)
        self._check_deadline(now)
        return self._poll_after(delay, now, logs)

    def _progress_logs(self, check: FreshnessCheck, now: float) -> tuple[Log, ...]:
        message = check.explain()
        if message == self._last_message and now - self._last_logged_at < PROGRESS_LOG_INTERVAL:
            return ()
        self._last_message, self._last_logged_at = message, now
        return (Log("%s.", (message,)),)

    def _check_deadline(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            cause = f" The last check failed: {self._last_error}" if self._last_error else ""
            raise AirbyteJobTimeoutError(f"Timed out waiting for a fresh sync.{cause}", job_id=0)


def _has_failed(job: Job) -> bool:
    return job.is_terminal and job.status != JobStatus.SUCCEEDED
