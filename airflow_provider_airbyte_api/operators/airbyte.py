"""Operators: run a sync, and list what there is in an Airbyte."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowSkipException, BaseOperator, conf

from airflow_provider_airbyte_api.api import jobs, starting
from airflow_provider_airbyte_api.api.errors import (
    AirbyteConnectionInactiveError,
    AirbyteError,
    AirbyteJobTimeoutError,
    AirbyteNotFoundError,
)
from airflow_provider_airbyte_api.api.jobs import Patience
from airflow_provider_airbyte_api.api.models import Connection, Job, JobStatus
from airflow_provider_airbyte_api.api.verdict import Seen, describe, require_success, result_of
from airflow_provider_airbyte_api.arguments import one_of, positive_seconds, positive_seconds_or_none
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.hooks.errors import airflow_errors, as_airflow
from airflow_provider_airbyte_api.operators.memory import Memory, Record
from airflow_provider_airbyte_api.triggers import events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

WEEK = 7 * 24 * 3600.0

DEFERRAL_GRACE = 300.0
"""Seconds after a task's deadline at which Airflow itself ends its deferral, should the trigger not have done so."""


class AirbyteListSourcesOperator(BaseOperator):
    """Lists the sources of an Airbyte, as the API shows them: a list of dicts with ``sourceId``, ``name`` and so on.

    :param workspace_ids: only the sources of these workspaces; of all that the application's user sees by default.
    :param include_configuration: leave ``configuration`` in. It has host names, user names and the like in it, its
        secrets masked by Airbyte, and it may be large: the list goes to XCom.
    :param airbyte_conn_id: the id of the Airflow connection.
    """

    template_fields: Sequence[str] = ("workspace_ids", "airbyte_conn_id")
    ui_color = "#e5e4ff"

    def __init__(
        self,
        *,
        workspace_ids: str | Iterable[str] = (),
        include_configuration: bool = False,
        airbyte_conn_id: str = AirbyteHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.workspace_ids = workspace_ids
        self.include_configuration = include_configuration
        self.airbyte_conn_id = airbyte_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return all sources, each once."""
        sources = [dict(source.raw) for source in AirbyteHook(self.airbyte_conn_id).list_sources(self.workspace_ids)]
        if not self.include_configuration:
            for source in sources:
                source.pop("configuration", None)
        self.log.info("Found %d sources.", len(sources))
        return sources


class AirbyteSyncOperator(BaseOperator):
    """Runs one sync of an Airbyte connection, and fails unless it succeeds.

    Each task run is one sync, whatever fails: a retry follows the job of the earlier try if it still runs, takes its
    result if it has succeeded, and starts a new sync if it failed. Clearing the task starts a new one, and cancels the
    old one before if it still runs.

    The XComs ``job_id`` and ``job_url`` are there before it waits. It returns a dict with ``job_id``, ``status``,
    ``connection_id``, ``job_type``, ``rows_synced``, ``bytes_synced``, ``duration_seconds``, ``start_time`` and
    ``job_url``; without ``wait_for_completion`` as they are at the start.

    :param connection_id: the UUID of the Airbyte connection to sync.
    :param airbyte_conn_id: the id of the Airflow connection.
    :param wait_for_completion: wait for the end of the sync; else the task is done once the sync is started.
    :param deferrable: wait in the triggerer, without a worker. Default: ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks at the job.
    :param timeout: seconds from the start of the sync within which it must be finished, else it is cancelled and the
        task fails. None: no limit. Default: 7 days.
    :param queue_timeout: seconds from the start within which the job must have begun, that is, be neither pending nor
        queued, else it is cancelled and the task fails. None: no limit.
    :param unreachable_timeout: seconds that Airbyte may be away while the sync is waited for. The sync is not
        cancelled then: nobody knows how it is doing.
    :param on_running: what to do if a job of the connection runs already: ``attach`` to a sync, that is wait for it
        instead of starting one; ``wait`` for its end, then start; ``skip`` the task; ``fail``; or ``restart``: cancel
        it, then start. What is no sync (a clear, say) is waited for by ``attach`` too.
    :param on_inactive: ``fail`` or ``skip`` if the connection is inactive, locked or deleted.
    :param cancel_on_kill: cancel the sync if the task is killed, marked, or cleared while it runs. One that the task
        only attached to is never cancelled.
    :param durable: remember the job from try to try. Airflow 3.3 and newer keep it; on older ones a retry asks Airbyte
        for a sync of the connection that still runs and was started since the DAG run was.
    """

    template_fields: Sequence[str] = ("connection_id", "airbyte_conn_id")
    ui_color = "#e5e4ff"

    def __init__(
        self,
        *,
        connection_id: str,
        airbyte_conn_id: str = AirbyteHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30.0,
        timeout: float | None = WEEK,
        queue_timeout: float | None = None,
        unreachable_timeout: float = jobs.UNREACHABLE_TIMEOUT,
        on_running: str = "attach",
        on_inactive: str = "fail",
        cancel_on_kill: bool = True,
        durable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connection_id = connection_id
        self.airbyte_conn_id = airbyte_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = positive_seconds(poll_interval, "poll_interval")
        self.timeout = positive_seconds_or_none(timeout, "timeout")
        self.queue_timeout = positive_seconds_or_none(queue_timeout, "queue_timeout")
        self.unreachable_timeout = positive_seconds(unreachable_timeout, "unreachable_timeout")
        self.on_running = one_of(on_running, "on_running", starting.ON_RUNNING)
        self.on_inactive = one_of(on_inactive, "on_inactive", ("fail", "skip"))
        self.cancel_on_kill = cancel_on_kill
        self.durable = durable
        self._job_to_cancel: int | None = None
        self._killed = False

    @cached_property
    def hook(self) -> AirbyteHook:
        """The hook that this task talks through."""
        return AirbyteHook(self.airbyte_conn_id)

    # -- Airflow's side ----------------------------------------------------------------------------------------

    def execute(self, context: Context) -> dict[str, Any]:
        """Follow the sync of an earlier try, or start one; wait for its end, or leave that to the trigger."""
        return self._run(context)

    def _run(self, context: Context) -> dict[str, Any]:
        connection = self.hook.get_airbyte_connection(self.connection_id)
        memory = Memory(context, durable=self.durable)
        job = self._job_of_an_earlier_try(context, connection, memory)
        if job is None:
            job = self._start(connection, memory)
        return self._follow(context, connection, job, memory)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on after the trigger has waited for this task's job: return the result, or raise what the event brings."""
        with airflow_errors():
            woken = events.read(event)
        job = woken.job
        if isinstance(woken.error, AirbyteJobTimeoutError):
            job = self._out_of_time(woken.error, owned=bool(woken.handed_on.get("owned", True)))
        elif woken.error is not None:
            raise as_airflow(woken.error)
        job = job or self.hook.get_job(woken.job_id)
        workspace_id = woken.handed_on.get("workspace_id")
        seen = Seen(woken.handed_on.get("name", ""), self._job_url(job, workspace_id), woken.looks)
        return self._finish(job, seen)

    def execute_after_other(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin anew after the trigger has waited for another job of the connection, however that ended."""
        with airflow_errors():
            woken = events.read(event)
        if woken.error is not None:
            raise as_airflow(woken.error)
        return self._run(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Do as Airflow does, and cancel the job if Airflow has ended the deferral because its time was over."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if type(error).__name__ == "TaskDeferralTimeout":  # it lives in another module on Airflow 2
                self._cancel_what_was_waited_for(context)
            raise

    def on_kill(self) -> None:
        """Cancel the job that this task waits for in a worker.

        If it is killed while it starts the sync, the job is cancelled as soon as it is known, if there is time left;
        else the next try finds it.
        """
        self._killed = True
        if self.cancel_on_kill and self._job_to_cancel is not None:
            self.hook.cancel_job_on_kill(self._job_to_cancel)

    # -- finding the job, or starting it -----------------------------------------------------------------------

    def _job_of_an_earlier_try(self, context: Context, connection: Connection, memory: Memory) -> Job | None:
        """Return the job to follow, or None if a new sync is to be started."""
        record = memory.recall()
        if record is None:
            job = self._job_since_the_dag_run_began(context, connection, memory)
        elif record.connection_id != connection.connection_id:
            job = None
        else:
            job = self._job_of(record)
            if job is not None and not memory.is_of_this_run(record):
                self._cancel_before_a_new_sync(job, record)
                job = None
        if job is None or (job.is_finished and job.status != JobStatus.SUCCEEDED):
            return None
        self.log.info("Following job %d of an earlier try of this task; it is %s.", job.job_id, job.status)
        if record is None:
            memory.intend(connection.connection_id, job.job_id - 1)
        memory.made(job.job_id, owned=record is not None and record.owned)
        return job

    def _job_of(self, record: Record) -> Job | None:
        """Return the job of ``record``; if its try died while it started the sync, the one that came of that."""
        if record.job_id is None:
            return self.hook.run(starting.sync_after(record.connection_id, record.newest))
        try:
            return self.hook.get_job(record.job_id)
        except AirbyteNotFoundError as error:
            self.log.warning("%s Starting a new sync.", error)
            return None

    def _job_since_the_dag_run_began(self, context: Context, connection: Connection, memory: Memory) -> Job | None:
        """Return what a retry finds without a memory (Airflow before 3.3): a sync that was started since the DAG run.

        Nothing tells whether this task started it, so only one that still runs counts: its end is new data for
        whoever waits. And it is not ours to cancel.
        """
        everything: Any = context
        ti, dag_run = everything["ti"], everything.get("dag_run")
        is_a_retry = getattr(ti, "try_number", 1) > 1 and getattr(ti, "max_tries", 0) == self.retries
        if not self.durable or memory.is_kept or not is_a_retry or dag_run is None or dag_run.start_date is None:
            return None
        job = self.hook.run(starting.sync_since(connection.connection_id, dag_run.start_date.timestamp()))
        return None if job is None or job.is_finished else job

    def _cancel_before_a_new_sync(self, job: Job, record: Record) -> None:
        """Cancel the job of before a clear, so that the new sync is not refused or taken for it."""
        if job.is_finished or not record.owned:
            return
        self.log.info("The task was cleared: cancelling job %d of before, for a new sync.", job.job_id)
        self.hook.run(starting.cancel_and_wait(job.job_id))

    def _start(self, connection: Connection, memory: Memory) -> Job:
        """Start a sync, or take up the one that runs; wait first for what has to end before, or defer for that."""
        while True:
            try:
                with airflow_errors():
                    starting.require_active(connection)
                newest = self.hook.run(starting.newest_job_id(connection.connection_id))
                memory.intend(connection.connection_id, newest)
                outcome = self.hook.run(starting.start_or_adopt(connection, newest, self.on_running))
            except AirbyteError as error:
                if not error.maybe_processed:
                    memory.forget()
                if isinstance(error, AirbyteConnectionInactiveError) and self.on_inactive == "skip":
                    raise AirflowSkipException(str(error)) from error
                raise
            if isinstance(outcome, starting.Started):
                memory.made(outcome.job.job_id, owned=outcome.owned)
                return outcome.job
            memory.forget()
            if isinstance(outcome, starting.NotStarted):
                raise AirflowSkipException(outcome.reason)
            self._wait_for_other(connection, outcome.job)

    def _wait_for_other(self, connection: Connection, job: Job) -> None:
        deadline = None if self.timeout is None else time.time() + self.timeout
        patience = Patience(self.poll_interval, deadline, unreachable_timeout=self.unreachable_timeout)
        if self.deferrable:
            self._defer(job, connection, patience, "execute_after_other", owned=False)
        self.hook.run(jobs.wait_for_job(job.job_id, patience))

    # -- waiting -----------------------------------------------------------------------------------------------

    def _follow(self, context: Context, connection: Connection, job: Job, memory: Memory) -> dict[str, Any]:
        record = memory.record
        owned = record is None or record.owned
        started_at = time.time() if record is None else record.started_at
        self._job_to_cancel = job.job_id if owned else None
        if self._killed:
            self.on_kill()
        job_url = self._job_url(job, connection.workspace_id)
        self.log.info("Syncing Airbyte connection %r with job %d: %s", connection.name, job.job_id, job_url)
        context["ti"].xcom_push(key="job_id", value=job.job_id)
        context["ti"].xcom_push(key="job_url", value=job_url)
        if not self.wait_for_completion:
            return result_of(job, job_url)
        if job.is_finished:
            return self._finish(job, Seen(connection.name, job_url, 1))
        patience = Patience(
            self.poll_interval,
            None if self.timeout is None else started_at + self.timeout,
            None if self.queue_timeout is None else started_at + self.queue_timeout,
            self.unreachable_timeout,
        )
        if self.deferrable:
            self._defer(job, connection, patience, "execute_complete", owned=owned)
        try:
            waited = self.hook.run(jobs.wait_for_job(job.job_id, patience))
        except AirbyteJobTimeoutError as error:
            waited = jobs.Waited(self._out_of_time(error, owned=owned), 0)
        self._job_to_cancel = None
        return self._finish(waited.job, Seen(connection.name, job_url, waited.looks))

    def _defer(
        self, job: Job, connection: Connection, patience: Patience, method_name: str, *, owned: bool
    ) -> NoReturn:
        from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger  # noqa: PLC0415 - not at parse time

        deadlines = [patience.deadline]
        if self.execution_timeout is not None:
            # Airflow 3 applies it to each slice in a worker, and not while the task is deferred.
            deadlines.append(time.time() + self.execution_timeout.total_seconds())
        deadline = min((each for each in deadlines if each is not None), default=None)
        self.defer(
            trigger=AirbyteJobTrigger(
                job_id=job.job_id,
                connection_id=connection.connection_id,
                airbyte_conn_id=self.airbyte_conn_id,
                poll_interval=self.poll_interval,
                deadline=deadline,
                queue_deadline=patience.queue_deadline,
                unreachable_timeout=self.unreachable_timeout,
                cancel_on_kill=self.cancel_on_kill and owned,
                handed_on={"workspace_id": connection.workspace_id, "name": connection.name, "owned": owned},
            ),
            method_name=method_name,
            timeout=None if deadline is None else timedelta(seconds=max(deadline - time.time(), 0) + DEFERRAL_GRACE),
        )
        raise AssertionError("defer raises")

    # -- the end -----------------------------------------------------------------------------------------------

    def _finish(self, job: Job, seen: Seen) -> dict[str, Any]:
        with airflow_errors():
            require_success(job, seen)
        self.log.info("%s.", describe(job, seen))
        return result_of(job, seen.job_url)

    def _out_of_time(self, error: AirbyteJobTimeoutError, *, owned: bool) -> Job:
        """Cancel the job if it is ours, and raise ``error`` with what became of it; return it if it has succeeded."""
        limits = (
            f"timeout={self.timeout}, queue_timeout={self.queue_timeout}, execution_timeout={self.execution_timeout}"
        )
        fate = "It was started elsewhere, and so it is left running."
        if owned:
            try:
                job = self.hook.cancel_job(error.job_id)
            except AirbyteError as trouble:
                fate = f"It could not be cancelled, so cancel it in Airbyte if it still runs. {trouble}"
            else:
                if job.status == JobStatus.SUCCEEDED:
                    self.log.warning("%s But by now it has succeeded.", error)
                    return job
                fate = "It was cancelled." if job.status == JobStatus.CANCELLED else f"It is {job.status} now."
        raise as_airflow(AirbyteJobTimeoutError(f"{error} {fate} The limits: {limits}.", job_id=error.job_id)) from None

    def _cancel_what_was_waited_for(self, context: Context) -> None:
        ti: Any = context["ti"]
        record = Memory(context, durable=self.durable).recall()
        job_id = ti.xcom_pull(task_ids=self.task_id, key="job_id", map_indexes=ti.map_index)
        if isinstance(job_id, int) and (record is None or record.job_id != job_id or record.owned):
            job = self.hook.cancel_job(job_id)
            self.log.warning("Airflow ended the wait for job %d; its status is %s.", job.job_id, job.status)

    def _job_url(self, job: Job, workspace_id: str | None) -> str | None:
        return self.hook.job_url(workspace_id, job.connection_id, job.job_id) if workspace_id else None
