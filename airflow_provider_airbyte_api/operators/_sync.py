"""The operator that runs a sync."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from airflow_provider_airbyte_api._airflow_compat import conf
from airflow_provider_airbyte_api._defaults import (
    DEFAULT_CONN_ID,
    DEFAULT_POLL_INTERVAL,
    DEFAULT_TIMEOUT,
    DEFAULT_UNREACHABLE_TIMEOUT,
)
from airflow_provider_airbyte_api._validation import (
    boolean,
    check_choice,
    check_optional_seconds,
    whole_number,
    whole_number_or_none,
)
from airflow_provider_airbyte_api.operators._base import AirbyteJobOperator
from airflow_provider_airbyte_api.types import (
    AssetEvents,
    CancelOnKill,
    FailFastKind,
    OnAirbyteSchedule,
    OnInactive,
    OnRunning,
)


class AirbyteSyncOperator(AirbyteJobOperator):
    """Runs one sync of an Airbyte connection, and fails unless it succeeds.

    A task run is exactly one sync. A retry follows the sync of the previous attempt if it is still running, returns its
    result if it succeeded, and starts a new sync if it failed. Clearing the task starts a new sync; if the old one is
    still running, it is cancelled first.

    Pushes the XComs ``job_id`` and ``job_url`` before it waits, and keeps ``airbyte_sync`` up to date until its end:
    see :class:`~..types.AirbyteSyncInfo`. Returns a dict with ``job_id``, ``status``, ``connection_id``, ``job_type``,
    ``rows_synced``, ``bytes_synced``, ``duration_seconds``, ``start_time`` and ``job_url``; without
    ``wait_for_completion``, with their values at the start.

    :param connection_id: UUID of the Airbyte connection (templated). Required unless ``connection_name`` is given.
    :param connection_name: Exact name of the Airbyte connection (templated). Mutually exclusive with
        ``connection_id``.
    :param workspace_id: Look up ``connection_name`` in this workspace only (templated).
    :param workspace_name: Name of that workspace, instead of ``workspace_id`` (templated).
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_api_default``.
    :param wait_for_completion: Wait until the job has finished. If False, the task succeeds once the job is started.
        Default: True.
    :param deferrable: Wait in the triggerer instead of a worker. Default: ``[operators] default_deferrable``.
    :param poll_interval: Seconds (or a ``timedelta``) between two polls of the job, at least 1. Default: 30.
    :param timeout: Seconds (or a ``timedelta``) from the start of the job until it must have finished. After that the
        job is cancelled and the task fails. None: no limit. Default: 7 days.
    :param queue_timeout: Seconds (or a ``timedelta``) from the start of the job until it must have left the queue
        (statuses ``pending`` and ``queued``). After that the job is cancelled and the task fails. Default: None, no
        limit.
    :param unreachable_timeout: Seconds (or a ``timedelta``) for which Airbyte may be unreachable before the task fails.
        The job is not cancelled then, since its status is unknown. Default: 1800.
    :param stalled_timeout: Maximum time for which the rows and bytes of the running job may stand still: a
        ``timedelta``, or seconds. After that the job is cancelled and the task fails. A sync that is still preparing
        has 0 rows and 0 bytes, so allow for that time. Default: None, no limit.
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
    :param cancel_on_kill: Whether to cancel the job if the task ends before it. ``auto``: if the task is marked or
        cleared, its DAG run fails, ``execution_timeout`` passes, or no attempt is left. If only the task's process
        is ended, such as by a deployment, the job continues and the next attempt follows it. ``always``: also then.
        ``never``: in none of these cases. A job that the task only attached to is never cancelled. Default: ``auto``.
    :param durable: Remember the job across attempts, so that a retry follows it. Airflow 3.3 and newer have a store for
        it; on older versions it is a Variable: see ``[airbyte_api] job_state_backend``. Default: True.
    :param fail_fast_on: Kinds of failures after which the task is not retried, such as ``("config_error",)``. If the
        kind is unknown, the task is retried as usual. Default: none.
    :param show_internal_errors: If the job fails, also log Airbyte's internal messages and stack traces, which may
        contain secrets of a connector. Default: False.
    :param log_tail: If the job fails, also log up to this number of lines from the end of the last attempt's log in
        Airbyte, at most 1,000, errors and warnings first. They may contain secrets of a connector. Default: 0.
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
        poll_interval: timedelta | float = DEFAULT_POLL_INTERVAL,
        timeout: timedelta | float | None = DEFAULT_TIMEOUT,
        queue_timeout: timedelta | float | None = None,
        unreachable_timeout: timedelta | float = DEFAULT_UNREACHABLE_TIMEOUT,
        stalled_timeout: timedelta | float | None = None,
        on_running: OnRunning = "attach",
        on_inactive: OnInactive = "fail",
        on_airbyte_schedule: OnAirbyteSchedule = "warn",
        asset_events: AssetEvents = "connection",
        min_rows: int | None = None,
        emit_schema_facet: bool = False,
        cancel_on_kill: CancelOnKill = "auto",
        durable: bool = True,
        fail_fast_on: Iterable[FailFastKind] = (),
        show_internal_errors: bool = False,
        log_tail: int = 0,
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
            on_running=check_choice(on_running, "on_running", OnRunning),
            on_inactive=on_inactive,
            cancel_on_kill=cancel_on_kill,
            durable=durable,
            fail_fast_on=fail_fast_on,
            show_internal_errors=show_internal_errors,
            **kwargs,
        )
        self.on_airbyte_schedule = check_choice(on_airbyte_schedule, "on_airbyte_schedule", OnAirbyteSchedule)
        self.asset_events = check_choice(asset_events, "asset_events", AssetEvents)
        self.emit_schema_facet = boolean(emit_schema_facet, "emit_schema_facet")
        self.min_rows = whole_number_or_none(min_rows, "min_rows")
        self.log_tail = whole_number(log_tail, "log_tail")
        self.stalled_timeout = check_optional_seconds(stalled_timeout, "stalled_timeout")

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the datasets that the sync read and wrote. Airflow's OpenLineage provider calls this."""
        from airflow_provider_airbyte_api.operators._openlineage import get_lineage

        return get_lineage(self._run, columns=self.emit_schema_facet)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return the datasets and the job of a failed sync. Airflow's OpenLineage provider calls this."""
        return self.get_openlineage_facets_on_complete(task_instance)
