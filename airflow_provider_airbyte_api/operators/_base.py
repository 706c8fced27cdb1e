"""The base class of the operators that run one job of an Airbyte connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api._airflow_compat import ENDED_DEFERRAL, BaseOperator, conf
from airflow_provider_airbyte_api._defaults import (
    DEFAULT_CONN_ID,
    DEFAULT_POLL_INTERVAL,
    DEFAULT_TIMEOUT,
    DEFAULT_UNREACHABLE_TIMEOUT,
)
from airflow_provider_airbyte_api._tracebacks import short_traceback
from airflow_provider_airbyte_api._validation import (
    CONNECTION_FIELDS,
    boolean,
    check_choice,
    check_optional_seconds,
    check_seconds,
    provided_fields,
    require_exactly_one,
    texts,
)
from airflow_provider_airbyte_api.links.airbyte import AirbyteConnectionLink, AirbyteJobLink, PushesOwnLinks
from airflow_provider_airbyte_api.types import CancelOnKill, FailFastKind, JobResult, OnInactive

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context
    from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
    from airflow_provider_airbyte_api.operators._execution import JobExecution


class AirbyteJobOperator(PushesOwnLinks, BaseOperator):
    """Base class of the operators that run one job of an Airbyte connection, and fail unless it succeeds.

    A task run is exactly one job. A retry follows the job of the previous attempt if it is still running, returns its
    result if it succeeded, and starts a new job if it failed. Clearing the task starts a new job; if the old one is
    still running, it is cancelled first.

    Pushes the XComs ``job_id`` and ``job_url`` before it waits, and keeps ``airbyte_sync`` up to date until its end:
    see :class:`~..types.AirbyteSyncInfo`. Returns a dict with ``job_id``, ``status``, ``connection_id``, ``job_type``,
    ``rows_synced``, ``bytes_synced``, ``duration_seconds``, ``start_time`` and ``job_url``; without
    ``wait_for_completion``, with their values at the start.

    The parameters are those of :class:`~.airbyte.AirbyteSyncOperator`.
    """

    job_type = "sync"
    on_airbyte_schedule = "ignore"
    asset_events = "none"
    min_rows: int | None = None
    stalled_timeout: float | None = None
    log_tail = 0

    template_fields: Sequence[str] = (*CONNECTION_FIELDS, "airbyte_conn_id")
    operator_extra_links = (AirbyteJobLink(), AirbyteConnectionLink())
    ui_color = "#e5e4ff"

    def __init__(
        self,
        *,
        connection_id: str | None = None,
        connection_name: str | None = None,
        workspace_id: str | None = None,
        workspace_name: str | None = None,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float = DEFAULT_POLL_INTERVAL,
        timeout: timedelta | float | None = DEFAULT_TIMEOUT,
        queue_timeout: timedelta | float | None = None,
        unreachable_timeout: timedelta | float = DEFAULT_UNREACHABLE_TIMEOUT,
        on_running: str,
        on_inactive: OnInactive = "fail",
        cancel_on_kill: CancelOnKill = "auto",
        durable: bool = True,
        fail_fast_on: Iterable[FailFastKind] = (),
        show_internal_errors: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_exactly_one(connection_id, connection_name)
        self.connection_id = connection_id
        self.connection_name = connection_name
        self.workspace_id = workspace_id
        self.workspace_name = workspace_name
        self.given = provided_fields(self, CONNECTION_FIELDS)
        self.airbyte_conn_id = airbyte_conn_id
        self.wait_for_completion = boolean(wait_for_completion, "wait_for_completion")
        self.deferrable = boolean(deferrable, "deferrable")
        self.poll_interval = check_seconds(poll_interval, "poll_interval")
        self.timeout = check_optional_seconds(timeout, "timeout")
        self.queue_timeout = check_optional_seconds(queue_timeout, "queue_timeout")
        self.unreachable_timeout = check_seconds(unreachable_timeout, "unreachable_timeout")
        self.on_running = on_running
        self.on_inactive = check_choice(on_inactive, "on_inactive", OnInactive)
        self.cancel_on_kill = check_choice(cancel_on_kill, "cancel_on_kill", CancelOnKill)
        self.durable = boolean(durable, "durable")
        kinds = texts(fail_fast_on, "fail_fast_on")
        self.fail_fast_on = tuple(check_choice(each, "fail_fast_on", FailFastKind) for each in kinds)
        self.show_internal_errors = boolean(show_internal_errors, "show_internal_errors")
        self._run: JobExecution | None = None
        self.killed = False

    @cached_property
    def hook(self) -> AirbyteHook:
        """The hook of this task, created on first use."""
        from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

        return AirbyteHook(self.airbyte_conn_id)

    # -- Airflow's side ----------------------------------------------------------------------------------------

    @short_traceback
    def execute(self, context: Context) -> JobResult:
        """Follow the job of an earlier attempt or start one, then wait until it has finished, or defer."""
        return self._execution(context).run()

    @short_traceback
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> JobResult:
        """Resume after the trigger has waited for this task's job: return the result, or raise the event's error."""
        return self._execution(context).resume(event)

    @short_traceback
    def execute_after_blocker(self, context: Context, event: dict[str, Any] | None = None) -> JobResult:
        """Run again after the trigger has waited for another job of the connection to finish with any status."""
        return self._execution(context).resume_after_blocker(event)

    @short_traceback
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as Airflow does. If Airflow itself has ended the deferral, follow the job again or cancel it."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if next_method != ENDED_DEFERRAL:
                raise
            ended = error
        return self._execution(context).resume_after_ended_deferral(ended)

    def on_kill(self) -> None:
        """Cancel the job that this task waits for in a worker, if nobody wants it any more: see :mod:`._kill`.

        If the task is killed while it starts the job, it decides as soon as the job's ID is known. If there is not
        enough time for that, the next attempt finds the job. Airflow 2 also calls this, and never resumes the task, if
        ``execution_timeout`` has passed when the deferral ends.
        """
        from airflow_provider_airbyte_api import _airflow_compat
        from airflow_provider_airbyte_api.operators._kill import is_execution_timeout

        self.killed = True
        timed_out = is_execution_timeout()
        if self._run is not None:
            self._run.cancel_on_kill(timed_out=timed_out)
        elif timed_out and self.cancel_on_kill != "never":
            context = _airflow_compat.context_of_an_ended_deferral()
            if context is not None:
                self._execution(context).cancel_deferred_job()

    def _execution(self, context: Context) -> JobExecution:
        from airflow_provider_airbyte_api.operators._execution import JobExecution

        self._run = JobExecution(self, context)
        if self._run.has_record_to_delete:
            # Called once Airflow has stored the task's state: an attempt that dies before that needs the record.
            self.on_success_callback = _append(self.on_success_callback, self._delete_record)
            self.on_failure_callback = _append(self.on_failure_callback, self._delete_record_of_ended_job)
        return self._run

    def _delete_record(self, context: Context) -> None:
        if self._run is not None:
            self._run.delete_record()

    def _delete_record_of_ended_job(self, context: Context) -> None:
        if self._run is not None and (self._run.started_nothing or (self._run.job and self._run.job.is_terminal)):
            self._run.delete_record()


def _append(callbacks: Any, callback: Callable[[Context], None]) -> list[Any]:
    """Return the callbacks of an operator, which on Airflow 2 may be one or None, with one more."""
    given = [] if callbacks is None else list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    return given if callback in given else [*given, callback]
