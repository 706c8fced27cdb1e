"""The run of a task that starts one job and waits for it, over all of its attempts, as one flow.

The flow decides; its caller stores, defers and skips. What has to outlive an attempt is a :class:`JobRecord`. The flow
yields it as a ``Checkpoint`` before it starts a job and as soon as the job is known. If an attempt dies, the next one
runs the flow again with that record, and so finds the job instead of starting a second one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple, TypeAlias

from airflow_provider_airbyte_api._defaults import (
    DEFAULT_POLL_INTERVAL,
    DEFAULT_TIMEOUT,
    DEFAULT_UNREACHABLE_TIMEOUT,
    at_least_min_poll_interval,
)
from airflow_provider_airbyte_api.api import endpoints, start_job
from airflow_provider_airbyte_api.api.backoff import RetryPolicy, while_unreachable
from airflow_provider_airbyte_api.api.flow import Checkpoint, Flow, Log, Sleep, get_time
from airflow_provider_airbyte_api.api.job_record import JobRecord
from airflow_provider_airbyte_api.api.jobs import WaitResult, cancel_and_wait, get_job, wait_for_job
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.api.outcome import has_no_statistics, has_too_few_rows
from airflow_provider_airbyte_api.api.start_job import JobRequest, Skipped, Started
from airflow_provider_airbyte_api.api.wait import NOT_FOUND_DELAY, WaitOptions, min_or_none
from airflow_provider_airbyte_api.exceptions import (
    AirbyteConfigError,
    AirbyteConnectionBusyError,
    AirbyteConnectionInactiveError,
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
)
from airflow_provider_airbyte_api.types import JobStatus, JobType

LIMITS = ("timeout", "queue_timeout", "execution_timeout", "stalled_timeout")
"""The parameters that limit a wait."""


@dataclass(frozen=True)
class RunOptions:
    """The parameters of the operators that decide about the job: see :class:`.AirbyteSyncOperator`."""

    job_type: str = JobType.SYNC
    on_running: str = "attach"
    on_inactive: str = "fail"
    on_airbyte_schedule: str = "warn"
    min_rows: int | None = None
    wait_for_completion: bool = True
    deferrable: bool = False
    poll_interval: float = DEFAULT_POLL_INTERVAL
    timeout: float | None = DEFAULT_TIMEOUT
    queue_timeout: float | None = None
    execution_timeout: timedelta | None = None
    unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT
    stalled_timeout: float | None = None


@dataclass(frozen=True)
class RunHistory:
    """What the task run has done before this call.

    ``record`` is the last checkpoint, and ``is_cleared`` is True if it is from before the task was cleared. Without a
    record, a retry follows a running job that was created at ``created_since`` (seconds since the epoch) or later.
    ``waited_for_blocker`` is True if the task has waited for another job of the connection. ``is_same_attempt`` is True
    if this attempt has followed the job of ``record`` before: then the job is the result of this attempt, also if it
    failed.
    """

    record: JobRecord | None = None
    is_cleared: bool = False
    created_since: float | None = None
    waited_for_blocker: bool = False
    is_same_attempt: bool = False


class Completed(NamedTuple):
    """The task has nothing left to wait for. ``owned`` is True if it started ``job``, and not only attached to it."""

    job: Job
    poll_count: int
    owned: bool


class Defer(NamedTuple):
    """The task has to wait for ``job`` in the triggerer: for its own job, or for a blocker and then run again."""

    job: Job
    options: WaitOptions
    owned: bool
    is_blocker: bool


Outcome: TypeAlias = Completed | Defer | Skipped
OnPoll: TypeAlias = Callable[[Job], object]


def run_job(
    options: RunOptions,
    find_connection: Callable[[RetryPolicy], Flow[Connection]],
    history: RunHistory,
    on_poll: OnPoll | None = None,
) -> Flow[Outcome]:
    """Follow the job of an earlier attempt or start one, and wait for it unless the caller has to defer.

    A job with any terminal status is :class:`Completed`. The job is cancelled if it misses a deadline, but only if it
    is owned.

    :param find_connection: returns the flow that finds the Airbyte connection, with the given policy.
    :param on_poll: a function that is called with the job after each poll of it, and after it was cancelled.
    :raises AirbyteJobTimeoutError: if the job or its blocker missed a deadline.
    :raises AirbyteError: as :func:`.start_or_attach` and :func:`.wait_for_job`.
    """
    airbyte_confirmed = history.record is not None or history.waited_for_blocker
    connection = yield from find_connection(
        while_unreachable(options.unreachable_timeout, airbyte_confirmed=airbyte_confirmed)
    )
    try:
        return (yield from _JobRun(options, connection, history, history.waited_for_blocker, on_poll).run())
    except AirbyteConnectionInactiveError as error:
        if options.on_inactive == "skip":
            return Skipped(str(error))
        raise


def resume_job(
    options: RunOptions,
    job_id: int,
    job: Job | None,
    error: AirbyteError | None,
    on_poll: OnPoll | None = None,
    *,
    owned: bool,
) -> Flow[Job]:
    """Return the job that the triggerer has waited for, with the ``job`` or the ``error`` that ended the wait.

    :raises AirbyteJobTimeoutError: with the outcome, if the job missed a deadline. It is cancelled if it is ``owned``.
    :raises AirbyteError: ``error``, if it is another one.
    """
    if isinstance(error, AirbyteJobTimeoutError):
        job = yield from _handle_timeout(options, error, on_poll, owned=owned)
    elif error is not None:
        raise error
    elif job is None:
        job = yield from get_job(job_id, known_to_exist=True)
    return (yield from _with_statistics(job))


def blocker_error(options: RunOptions, error: AirbyteError) -> AirbyteError:
    """Return the error of a task whose wait for another job of the connection ended with ``error``."""
    if not isinstance(error, AirbyteJobTimeoutError):
        return error
    return AirbyteJobTimeoutError(
        f"{error} It has to finish before this task starts a {options.job_type}, so no job was started. Raise timeout, "
        f"which is {options.timeout}, or check that job in Airbyte.",
        job_id=error.job_id,
    )


class _FollowedJob(NamedTuple):
    """The job that the task follows from now on, and its record."""

    job: Job
    record: JobRecord


@dataclass
class _JobRun:
    """One call of :func:`run_job`, with the connection."""

    options: RunOptions
    connection: Connection
    history: RunHistory
    waited_for_blocker: bool
    on_poll: OnPoll | None = None
    lost_start: JobRecord | None = None
    """The record of an earlier start whose job may still appear."""

    def __post_init__(self) -> None:
        self.retry = while_unreachable(self.options.unreachable_timeout, airbyte_confirmed=True)
        self.job_request = JobRequest(self.options.job_type, self.options.on_running)

    def run(self) -> Flow[Outcome]:
        found: _FollowedJob | Outcome | None = yield from self._find_previous_job()
        while found is None:
            found = yield from self._start()
        return (yield from self._follow(found)) if isinstance(found, _FollowedJob) else found

    # -- the job of an earlier attempt -------------------------------------------------------------------------

    def _find_previous_job(self) -> Flow[_FollowedJob | None]:
        """Return the job to follow, or None if the task has to start a new one."""
        record = self.history.record
        if record is None:
            found = yield from self._find_job_since()
        elif record.connection_id != self.connection.connection_id:
            found = None
        else:
            found = yield from self._find_recorded_job(record)
        if found is None:
            return None
        if found.job.is_terminal and not self._is_successful(found.job) and not self.history.is_same_attempt:
            return None
        yield Log(
            "Resuming job %d of an earlier attempt of this task (status: %s).", (found.job.job_id, found.job.status)
        )
        return found

    def _is_successful(self, job: Job) -> bool:
        return job.status == JobStatus.SUCCEEDED and not has_too_few_rows(job, self.options.min_rows)

    def _find_job_since(self) -> Flow[_FollowedJob | None]:
        """Return a running job that was created during the DAG run.

        This task may not have started it. So only a job that is still running counts, since its completion brings new
        data. The task never cancels it.
        """
        since = self.history.created_since
        if since is None:
            return None
        connection_id = self.connection.connection_id
        job = yield from start_job.find_job_created_since(connection_id, since, self.job_request, self.retry)
        if job is None or job.is_terminal:
            return None
        now = yield from get_time()
        return _FollowedJob(job, JobRecord(connection_id, job.job_id - 1, now, job.job_id, owned=False))

    def _find_recorded_job(self, record: JobRecord) -> Flow[_FollowedJob | None]:
        """Return the job of ``record``; None if it has none, or if the task was cleared, after cancelling the job."""
        job = yield from self._find_lost_job(record) if record.job_id is None else self._get_job(record.job_id)
        if job is None:
            return None
        if self.history.is_cleared:
            yield from self._cancel_superseded_job(job, record)
            return None
        return _FollowedJob(job, replace(record, job_id=job.job_id))

    def _find_lost_job(self, record: JobRecord) -> Flow[Job | None]:
        """Return the job of a start during which the attempt died."""
        # Airbyte rejects a second sync while the first one is starting, but a second clear cancels the first one.
        search_timeout = (
            endpoints.START_CANCEL_TIMEOUT + start_job.LOST_START_TIMEOUT if self.job_request.is_clear else 0.0
        )
        # The job may have started only after an outage.
        latest = record.started_at + self.options.unreachable_timeout + start_job.MAX_START_DURATION
        job = yield from start_job.wait_for_lost_job(
            record.connection_id,
            record.previous_job_id,
            self.job_request,
            record.started_at + search_timeout,
            self.options.unreachable_timeout,
            latest,
        )
        now = yield from get_time()
        if job is None and now < latest and not self.history.is_cleared:
            self.lost_start = record
        return job

    def _get_job(self, job_id: int) -> Flow[Job | None]:
        """Return the recorded job; None if there is no such job, or if the record was changed to one of others."""
        try:
            job = yield from get_job(job_id, self.retry, known_to_exist=True)
        except AirbyteNotFoundError as error:
            found = yield from self._find_hidden_job(job_id)
            if found is None:
                yield Log("%s Starting a new job.", (error,), logging.WARNING)
                return None
            job = found
        if job.connection_id == self.connection.connection_id:
            return job
        yield Log(
            "Ignoring the stored job %d: it is of Airbyte connection %s. Starting a new job.",
            (job_id, job.connection_id),
            logging.WARNING,
        )
        return None

    def _find_hidden_job(self, job_id: int) -> Flow[Job | None]:
        """Return a job that was not found, or None: a lagging replica or a gateway may hide a job for a moment."""
        yield Sleep(NOT_FOUND_DELAY)
        try:
            return (yield from get_job(job_id, self.retry, known_to_exist=True))
        except AirbyteNotFoundError:
            return (yield from start_job.find_listed_job(self.connection.connection_id, job_id, self.retry))

    def _cancel_superseded_job(self, job: Job, record: JobRecord) -> Flow[None]:
        """Cancel the job from before the task was cleared. It would block the new job or be mistaken for it."""
        if job.is_terminal or not record.owned:
            return
        yield Log("The task was cleared: cancelling its previous job %d before it starts a new one.", (job.job_id,))
        stopped = yield from cancel_and_wait(job.job_id)
        if not stopped.is_terminal:
            raise AirbyteConnectionBusyError(
                f"The previous job {job.job_id} of the task is still {stopped.status} after it was cancelled. No new "
                "job was started; check it in Airbyte."
            )

    # -- a new job ---------------------------------------------------------------------------------------------

    def _start(self) -> Flow[_FollowedJob | Defer | Skipped | None]:
        """Start a job or attach to the running one; None after a wait for another job, which blocked the start."""
        start_job.ensure_can_start(self.connection, self.job_request)
        yield from self._check_airbyte_schedule()
        lost, self.lost_start = self.lost_start, None
        connection_id = self.connection.connection_id
        newest = lost.previous_job_id if lost else (yield from start_job.get_latest_job_id(connection_id, self.retry))
        now = yield from get_time()
        record = JobRecord(connection_id, newest, now)
        yield Checkpoint(record)
        try:
            outcome = yield from start_job.start_or_attach(
                self.connection, newest, self.job_request, self.retry, unknown_outcomes=0 if lost is None else 1
            )
        except AirbyteError as error:
            if not error.outcome_unknown:
                yield Checkpoint(None)
            raise
        if isinstance(outcome, Started):
            return _FollowedJob(outcome.job, replace(record, job_id=outcome.job.job_id, owned=outcome.owned))
        yield Checkpoint(None)
        return outcome if isinstance(outcome, Skipped) else (yield from self._wait_for_blocker(outcome.job))

    def _check_airbyte_schedule(self) -> Flow[None]:
        """Apply ``on_airbyte_schedule`` if Airbyte also schedules syncs of the connection."""
        connection, policy = self.connection, self.options.on_airbyte_schedule
        if connection.schedule_type == "manual" or self.waited_for_blocker or policy == "ignore":
            return
        what = (
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) is also scheduled in Airbyte "
            f"({connection.schedule_type}), so it may sync outside this DAG. Set its schedule to manual in Airbyte or "
            "with an AirbyteUpdateConnectionOperator"
        )
        if policy == "fail":
            raise AirbyteConfigError(f"{what}, or set on_airbyte_schedule to warn or ignore.")
        yield Log("%s, or set on_airbyte_schedule to ignore.", (what,), logging.WARNING)

    def _wait_for_blocker(self, job: Job) -> Flow[Defer | None]:
        now = yield from get_time()
        options = WaitOptions(
            self.options.poll_interval,
            _deadline_after(now, self.options.timeout),
            unreachable_timeout=self.options.unreachable_timeout,
            # As in the triggerer: there is always a delay between two attempts to start, whatever Airbyte answers.
            initial_delay=at_least_min_poll_interval(self.options.poll_interval),
            known_to_exist=True,
        )
        if self.options.deferrable:
            return (yield from self._defer(job, options, owned=False, is_blocker=True))
        try:
            yield from wait_for_job(job.job_id, options)
        except AirbyteJobTimeoutError as error:
            raise blocker_error(self.options, error) from None
        self.waited_for_blocker = True
        return None

    # -- waiting -----------------------------------------------------------------------------------------------

    def _follow(self, found: _FollowedJob) -> Flow[Completed | Defer]:
        job, record = found.job, found.record
        yield Checkpoint(record, job)
        if not self.options.wait_for_completion:
            return Completed(job, 0, record.owned)
        ended = WaitResult(job, 1)
        if not job.is_terminal:
            options = WaitOptions(
                self.options.poll_interval,
                _deadline_after(record.started_at, self.options.timeout),
                _deadline_after(record.started_at, self.options.queue_timeout),
                self.options.unreachable_timeout,
                known_to_exist=True,
                stalled_timeout=self.options.stalled_timeout,
            )
            if self.options.deferrable:
                return (yield from self._defer(job, options, owned=record.owned, is_blocker=False))
            ended = yield from self._wait(job, options, owned=record.owned)
        return Completed((yield from _with_statistics(ended.job)), ended.poll_count, record.owned)

    def _wait(self, job: Job, options: WaitOptions, *, owned: bool) -> Flow[WaitResult]:
        try:
            return (yield from wait_for_job(job.job_id, options, self.on_poll))
        except AirbyteJobTimeoutError as error:
            return WaitResult((yield from _handle_timeout(self.options, error, self.on_poll, owned=owned)), 0)

    def _defer(self, job: Job, options: WaitOptions, *, owned: bool, is_blocker: bool) -> Flow[Defer]:
        if self.options.execution_timeout is not None:
            # Airflow 3 applies execution_timeout to each part that runs in a worker, not while the task is deferred.
            now = yield from get_time()
            end = now + self.options.execution_timeout.total_seconds()
            options = replace(options, deadline=min_or_none(options.deadline, end))
        return Defer(job, options, owned, is_blocker)


def _deadline_after(start: float, seconds: float | None) -> float | None:
    return None if seconds is None else start + seconds


def _with_statistics(job: Job) -> Flow[Job]:
    """Return ``job`` with rows and bytes, which some servers omit in lists; unchanged if they are unknown."""
    if job.job_type in start_job.CLEAR_JOB_TYPES or job.status != JobStatus.SUCCEEDED or not has_no_statistics(job):
        return job
    try:
        found = yield from get_job(job.job_id, known_to_exist=True)
    except AirbyteError as error:
        yield Log("Could not get rows and bytes of job %d. %s", (job.job_id, error), logging.WARNING)
        return job
    # A lagging replica may still show the job as running, although a poll has seen it finished.
    return found if found.status == job.status else job


def _handle_timeout(
    options: RunOptions, error: AirbyteJobTimeoutError, on_poll: OnPoll | None, *, owned: bool
) -> Flow[Job]:
    """Cancel the job if the task owns it. Raise ``error`` with the outcome, or return the job if it succeeded."""
    limits = ", ".join(f"{name}={getattr(options, name)}" for name in LIMITS)
    try:
        job = yield from cancel_and_wait(error.job_id) if owned else get_job(error.job_id, known_to_exist=True)
    except AirbyteError as cancel_error:
        outcome = f"The job could not be cancelled; cancel it in Airbyte if it is still running. {cancel_error}"
    else:
        if on_poll is not None:
            on_poll(job)
        if job.status == JobStatus.SUCCEEDED:
            yield Log("%s The job has succeeded in the meantime.", (error,), logging.WARNING)
            return job
        outcome = "The job was cancelled." if job.status == JobStatus.CANCELLED else f"The job is now {job.status}."
    if not owned:
        outcome = "This task did not start the job, so it was left running."
    raise type(error)(f"{error} {outcome} Limits: {limits}.", job_id=error.job_id) from None
