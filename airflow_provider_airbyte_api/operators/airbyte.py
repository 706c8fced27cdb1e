"""Operators: run a sync, clear a connection, cancel a job, change a connection, and list what there is in an Airbyte.

All are to be imported from here; some are written in modules beside this one.

Only what declares a task is imported with this module, for it is imported each time that a DAG file is parsed.
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
    """Import the operators of other modules when they are asked for: a DAG file pays only for those that it uses."""
    if name not in __all__ or name == "AirbyteSyncOperator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = _WRITTEN_IN.get(name, "_list")
    return getattr(import_module(f"airflow_provider_airbyte_api.operators.{module}"), name)


class AirbyteJobOperator(BaseOperator):
    """Runs one job of an Airbyte connection, and fails unless it succeeds; for the operators that say which job.

    Each task run is one job, whatever fails: a retry follows the job of the earlier try if it still runs, takes its
    result if it has succeeded, and starts a new one if it failed. Clearing the task starts a new one, and cancels the
    old one before if it still runs.

    The XComs ``job_id`` and ``job_url`` are there before it waits. It returns a dict with ``job_id``, ``status``,
    ``connection_id``, ``job_type``, ``rows_synced``, ``bytes_synced``, ``duration_seconds``, ``start_time`` and
    ``job_url``; without ``wait_for_completion`` as they are at the start.

    :param connection_id: the UUID of the Airbyte connection; or else
    :param connection_name: its name, exactly.
    :param workspace_id: look for the name in this workspace only.
    :param workspace_name: the same by name.
    :param airbyte_conn_id: the id of the Airflow connection.
    :param wait_for_completion: wait for the end of the job; else the task is done once it is started.
    :param deferrable: wait in the triggerer, without a worker. Default: ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks at the job. Less than 1 counts as 1.
    :param timeout: seconds from the start of the job within which it must be finished, else it is cancelled and the
        task fails. None: no limit. Default: 7 days.
    :param queue_timeout: seconds from the start within which the job must have begun, that is, be neither pending nor
        queued, else it is cancelled and the task fails. None: no limit.
    :param unreachable_timeout: seconds that Airbyte may be away while the job is waited for. The job is not cancelled
        then: nobody knows how it is doing.
    :param on_running: what to do if a job of the connection runs already.
    :param on_inactive: ``fail`` or ``skip`` if the connection is inactive, locked or deleted.
    :param cancel_on_kill: cancel the job if the task is killed, marked, or cleared while it runs. One that the task
        only attached to is never cancelled.
    :param durable: remember the job from try to try. Airflow 3.3 and newer keep it; on older ones a retry asks Airbyte
        for such a job of the connection that still runs and was started since the DAG run was.
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
        on_inactive: str = "fail",
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
        """The hook that this task talks through."""
        from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

        return AirbyteHook(self.airbyte_conn_id)

    # -- Airflow's side ----------------------------------------------------------------------------------------

    @short_traceback
    def execute(self, context: Context) -> dict[str, Any]:
        """Follow the job of an earlier try, or start one; wait for its end, or leave that to the trigger."""
        return self._execution(context).run()

    @short_traceback
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on after the trigger has waited for this task's job: return the result, or raise what the event brings."""
        return self._execution(context).resume(event)

    @short_traceback
    def execute_after_blocker(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin anew after the trigger has waited for another job of the connection, however that ended."""
        return self._execution(context).resume_after_blocker(event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Do as Airflow does, and cancel the job if Airflow has ended the deferral because its timeout has passed."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except Exception as error:
            if _is_timeout_of_a_deferral(error, next_kwargs):
                self._execution(context).cancel_deferred_job()
            raise

    def on_kill(self) -> None:
        """Cancel the job that this task waits for in a worker.

        If it is killed while it starts the job, that is cancelled as soon as it is known, if there is time left;
        else the next try finds it. Airflow 2 also calls this, and never resumes the task, if ``execution_timeout`` has
        passed when the deferral ends.
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
    """Tell whether Airflow has ended a deferral because its time was over."""
    name = type(error).__name__  # they live in another module on Airflow 2
    reason = str((next_kwargs or {}).get("error", ""))
    return name == "TaskDeferralTimeout" or (name == "TaskDeferralError" and "timeout" in reason.lower())


class AirbyteSyncOperator(AirbyteJobOperator):
    """Runs one sync of an Airbyte connection, and fails unless it succeeds.

    Each task run is one sync, whatever fails: see :class:`AirbyteJobOperator`, which has all other parameters.

    :param on_running: what to do if a job of the connection runs already: ``attach`` to a sync, that is wait for it
        instead of starting one; ``wait`` for its end, then start; ``skip`` the task; ``fail``; or ``restart``: cancel
        it, then start. What is no sync (a clear, say) is waited for by ``attach`` too.
    :param asset_events: which assets have an event once the sync has succeeded, if a DAG names them in its schedule,
        inlets or outlets: ``connection``, the asset ``airbyte://<host>/<connection id>``; ``streams``, that and each
        of its streams (``…/<namespace>/<stream>``); or ``none``. With the first two, so has the asset
        ``airbyte_syncs``. One sync is one event for each asset, however many tasks attached to it. The ``outlets``
        that you declare get the same facts either way.
    :param min_rows: fail the task if the sync succeeded with fewer rows, or with an unknown number of them; there is
        no asset event then, and a retry starts a new sync. Default: None, any number is enough.
    :param emit_schema_facet: tell OpenLineage of the columns, too. Airbyte may look into the source for that, for
        minutes; without OpenLineage nothing is asked.
    :param on_airbyte_schedule: ``warn`` in the log, ``fail`` or ``ignore`` if Airbyte, too, starts syncs of the
        connection by a schedule.
    """

    def __init__(
        self,
        *,
        on_running: str = "attach",
        on_airbyte_schedule: str = "warn",
        asset_events: str = "connection",
        emit_schema_facet: bool = False,
        min_rows: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(on_running=check_choice(on_running, "on_running", ON_RUNNING), **kwargs)
        self.on_airbyte_schedule = check_choice(on_airbyte_schedule, "on_airbyte_schedule", ("warn", "fail", "ignore"))
        self.asset_events = check_choice(asset_events, "asset_events", ("connection", "streams", "none"))
        self.emit_schema_facet = boolean(emit_schema_facet, "emit_schema_facet")
        self.min_rows = whole_number_or_none(min_rows, "min_rows")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return what was read and written. Only OpenLineage asks for it."""
        from airflow_provider_airbyte_api.operators._openlineage import get_lineage

        return get_lineage(self._run, columns=self.emit_schema_facet)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return what was to be read and written, and why it failed."""
        return self.get_openlineage_facets_on_complete(task_instance)
