"""Operators that run a sync, clear or update a connection, cancel a job, and list an Airbyte's resources.

Import all operators from this module. Some are defined in other modules of this package.

This module imports only what declaring a task needs, because it is imported each time that a DAG file is parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_airbyte_api._defaults import (
    DEFAULT_CONN_ID,
    DEFAULT_POLL_INTERVAL,
    DEFAULT_TIMEOUT,
    DEFAULT_UNREACHABLE_TIMEOUT,
    ON_RUNNING,
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
    whole_number_or_none,
)
from airflow_provider_airbyte_api.links.airbyte import AirbyteConnectionLink, AirbyteJobLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
    from airflow_provider_airbyte_api.operators._cancel import AirbyteCancelJobOperator
    from airflow_provider_airbyte_api.operators._clear import AirbyteClearOperator
    from airflow_provider_airbyte_api.operators._execution import JobExecution
    from airflow_provider_airbyte_api.operators._list import (
        AirbyteListConnectionsOperator,
        AirbyteListDestinationsOperator,
        AirbyteListJobsOperator,
        AirbyteListSourcesOperator,
    )
    from airflow_provider_airbyte_api.operators._update import AirbyteUpdateConnectionOperator
    from airflow_provider_airbyte_api.types import AssetEvents, OnAirbyteSchedule, OnInactive, OnRunning

__all__ = [
    "AirbyteCancelJobOperator",
    "AirbyteClearOperator",
    "AirbyteListConnectionsOperator",
    "AirbyteListDestinationsOperator",
    "AirbyteListJobsOperator",
    "AirbyteListSourcesOperator",
    "AirbyteSyncOperator",
    "AirbyteUpdateConnectionOperator",
]

_WRITTEN_IN = {
    "AirbyteCancelJobOperator": "_cancel",
    "AirbyteClearOperator": "_clear",
    "AirbyteUpdateConnectionOperator": "_update",
}


def __getattr__(name: str) -> Any:
    """Import the operators of other modules on first access, so that a DAG file loads only those that it uses."""
    if name not in __all__ or name == "AirbyteSyncOperator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = _WRITTEN_IN.get(name, "_list")
    return getattr(import_module(f"airflow_provider_airbyte_api.operators.{module}"), name)


class AirbyteJobOperator(BaseOperator):
    """Base class of the operators that run one job of an Airbyte connection, and fail unless it succeeds.

    A task run is exactly one job. A retry follows the job of the previous attempt if it is still running, returns its
    result if it succeeded, and starts a new job if it failed. Clearing the task starts a new job; if the old one is
    still running, it is cancelled first.

    Pushes the XComs ``job_id`` and ``job_url`` before it waits. Returns a dict with ``job_id``, ``status``,
    ``connection_id``, ``job_type``, ``rows_synced``, ``bytes_synced``, ``duration_seconds``, ``start_time`` and
    ``job_url``; without ``wait_for_completion``, with their values at the start.

    The parameters are those of :class:`AirbyteSyncOperator`.
    """

    job_type = "sync"
    on_airbyte_schedule = "ignore"
    asset_events = "none"
    min_rows: int | None = None

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
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        timeout: float | None = DEFAULT_TIMEOUT,
        queue_timeout: float | None = None,
        unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT,
        on_running: str,
        on_inactive: OnInactive = "fail",
        cancel_on_kill: bool = True,
        durable: bool = True,
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
        self.on_inactive = check_choice(on_inactive, "on_inactive", ("fail", "skip"))
        self.cancel_on_kill = boolean(cancel_on_kill, "cancel_on_kill")
        self.durable = boolean(durable, "durable")
        self._run: JobExecution | None = None
        self.killed = False

    @cached_property
    def hook(self) -> AirbyteHook:
        """The hook of this task, created on first use."""
        from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

        return AirbyteHook(self.airbyte_conn_id)

    # -- Airflow's side ----------------------------------------------------------------------------------------

    @short_traceback
    def execute(self, context: Context) -> dict[str, Any]:
        """Follow the job of an earlier attempt or start one, then wait until it has finished, or defer."""
        return self._execution(context).run()

    @short_traceback
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Resume after the trigger has waited for this task's job: return the result, or raise the event's error."""
        return self._execution(context).resume(event)

    @short_traceback
    def execute_after_blocker(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run again after the trigger has waited for another job of the connection to finish with any status."""
        return self._execution(context).resume_after_blocker(event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as Airflow does, and cancel the job if Airflow has ended the deferral because of its timeout."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if _is_timeout_of_a_deferral(error, next_kwargs):
                self._execution(context).cancel_deferred_job()
            raise

    def on_kill(self) -> None:
        """Cancel the job that this task waits for in a worker.

        If the task is killed while it starts the job, it cancels the job as soon as its ID is known. If there is not
        enough time for that, the next attempt finds the job. Airflow 2 also calls this, and never resumes the task, if
        ``execution_timeout`` has passed when the deferral ends.
        """
        self.killed = True
        if self._run is not None:
            self._run.cancel_on_kill()
        elif self.cancel_on_kill:
            from airflow_provider_airbyte_api._airflow_compat import context_of_an_ended_deferral

            context = context_of_an_ended_deferral()
            if context is not None:
                self._execution(context).cancel_deferred_job()

    def _execution(self, context: Context) -> JobExecution:
        from airflow_provider_airbyte_api.operators._execution import JobExecution

        self._run = JobExecution(self, context)
        return self._run


def _is_timeout_of_a_deferral(error: Exception, next_kwargs: dict[str, Any] | None) -> bool:
    """Return True if Airflow has ended a deferral because of its timeout."""
    name = type(error).__name__  # they live in another module on Airflow 2
    reason = str((next_kwargs or {}).get("error", ""))
    return name == "TaskDeferralTimeout" or (name == "TaskDeferralError" and "timeout" in reason.lower())


class AirbyteSyncOperator(AirbyteJobOperator):
    """Runs one sync of an Airbyte connection, and fails unless it succeeds.

    A task run is exactly one sync. A retry follows the sync of the previous attempt if it is still running, returns its
    result if it succeeded, and starts a new sync if it failed. Clearing the task starts a new sync; if the old one is
    still running, it is cancelled first.

    Pushes the XComs ``job_id`` and ``job_url`` before it waits. Returns a dict with ``job_id``, ``status``,
    ``connection_id``, ``job_type``, ``rows_synced``, ``bytes_synced``, ``duration_seconds``, ``start_time`` and
    ``job_url``; without ``wait_for_completion``, with their values at the start.

    :param connection_id: UUID of the Airbyte connection (templated). Required unless ``connection_name`` is given.
    :param connection_name: Exact name of the Airbyte connection (templated). Mutually exclusive with
        ``connection_id``.
    :param workspace_id: Look up ``connection_name`` in this workspace only (templated).
    :param workspace_name: Name of that workspace, instead of ``workspace_id`` (templated).
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_api_default``.
    :param wait_for_completion: Wait until the job has finished. If False, the task succeeds once the job is started.
        Default: True.
    :param deferrable: Wait in the triggerer instead of a worker. Default: ``[operators] default_deferrable``.
    :param poll_interval: Seconds between two polls of the job, at least 1. Default: 30.
    :param timeout: Seconds from the start of the job until it must have finished. After that the job is cancelled and
        the task fails. None: no limit. Default: 7 days.
    :param queue_timeout: Seconds from the start of the job until it must have left the queue (statuses ``pending`` and
        ``queued``). After that the job is cancelled and the task fails. Default: None, no limit.
    :param unreachable_timeout: Seconds for which Airbyte may be unreachable before the task fails. The job is not
        cancelled then, since its status is unknown. Default: 1800.
    :param on_running: What to do if a job of the connection is already running. ``attach``: wait for that sync instead
        of starting one; another kind of job, such as a clear, is waited for first. ``wait``: wait until it has
        finished, then start. ``skip`` or ``fail`` the task. ``restart``: cancel it, then start. Default: ``attach``.
    :param on_inactive: ``fail`` or ``skip`` the task if the Airbyte connection is inactive, locked or deleted. Default:
        ``fail``.
    :param on_airbyte_schedule: ``warn`` in the log, ``fail`` or ``ignore`` if Airbyte also schedules the connection.
        Default: ``warn``.
    :param asset_events: Which assets get an event after a successful sync, if a DAG names them in its schedule, inlets
        or outlets. ``connection``: the asset ``airbyte://<host>/<connection id>``. ``streams``: that asset and one for
        each stream (``…/<namespace>/<stream>``). ``none``: neither. The first two also emit on the asset
        ``airbyte_syncs``. Each asset gets one event per sync, however many tasks attached to it. Declared ``outlets``
        get the same extra with any value. Default: ``connection``.
    :param min_rows: Fail the task if the sync succeeded with fewer rows, or with an unknown number of rows. No asset
        event is emitted then, and a retry starts a new sync. Default: None, no minimum.
    :param emit_schema_facet: Also send the columns to OpenLineage. Airbyte may query the source for them, which can
        take minutes. Without OpenLineage it has no effect. Default: False.
    :param cancel_on_kill: Cancel the job if the task is killed, marked or cleared while it runs. A job that the task
        only attached to is never cancelled. Default: True.
    :param durable: Remember the job across attempts, so that a retry follows it. Airflow 3.3 and newer store it; on
        older versions a retry asks Airbyte for a running job that was started since the DAG run began. Default: True.
    :raises AirbyteConfigError: if a parameter is invalid.
    :raises AirbyteJobError: if the sync failed, was cancelled, timed out or moved fewer than ``min_rows`` rows.
    """

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
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        timeout: float | None = DEFAULT_TIMEOUT,
        queue_timeout: float | None = None,
        unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT,
        on_running: OnRunning = "attach",
        on_inactive: OnInactive = "fail",
        on_airbyte_schedule: OnAirbyteSchedule = "warn",
        asset_events: AssetEvents = "connection",
        min_rows: int | None = None,
        emit_schema_facet: bool = False,
        cancel_on_kill: bool = True,
        durable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            connection_id=connection_id,
            connection_name=connection_name,
            workspace_id=workspace_id,
            workspace_name=workspace_name,
            airbyte_conn_id=airbyte_conn_id,
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            queue_timeout=queue_timeout,
            unreachable_timeout=unreachable_timeout,
            on_running=check_choice(on_running, "on_running", ON_RUNNING),
            on_inactive=on_inactive,
            cancel_on_kill=cancel_on_kill,
            durable=durable,
            **kwargs,
        )
        self.on_airbyte_schedule = check_choice(on_airbyte_schedule, "on_airbyte_schedule", ("warn", "fail", "ignore"))
        self.asset_events = check_choice(asset_events, "asset_events", ("connection", "streams", "none"))
        self.emit_schema_facet = boolean(emit_schema_facet, "emit_schema_facet")
        self.min_rows = whole_number_or_none(min_rows, "min_rows")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the datasets that the sync read and wrote. Airflow's OpenLineage provider calls this."""
        from airflow_provider_airbyte_api.operators._openlineage import get_lineage

        return get_lineage(self._run, columns=self.emit_schema_facet)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return the datasets and the job of a failed sync. Airflow's OpenLineage provider calls this."""
        return self.get_openlineage_facets_on_complete(task_instance)
