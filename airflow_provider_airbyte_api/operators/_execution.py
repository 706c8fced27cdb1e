"""The execution of a task that starts a job and waits for it. Not imported while a DAG is parsed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowException, AirflowSkipException

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api._defaults import DEFERRAL_TIMEOUT_MARGIN, at_least_min_poll_interval
from airflow_provider_airbyte_api._options import get_min_deferral
from airflow_provider_airbyte_api._validation import resolve_task_connection, set_map_index_name
from airflow_provider_airbyte_api.api import endpoints, jobs, start_job
from airflow_provider_airbyte_api.api.backoff import RetryPolicy, while_unreachable
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.api.outcome import (
    JobContext,
    build_asset_event_extra,
    build_result,
    has_no_statistics,
    has_too_few_rows,
    may_be_a_false_success,
    raise_unless_succeeded,
    require_rows,
    summarize,
)
from airflow_provider_airbyte_api.api.wait import WaitOptions
from airflow_provider_airbyte_api.exceptions import (
    AirbyteConfigError,
    AirbyteConnectionBusyError,
    AirbyteConnectionInactiveError,
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
)
from airflow_provider_airbyte_api.links.airbyte import push_link_urls
from airflow_provider_airbyte_api.operators._job_state import JobRecord, JobStateStore
from airflow_provider_airbyte_api.operators.asset_events import AssetEvents
from airflow_provider_airbyte_api.triggers import _payloads
from airflow_provider_airbyte_api.types import JobResult, JobStatus

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_airbyte_api.operators._base import AirbyteJobOperator


OWNED_JOB = "owned_job_id"
"""Key of the XCom with the ID of a job that its task started. A deferral that Airflow ends cannot pass it otherwise."""


class JobExecution:
    """One part of a task run: from its start or the end of a deferral, to its end or the next deferral."""

    def __init__(self, task: AirbyteJobOperator, context: Context) -> None:
        self._task = task
        self._context = context
        self.hook = task.hook
        self._log = task.log
        self._job_request = start_job.JobRequest(task.job_type, task.on_running)
        self._job_to_cancel: int | None = None
        self._waited_for_blocker = False
        self.job: Job | None = None
        """The job as it was last polled, or None before it is known."""

    def run(self) -> JobResult:
        """Follow the job of an earlier attempt or start one, then wait until it has finished, or defer."""
        if self._task.deferrable:
            get_min_deferral()  # an invalid option fails the task before it starts a job
        job_state = JobStateStore(self._context, durable=self._task.durable)
        is_known = job_state.load() is not None or self._waited_for_blocker
        connection = self.hook.run(resolve_task_connection(self._task, self._retry(is_known=is_known)))
        set_map_index_name(self._context, connection.name)
        job = self._find_previous_job(connection, job_state)
        if job is None:
            job = self._start(connection, job_state)
        return self._monitor(connection, job, job_state)

    def _retry(self, *, is_known: bool = True) -> RetryPolicy:
        """Return the policy for requests that start no job: retry for ``unreachable_timeout``, from the first one."""
        return while_unreachable(self._task.unreachable_timeout, is_known=is_known)

    def _check_airbyte_schedule(self, connection: Connection) -> None:
        """Apply ``on_airbyte_schedule`` if Airbyte also schedules syncs of ``connection``."""
        is_airflows = connection.schedule_type == "manual"
        if is_airflows or self._waited_for_blocker or self._task.on_airbyte_schedule == "ignore":
            return
        what = (
            f"Airbyte connection {connection.name!r} ({connection.connection_id}) has a schedule of its own in Airbyte "
            f"({connection.schedule_type}), so it is synced more often than this DAG says. Set it to manual in Airbyte "
            "or with an AirbyteUpdateConnectionOperator"
        )
        if self._task.on_airbyte_schedule == "fail":
            raise AirbyteConfigError(f"{what}; or let on_airbyte_schedule be warn or ignore.")
        self._log.warning("%s; or let on_airbyte_schedule be ignore.", what)

    def resume(self, event: dict[str, Any] | None = None) -> JobResult:
        """Resume after the trigger has waited for this task's job: return the result, or raise the event's error."""
        woken = _payloads.parse(event)
        if woken.is_stale_failure(self._context):
            return self.run()
        set_map_index_name(self._context, woken.metadata.get("name", ""))
        job = woken.job
        if isinstance(woken.error, AirbyteJobTimeoutError):
            job = self._handle_timeout(woken.error, owned=woken.metadata.get("owned") is True)
        elif woken.error is not None:
            raise woken.error
        return self._complete(job or self._poll(woken.job_id), woken.metadata, woken.poll_count)

    def resume_after_blocker(self, event: dict[str, Any] | None = None) -> JobResult:
        """Run again after the trigger has waited for another job of the connection to finish with any status."""
        woken = _payloads.parse(event)
        if woken.is_stale_failure(self._context):
            return self.run()
        if isinstance(woken.error, AirbyteJobTimeoutError):
            raise self._blocker_timeout(woken.error)
        if woken.error is not None:
            raise woken.error
        self._waited_for_blocker = True
        return self.run()

    def cancel_on_kill(self) -> None:
        """Cancel the job if it is known and ``cancel_on_kill`` is True."""
        if self._task.cancel_on_kill and self._job_to_cancel is not None:
            self.hook.cancel_job_on_kill(self._job_to_cancel)

    # -- finding the job, or starting it -----------------------------------------------------------------------

    def _find_previous_job(self, connection: Connection, job_state: JobStateStore) -> Job | None:
        """Return the job to follow, or None if the task has to start a new one."""
        record = job_state.record
        if record is None:
            job = self._find_job_since_dag_run(connection, job_state)
        elif record.connection_id != connection.connection_id:
            job = None
        else:
            job = self._job_from_record(record)
            if job is not None and not job_state.belongs_to_run(record):
                self._cancel_superseded_job(job, record)
                job = None
        if job is None or (job.is_terminal and not self._is_well(job)):
            return None
        self._log.info("Following job %d of an earlier try of this task; it is %s.", job.job_id, job.status)
        if record is None:
            job_state.record_intent(connection.connection_id, job.job_id - 1)
        job_state.record_job(job.job_id, owned=record is not None and record.owned)
        return job

    def _is_well(self, job: Job) -> bool:
        return job.status == JobStatus.SUCCEEDED and not has_too_few_rows(job, self._task.min_rows)

    def _job_from_record(self, record: JobRecord) -> Job | None:
        """Return the job of ``record``. If its attempt died during the start, find the job that the start created."""
        if record.job_id is None:
            # Airbyte rejects a second sync while the first one is starting, but a second clear cancels the first one.
            options = (
                endpoints.START_CANCEL_TIMEOUT + start_job.LOST_START_TIMEOUT if self._job_request.is_clear else 0.0
            )
            until = record.started_at + options
            # The job may have started only after an outage.
            latest = record.started_at + self._task.unreachable_timeout + start_job.LONGEST_START
            return self.hook.run(
                start_job.wait_for_lost_job(
                    record.connection_id,
                    record.previous_job_id,
                    self._job_request,
                    until,
                    self._task.unreachable_timeout,
                    latest,
                )
            )
        try:
            return self.hook.run(jobs.get_job(record.job_id, self._retry(), is_seen=True))
        except AirbyteNotFoundError as error:
            self._log.warning("%s Starting a new one.", error)
            return None

    def _find_job_since_dag_run(self, connection: Connection, job_state: JobStateStore) -> Job | None:
        """Return a job that started after the DAG run began, for a retry without stored state (Airflow before 3.3).

        This task may not have started it. So only a job that is still running counts, since its completion brings new
        data. The task never cancels it.
        """
        ctx: Any = self._context
        dag_run = ctx.get("dag_run")
        if (
            not self._task.durable
            or job_state.is_persistent
            or not _airflow_compat.is_uncleared_retry(self._context, self._task.retries)
            or dag_run is None
            or dag_run.start_date is None
        ):
            return None
        since = dag_run.start_date.timestamp()
        job = self.hook.run(
            start_job.find_job_created_since(connection.connection_id, since, self._job_request, self._retry())
        )
        return None if job is None or job.is_terminal else job

    def _cancel_superseded_job(self, job: Job, record: JobRecord) -> None:
        """Cancel the job from before the task was cleared. It would block the new job or be mistaken for it."""
        if job.is_terminal or not record.owned:
            return
        self._log.info("The task was cleared: cancelling job %d of before, for a new one.", job.job_id)
        stopped = self.hook.run(jobs.cancel_and_wait(job.job_id))
        if not stopped.is_terminal:
            raise AirbyteConnectionBusyError(
                f"Job {job.job_id} of before the clear is still {stopped.status} after it was cancelled. No new "
                "job was started; check it in Airbyte."
            )

    def _start(self, connection: Connection, job_state: JobStateStore) -> Job:
        """Start a job or attach to the running one. If another job blocks the start, wait for it first, or defer."""
        while True:
            if self._task.killed:
                raise AirflowException("The task was killed before it started a job.")
            is_intended = False
            try:
                start_job.ensure_can_start(connection, self._job_request)
                self._check_airbyte_schedule(connection)
                newest = self.hook.run(start_job.get_latest_job_id(connection.connection_id, self._retry()))
                job_state.record_intent(connection.connection_id, newest)
                is_intended = True
                outcome = self.hook.run(start_job.start_or_attach(connection, newest, self._job_request, self._retry()))
            except AirbyteError as error:
                if is_intended and not error.outcome_unknown:
                    job_state.clear()
                if isinstance(error, AirbyteConnectionInactiveError) and self._task.on_inactive == "skip":
                    raise AirflowSkipException(str(error)) from error
                raise
            if isinstance(outcome, start_job.Started):
                job_state.record_job(outcome.job.job_id, owned=outcome.owned)
                return outcome.job
            job_state.clear()
            if isinstance(outcome, start_job.Skipped):
                raise AirflowSkipException(outcome.reason)
            self._wait_for_blocker(connection, outcome.job)

    def _wait_for_blocker(self, connection: Connection, job: Job) -> None:
        deadline = None if self._task.timeout is None else time.time() + self._task.timeout
        options = WaitOptions(
            self._task.poll_interval,
            deadline,
            unreachable_timeout=self._task.unreachable_timeout,
            # As in the triggerer: there is always a delay between two attempts to start, whatever Airbyte answers.
            initial_delay=at_least_min_poll_interval(self._task.poll_interval),
            is_seen=True,
        )
        if self._task.deferrable:
            self._defer(job, connection, options, "execute_after_blocker", owned=False)
        try:
            self.hook.run(jobs.wait_for_job(job.job_id, options))
        except AirbyteJobTimeoutError as error:
            raise self._blocker_timeout(error) from None
        self._waited_for_blocker = True

    def _blocker_timeout(self, error: AirbyteJobTimeoutError) -> AirbyteError:
        return AirbyteJobTimeoutError(
            f"{error} It has to end before this task starts a {self._task.job_type}, so nothing was started. Raise "
            f"timeout, which is {self._task.timeout}, or look at that job in Airbyte.",
            job_id=error.job_id,
        )

    # -- waiting -----------------------------------------------------------------------------------------------

    def _monitor(self, connection: Connection, job: Job, job_state: JobStateStore) -> JobResult:
        record = job_state.record
        owned = record is None or record.owned
        started_at = time.time() if record is None else record.started_at
        self.job = job
        self._job_to_cancel = job.job_id if owned else None
        if self._task.killed:
            self.cancel_on_kill()
        job_url = self._job_url(job, connection.workspace_id)
        verb = "Started" if owned else "Attached to"
        self._log.info("%s %s: job %d of Airbyte connection %r.", verb, job.job_type, job.job_id, connection.name)
        if job_url is not None:
            self._log.info("%s", job_url)
        self._context["ti"].xcom_push(key="job_id", value=job.job_id)
        connection_url = self.hook.connection_url(connection.workspace_id, connection.connection_id)
        push_link_urls(self._context["ti"], job_url, connection_url)
        if not self._task.wait_for_completion:
            return build_result(job, job_url)
        metadata = self._trigger_metadata(connection, owned=owned)
        if job.is_terminal:
            return self._complete(job, metadata, 1)
        options = WaitOptions(
            self._task.poll_interval,
            None if self._task.timeout is None else started_at + self._task.timeout,
            None if self._task.queue_timeout is None else started_at + self._task.queue_timeout,
            self._task.unreachable_timeout,
            is_seen=True,
        )
        if self._task.deferrable:
            if owned:
                self._context["ti"].xcom_push(key=OWNED_JOB, value=job.job_id)
            self._defer(job, connection, options, "execute_complete", owned=owned)
        try:
            waited = self.hook.run(jobs.wait_for_job(job.job_id, options))
        except AirbyteJobTimeoutError as error:
            waited = jobs.WaitResult(self._handle_timeout(error, owned=owned), 0)
        self._job_to_cancel = None
        return self._complete(waited.job, metadata, waited.poll_count)

    def _defer(
        self, job: Job, connection: Connection, options: WaitOptions, method_name: str, *, owned: bool
    ) -> NoReturn:
        from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger  # noqa: PLC0415 - not at parse time

        deadlines = [options.deadline]
        if self._task.execution_timeout is not None:
            # Airflow 3 applies execution_timeout to each part that runs in a worker, not while the task is deferred.
            deadlines.append(time.time() + self._task.execution_timeout.total_seconds())
        deadline = min((each for each in deadlines if each is not None), default=None)
        self._task.defer(
            trigger=AirbyteJobTrigger(
                job_id=job.job_id,
                connection_id=connection.connection_id,
                airbyte_conn_id=self._task.airbyte_conn_id,
                poll_interval=self._task.poll_interval,
                deadline=deadline,
                queue_deadline=options.queue_deadline,
                unreachable_timeout=self._task.unreachable_timeout,
                cancel_on_kill=self._task.cancel_on_kill and owned,
                workspace_id=connection.workspace_id,
                metadata={
                    **self._trigger_metadata(connection, owned=owned),
                    "try_number": _payloads.try_number_of(self._context),
                },
            ),
            method_name=method_name,
            timeout=None
            if deadline is None
            else timedelta(seconds=max(deadline - time.time(), 0) + DEFERRAL_TIMEOUT_MARGIN),
        )
        raise AssertionError("defer raises")

    # -- completion --------------------------------------------------------------------------------------------

    def _trigger_metadata(self, connection: Connection, *, owned: bool) -> dict[str, Any]:
        """Return the metadata for a trigger, which the task needs again at completion."""
        return {"workspace_id": connection.workspace_id, "name": connection.name, "owned": owned}

    def _complete(self, job: Job, metadata: Mapping[str, Any], poll_count: int) -> JobResult:
        is_a_sync = job.job_type not in start_job.CLEAR_JOB_TYPES
        if is_a_sync and job.status == JobStatus.SUCCEEDED and has_no_statistics(job):
            job = self._with_statistics(job)
        self.job = job
        workspace_id, name = metadata.get("workspace_id"), metadata.get("name", "")
        seen = JobContext(name, self._job_url(job, workspace_id), poll_count)
        raise_unless_succeeded(job, seen)
        if is_a_sync:
            require_rows(job, self._task.min_rows, seen)
        self._log.info("%s.", summarize(job, seen))
        if is_a_sync:
            self._warn_of_no_data(job, seen)
            self._emit_asset_events(job, seen, workspace_id, owned=metadata.get("owned") is True)
        return build_result(job, seen.job_url)

    def _poll(self, job_id: int) -> Job:
        """Poll a job that Airbyte has returned before."""
        return self.hook.run(jobs.get_job(job_id, is_seen=True))

    def _with_statistics(self, job: Job) -> Job:
        """Return ``job`` with rows and bytes, which some servers omit in lists; unchanged if they are unknown."""
        try:
            found = self._poll(job.job_id)
        except AirbyteError as error:
            self._log.warning("Job %d: rows and bytes are unknown. %s", job.job_id, error)
            return job
        # A lagging replica may still show the job as running, although a poll has seen it finished.
        return found if found.status == job.status else job

    def _warn_of_no_data(self, job: Job, seen: JobContext) -> None:
        """Warn of a success without data: Airbyte reports success even if the sync's container never started."""
        if not may_be_a_false_success(job):
            return
        moved = "no statistics" if has_no_statistics(job) else "0 rows and 0 bytes"
        self._log.warning(
            "Check job %d: Airbyte reports success with %s, as it does too if nothing ran. If that is no empty "
            "sync, look at the job's log. Set min_rows to let the task fail.%s",
            job.job_id,
            moved,
            f"\n{seen.job_url}" if seen.job_url else "",
        )

    def _emit_asset_events(self, job: Job, seen: JobContext, workspace_id: str | None, *, owned: bool) -> None:
        extra = build_asset_event_extra(job, seen.job_url, seen.name, workspace_id)
        of_connection = None if self._task.asset_events == "none" else self.hook.asset_uri(job.connection_id)
        AssetEvents(self._task, self._context, extra, owned=owned).emit(of_connection, self._stream_uris(job))

    def _stream_uris(self, job: Job) -> Iterator[str]:
        """Yield the asset URIs of the streams. The connection is fetched only when the caller iterates."""
        if self._task.asset_events != "streams":
            return
        try:
            connection = self.hook.get_airbyte_connection(job.connection_id)
        except AirbyteError as error:
            self._log.warning("Asset events of the streams skipped: Airbyte does not list them. %s", error)
            return
        for stream in connection.streams:
            yield self.hook.asset_uri(job.connection_id, *stream.path)

    def _handle_timeout(self, error: AirbyteJobTimeoutError, *, owned: bool) -> Job:
        """Cancel the job if the task owns it. Raise ``error`` with the outcome, or return the job if it succeeded."""
        limits = ", ".join(
            f"{name}={getattr(self._task, name)}" for name in ("timeout", "queue_timeout", "execution_timeout")
        )
        try:
            job = self.hook.run(jobs.cancel_and_wait(error.job_id)) if owned else self._poll(error.job_id)
        except AirbyteError as trouble:
            outcome = f"It could not be cancelled, so cancel it in Airbyte if it still runs. {trouble}"
        else:
            if job.status == JobStatus.SUCCEEDED:
                self._log.warning("%s But by now it has succeeded.", error)
                return job
            outcome = "It was cancelled." if job.status == JobStatus.CANCELLED else f"It is {job.status} now."
        if not owned:
            outcome = "It was started elsewhere, and so it is left running."
        raise AirbyteJobTimeoutError(f"{error} {outcome} The limits: {limits}.", job_id=error.job_id) from None

    def cancel_deferred_job(self) -> None:
        """Cancel the job of a deferral that Airflow has ended, but only if this task is known to own the job."""
        ti: Any = self._context["ti"]
        record = JobStateStore(self._context, durable=self._task.durable).load()
        job_id = ti.xcom_pull(task_ids=self._task.task_id, key="job_id", map_indexes=ti.map_index)
        if not isinstance(job_id, int):
            return
        if record is not None and record.job_id == job_id:
            owned = record.owned
        else:
            owned = ti.xcom_pull(task_ids=self._task.task_id, key=OWNED_JOB, map_indexes=ti.map_index) == job_id
        if not owned:
            self._log.warning("Airflow ended the wait for job %d, which was started elsewhere: it runs on.", job_id)
            return
        try:
            job = self.hook.run(jobs.cancel_and_wait(job_id))
        except AirbyteError as error:  # the task raises Airflow's error instead
            self._log.warning("Job %d could not be cancelled: cancel it in Airbyte if it still runs. %s", job_id, error)
        else:
            self._log.warning("Airflow ended the wait for job %d; its status is %s.", job.job_id, job.status)

    def _job_url(self, job: Job, workspace_id: str | None) -> str | None:
        return self.hook.job_url(workspace_id, job.connection_id, job.job_id) if workspace_id else None
