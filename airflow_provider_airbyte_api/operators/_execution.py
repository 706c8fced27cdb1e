"""The execution of a task that starts a job and waits for it. Not imported while a DAG is parsed.

What the task does is decided by the flow :func:`.run_job`. This module connects it to Airflow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api._airflow_compat import AirflowException, AirflowSkipException
from airflow_provider_airbyte_api._defaults import DEFERRAL_TIMEOUT_MARGIN
from airflow_provider_airbyte_api._options import get_min_deferral
from airflow_provider_airbyte_api._validation import resolve_task_connection, set_map_index_name
from airflow_provider_airbyte_api.api import jobs
from airflow_provider_airbyte_api.api.backoff import RetryPolicy
from airflow_provider_airbyte_api.api.flow import Checkpoint, Flow
from airflow_provider_airbyte_api.api.job_record import JobRecord
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.api.outcome import (
    JobContext,
    build_asset_event_extra,
    build_result,
    has_no_statistics,
    locate,
    may_be_a_false_success,
    require_rows,
    summarize,
)
from airflow_provider_airbyte_api.api.progress import ReportSchedule
from airflow_provider_airbyte_api.api.run_job import Defer, RunHistory, RunOptions, blocker_error, resume_job, run_job
from airflow_provider_airbyte_api.api.start_job import CLEAR_JOB_TYPES, Skipped
from airflow_provider_airbyte_api.exceptions import (
    AirbyteError,
    AirbyteJobError,
    AirbyteJobNotRetriedError,
    AirbyteJobTimeoutError,
)
from airflow_provider_airbyte_api.links.airbyte import push_link_urls
from airflow_provider_airbyte_api.operators._asset_events import AssetEventEmitter
from airflow_provider_airbyte_api.operators._job_state import JobStateStore, StoredState
from airflow_provider_airbyte_api.operators._kill import should_cancel
from airflow_provider_airbyte_api.triggers import _payloads
from airflow_provider_airbyte_api.triggers._abandonment import JOB_ID_XCOM
from airflow_provider_airbyte_api.triggers._sync_info import push_sync_info
from airflow_provider_airbyte_api.types import FailureReason, JobResult, JobStatus

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context
    from airflow_provider_airbyte_api.operators._base import AirbyteJobOperator

T = TypeVar("T")

DEFERRAL = "deferral"
"""Key of the XCom with the latest :class:`_Deferral`. Airflow passes nothing of a deferral that it ends itself."""

MAX_ENDED_DEFERRALS = 3
"""Maximum number of deferrals that Airflow may end, for a reason other than a timeout, before the attempt fails."""


@dataclass(frozen=True)
class _Deferral:
    """The attempt that was deferred, how many of its deferrals Airflow had ended, and the record of its job.

    There is no record while the task waits for another job of the connection.
    """

    try_number: int
    ended: int = 0
    record: JobRecord | None = None

    @classmethod
    def parse(cls, value: Any) -> _Deferral | None:
        """Return the deferral with these fields, or None if they are invalid."""
        try:
            fields = value["record"]
            record = None if fields is None else JobRecord.parse(fields)
            is_valid = fields is None or record is not None
            return cls(int(value["try_number"]), int(value["ended"]), record) if is_valid else None
        except (KeyError, TypeError, ValueError):
            return None


class JobExecution:
    """One part of a task run: from its start or the end of a deferral, to its end or the next deferral."""

    _connection: Connection

    def __init__(self, task: AirbyteJobOperator, context: Context) -> None:
        self._task = task
        self._context = context
        self.hook = task.hook
        self._log = task.log
        self._job_to_cancel: int | None = None
        self._record: JobRecord | None = None
        self._ended_deferrals = 0
        self._metadata: Mapping[str, Any] = {}
        self._reports = ReportSchedule()
        self._polled: Job | None = None
        self.job: Job | None = None
        """The job that the task follows, or that has finished, or None before it is known."""
        self.started_nothing = False
        """True after a start that created no job."""

    @cached_property
    def _ti(self) -> Any:
        return self._context["ti"]

    @cached_property
    def _state(self) -> JobStateStore:
        return JobStateStore(self._context, durable=self._task.durable)

    @cached_property
    def _options(self) -> RunOptions:
        return RunOptions(**{each.name: getattr(self._task, each.name) for each in fields(RunOptions)})

    def run(self, *, waited_for_blocker: bool = False) -> JobResult:
        """Follow the job of an earlier attempt or start one, then wait until it has finished, or defer.

        :param waited_for_blocker: True if the task has waited for another job of the connection.
        """
        if self._task.deferrable:
            get_min_deferral()  # an invalid option fails the task before it starts a job
        stored = self._load_state(waited_for_blocker=waited_for_blocker)
        since = None if stored.started_nothing else self._created_since()
        return self._run(RunHistory(stored.record, stored.is_cleared, since, waited_for_blocker))

    def _run(self, history: RunHistory) -> JobResult:
        flow = run_job(self._options, self._find_connection, history, self._on_poll)
        outcome = self._perform(flow, self._on_checkpoint)
        if isinstance(outcome, Skipped):
            if self.started_nothing and self.has_record_to_delete:
                self.delete_record()
            raise AirflowSkipException(outcome.reason)
        if isinstance(outcome, Defer):
            self._defer(outcome)
        if not self._task.wait_for_completion:
            return build_result(outcome.job, self._job_context(outcome.job).job_url)
        return self._complete(outcome.job, outcome.poll_count, owned=outcome.owned)

    def _perform(self, flow: Flow[T], on_checkpoint: Callable[[Checkpoint], None] | None = None) -> T:
        """Run ``flow``. The error of a missed deadline says where its job is, as that of a failed job does."""
        try:
            return self.hook.run(flow, on_checkpoint)
        except AirbyteJobTimeoutError as error:
            job = self._polled
            if job is None or job.job_id != error.job_id:
                raise
            raise type(error)(f"{error} {locate(job, self._job_context(job))}", job_id=job.job_id) from None

    def resume(self, event: dict[str, Any] | None = None) -> JobResult:
        """Resume after the trigger has waited for this task's job: return the result, or raise the event's error."""
        job_event = _payloads.parse(event)
        if job_event.is_stale_failure(self._context, self._task.min_rows):
            return self.run()
        self._metadata = job_event.metadata
        set_map_index_name(self._context, self._metadata.get("name", ""))
        owned = self._metadata.get("owned") is True
        flow = resume_job(self._options, job_event.job_id, job_event.job, job_event.error, self._on_poll, owned=owned)
        return self._complete(self._perform(flow), job_event.poll_count, owned=owned)

    def resume_after_blocker(self, event: dict[str, Any] | None = None) -> JobResult:
        """Run again after the trigger has waited for another job of the connection to finish with any status."""
        job_event = _payloads.parse(event)
        if job_event.is_stale_failure(self._context):
            return self.run()
        if job_event.error is not None:
            raise blocker_error(self._options, job_event.error)
        return self.run(waited_for_blocker=True)

    def resume_after_ended_deferral(self, error: Exception) -> JobResult:
        """Resume after Airflow itself has ended the deferral with ``error``.

        After a timeout, cancel the job and raise the error. Otherwise nothing is wrong with the job, so follow it again
        in the same attempt.
        """
        deferral = self._last_deferral
        if deferral is not None and deferral.try_number != self._try_number:
            return self.run()  # Airflow 3.0 passes the error to the next attempt again
        if _airflow_compat.is_deferral_timeout(error):
            self.cancel_deferred_job()
            raise error
        if deferral is None or deferral.ended >= MAX_ENDED_DEFERRALS:
            raise error
        self._ended_deferrals = deferral.ended + 1
        self._log.warning("Airflow ended the deferral, so the task waits again: %s", error)
        if deferral.record is None:
            return self.run(waited_for_blocker=True)
        return self._run(RunHistory(deferral.record, is_same_attempt=True))

    @property
    def has_record_to_delete(self) -> bool:
        """True if the record of this task run remains after its end, unless :meth:`delete_record` is called."""
        return self._state.is_shared

    def delete_record(self) -> None:
        """Delete the record. Without it, a later run of the task neither follows nor cancels the job."""
        try:
            self._state.delete()
        except Exception as error:  # noqa: BLE001 - Airflow's database and object storages raise anything
            self._log.warning("Could not delete the stored job record. %s: %s", type(error).__name__, error)

    def cancel_on_kill(self, *, timed_out: bool = False) -> None:
        """Cancel the job if it is known and nobody wants it any more.

        :param timed_out: Whether the task's ``execution_timeout`` has passed.
        """
        if self._job_to_cancel is not None:
            self.hook.cancel_job_on_kill(
                self._job_to_cancel,
                partial(self._should_cancel, self._job_to_cancel, timed_out),
                wait=timed_out or _airflow_compat.stops_after_on_kill(),
            )

    def _should_cancel(self, job_id: int, timed_out: bool) -> bool:
        """Return True if the job of the killed task has to be cancelled, and log it if it has not."""
        policy = self._task.cancel_on_kill
        follows = self._state.keeps_records and self._try_number <= _airflow_compat.max_tries(self._context)
        try:
            if should_cancel(
                policy,
                timed_out=timed_out,
                next_attempt_follows=follows,
                get_state=partial(_airflow_compat.current_state, self._ti),
            ):
                return True
        except Exception as error:  # noqa: BLE001 - Airflow raises anything
            self._log.warning("Could not ask Airflow for the task's state. %s: %s", type(error).__name__, error)
        then = "and the next attempt of the task follows it" if follows else "and nothing follows it"
        self._log.warning("The task's process is ended. Job %d continues in Airbyte, %s.", job_id, then)
        return False

    # -- before and during the flow ----------------------------------------------------------------------------

    def _find_connection(self, retry: RetryPolicy) -> Flow[Connection]:
        self._connection = yield from resolve_task_connection(self._task, retry)
        self._metadata = {"workspace_id": self._connection.workspace_id, "name": self._connection.name}
        set_map_index_name(self._context, self._connection.name)
        return self._connection

    def _load_state(self, *, waited_for_blocker: bool) -> StoredState:
        """Return what :meth:`.JobStateStore.load` returns. An attempt that is the first one has nothing to load."""
        is_start = not waited_for_blocker and _airflow_compat.is_first_attempt(self._context, self._task.retries)
        return StoredState() if is_start else self._state.load()

    def _created_since(self) -> float | None:
        """Return the start of the DAG run, for a retry that may have lost its record, or None.

        Airflow's own store loses none.
        """
        is_retry = _airflow_compat.is_uncleared_retry(self._context, self._task.retries)
        dag_run: Any = self._context.get("dag_run")
        if not self._task.durable or self._state.is_reliable or not is_retry or dag_run is None:
            return None
        return None if dag_run.start_date is None else float(dag_run.start_date.timestamp())

    @property
    def _try_number(self) -> int:
        return _payloads.try_number_of(self._context)

    def _on_checkpoint(self, checkpoint: Checkpoint) -> None:
        record, job = checkpoint.record, checkpoint.job
        if self._task.killed and record is not None and job is None:
            raise AirflowException("The task was killed before it started a job.")
        self._save(checkpoint)
        self._record = record
        self.started_nothing = record is None
        if record is not None and job is not None:
            self._follow(job, owned=record.owned)

    def _save(self, checkpoint: Checkpoint) -> None:
        """Store the record. Without the one from before a start, a dead attempt could cost a second job."""
        try:
            self._state.save(checkpoint.record)
        except Exception as error:
            if checkpoint.record is not None and checkpoint.job is None:
                raise AirbyteError(
                    "Could not store the record by which a retry finds the job, so no job was started. Check Airflow's "
                    f"database, or what [airbyte_api] job_state_backend names. {type(error).__name__}: {error}"
                ) from error
            self._log.warning("Could not update the stored job record. %s: %s", type(error).__name__, error)

    def _follow(self, job: Job, *, owned: bool) -> None:
        """Show which job the task follows from now on, before it waits."""
        self.job = job
        self._job_to_cancel = job.job_id if owned else None
        if self._task.killed:
            self.cancel_on_kill()
        connection = self._connection
        job_context = self._job_context(job)
        job_url = job_context.job_url
        verb = "Started" if owned else "Attached to"
        self._log.info("%s %s: job %d of Airbyte connection %r.", verb, job.job_type, job.job_id, connection.name)
        if job_url is not None:
            self._log.info("%s", job_url)
        self._ti.xcom_push(key=JOB_ID_XCOM, value=job.job_id)
        push_link_urls(self._ti, job_url, self.hook.connection_url(connection.workspace_id, connection.connection_id))
        self._push_info(job, job_context)

    def _on_poll(self, job: Job) -> None:
        """Show how far the job is, or how its cancellation ended."""
        self._polled = job
        if self._reports.is_due(job, time.time()):
            self._push_info(job, self._job_context(job))

    # -- outcomes ----------------------------------------------------------------------------------------------

    def _defer(self, outcome: Defer) -> NoReturn:
        from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger  # noqa: PLC0415 - not at parse time

        job_id, options, owned = outcome.job.job_id, outcome.options, outcome.owned
        deferral = _Deferral(self._try_number, self._ended_deferrals, self._record)
        self._ti.xcom_push(key=DEFERRAL, value=asdict(deferral))
        timeout = None
        if options.deadline is not None:
            timeout = timedelta(seconds=max(options.deadline - time.time(), 0) + DEFERRAL_TIMEOUT_MARGIN)
        self._task.defer(
            trigger=AirbyteJobTrigger(
                job_id=job_id,
                connection_id=self._connection.connection_id,
                airbyte_conn_id=self._task.airbyte_conn_id,
                poll_interval=self._task.poll_interval,
                deadline=options.deadline,
                queue_deadline=options.queue_deadline,
                unreachable_timeout=self._task.unreachable_timeout,
                cancel_on_kill=self._task.cancel_on_kill != "never" and owned,
                workspace_id=self._connection.workspace_id,
                metadata={**self._metadata, "owned": owned, "try_number": self._try_number},
                stalled_timeout=options.stalled_timeout,
                report_progress=not outcome.is_blocker,
            ),
            method_name="execute_after_blocker" if outcome.is_blocker else "execute_complete",
            timeout=timeout,
        )
        raise AssertionError("defer raises")

    def _job_context(self, job: Job, poll_count: int = 0) -> JobContext:
        workspace_id = self._metadata.get("workspace_id")
        job_url = self.hook.job_url(workspace_id, job.connection_id, job.job_id) if workspace_id else None
        return JobContext(self._metadata.get("name", ""), job_url, poll_count)

    def _complete(self, job: Job, poll_count: int, *, owned: bool) -> JobResult:
        self.job, self._job_to_cancel = job, None
        is_a_sync = job.job_type not in CLEAR_JOB_TYPES
        job_context = self._job_context(job, poll_count)
        self._require_success(job, job_context)
        self._push_info(job, job_context)
        if is_a_sync:
            require_rows(job, self._task.min_rows, job_context)
        self._log.info("%s.", summarize(job, job_context))
        if is_a_sync:
            self._warn_of_no_data(job, job_context)
            self._emit_asset_events(job, job_context, owned=owned)
        return build_result(job, job_context.job_url)

    def _require_success(self, job: Job, job_context: JobContext) -> None:
        """Raise an error unless the job succeeded, and push how it ended."""
        try:
            self.hook.require_success(
                job,
                job_context,
                show_internal_errors=self._task.show_internal_errors,
                log_tail=self._task.log_tail,
            )
        except AirbyteJobError as error:
            self._push_info(job, job_context, error.reason)
            if job.status == JobStatus.FAILED and error.reason and error.reason.kind in self._task.fail_fast_on:
                raise AirbyteJobNotRetriedError(str(error), job_id=error.job_id, reason=error.reason) from None
            raise

    def _push_info(self, job: Job, job_context: JobContext, reason: FailureReason | None = None) -> None:
        now = time.time()
        self._reports.on_report(job, now)
        push_sync_info(self._ti, self._log, job, job_context, now, reason)

    def _warn_of_no_data(self, job: Job, job_context: JobContext) -> None:
        """Warn of a success without data: Airbyte reports success even if the sync's container never started."""
        if not may_be_a_false_success(job):
            return
        moved = "no statistics" if has_no_statistics(job) else "0 rows and 0 bytes"
        self._log.warning(
            "Check job %d: Airbyte reports success with %s, which it also does if the sync did not run. If it was not "
            "an empty sync, see the job log. Set min_rows to fail the task.%s",
            job.job_id,
            moved,
            f"\n{job_context.job_url}" if job_context.job_url else "",
        )

    def _emit_asset_events(self, job: Job, job_context: JobContext, *, owned: bool) -> None:
        workspace_id = self._metadata.get("workspace_id")
        extra = build_asset_event_extra(job, job_context.job_url, job_context.name, workspace_id)
        of_connection = None if self._task.asset_events == "none" else self.hook.asset_uri(job.connection_id)
        AssetEventEmitter(self._task, self._context, extra, owned=owned).emit(of_connection, self._stream_uris(job))

    def _stream_uris(self, job: Job) -> Iterator[str]:
        """Yield the asset URIs of the streams. The connection is fetched only when the caller iterates."""
        if self._task.asset_events != "streams":
            return
        try:
            connection = self.hook.get_airbyte_connection(job.connection_id)
        except AirbyteError as error:
            self._log.warning("No asset events emitted for the streams: could not list them. %s", error)
            return
        for stream in connection.streams:
            yield self.hook.asset_uri(job.connection_id, *stream.path)

    def cancel_deferred_job(self) -> None:
        """Cancel the job of a deferral that Airflow has ended, but only if this task is known to own the job."""
        deferral = self._last_deferral
        if deferral is None or deferral.record is None or deferral.record.job_id is None:
            return
        job_id = deferral.record.job_id
        if not deferral.record.owned:
            self._log.warning(
                "Airflow ended the wait for job %d. This task did not start the job, so it was left running.", job_id
            )
            return
        try:
            job = self.hook.run(jobs.cancel_and_wait(job_id))
        except AirbyteError as error:  # the task raises Airflow's error instead
            self._log.warning("Could not cancel job %d; cancel it in Airbyte if it is still running. %s", job_id, error)
        else:
            self._log.warning("Airflow ended the wait for job %d (status: %s).", job.job_id, job.status)

    @property
    def _last_deferral(self) -> _Deferral | None:
        value = self._ti.xcom_pull(task_ids=self._task.task_id, key=DEFERRAL, map_indexes=self._ti.map_index)
        return _Deferral.parse(value)
