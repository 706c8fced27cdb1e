"""The operator that clears an Airbyte connection."""

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
from airflow_provider_airbyte_api._validation import check_choice, raise_config_error
from airflow_provider_airbyte_api.operators._base import AirbyteJobOperator
from airflow_provider_airbyte_api.types import CancelOnKill, ClearJobType, FailFastKind, OnInactive, OnRunningClear


class AirbyteClearOperator(AirbyteJobOperator):
    """Deletes the data that an Airbyte connection has written to its destination, and waits until that is done.

    Airbyte also deletes the connection's sync state, so the next sync moves all data again. All streams are cleared:
    the public API cannot clear a single stream. A task run is exactly one clear; retries behave as in
    :class:`~.airbyte.AirbyteSyncOperator`, and so do the XComs and the returned dict.

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
    :param job_type: ``clear`` or ``reset``: two names of the same operation, which Airbyte shows as ``reset``. A clear
        requires the editor role, a reset the runner role. Airbyte before 0.62.4 knows only ``reset``. Default:
        ``clear``.
    :param on_running: What to do if a job of the connection is already running, since Airbyte would cancel it.
        ``fail``: start nothing. ``wait``: wait until it has finished, then clear. ``skip`` the task. ``restart``:
        cancel it, then clear. Default: ``fail``.
    :param on_inactive: ``fail`` or ``skip`` the task if the Airbyte connection is inactive, locked or deleted. Default:
        ``fail``.
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
    :raises AirbyteConfigError: if a parameter is invalid.
    :raises AirbyteJobError: if the clear failed, was cancelled or timed out.
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
        job_type: ClearJobType = "clear",
        on_running: OnRunningClear = "fail",
        on_inactive: OnInactive = "fail",
        cancel_on_kill: CancelOnKill = "auto",
        durable: bool = True,
        fail_fast_on: Iterable[FailFastKind] = (),
        show_internal_errors: bool = False,
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
            on_running=check_choice(on_running, "on_running", OnRunningClear),
            on_inactive=on_inactive,
            cancel_on_kill=cancel_on_kill,
            durable=durable,
            fail_fast_on=fail_fast_on,
            show_internal_errors=show_internal_errors,
            **kwargs,
        )
        if str(job_type) == "refresh":
            raise_config_error(
                "job_type is 'refresh', which Airbyte's public API does not offer (it returns 422). A clear followed "
                "by a sync is similar, but the destination is empty in between."
            )
        self.job_type = check_choice(job_type, "job_type", ClearJobType)
