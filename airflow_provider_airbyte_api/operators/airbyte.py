"""Operators: run a sync, and list what there is in an Airbyte."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_airbyte_api.api.errors import AirbyteJobTimeoutError
from airflow_provider_airbyte_api.api.jobs import require_active
from airflow_provider_airbyte_api.api.models import Connection, Job
from airflow_provider_airbyte_api.api.verdict import describe, require_success, result_of
from airflow_provider_airbyte_api.arguments import positive_seconds
from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
from airflow_provider_airbyte_api.hooks.errors import airflow_errors
from airflow_provider_airbyte_api.triggers import events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

WEEK = 7 * 24 * 3600.0


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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connection_id = connection_id
        self.airbyte_conn_id = airbyte_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = positive_seconds(poll_interval, "poll_interval")
        self.timeout = None if timeout is None else positive_seconds(timeout, "timeout")

    @cached_property
    def hook(self) -> AirbyteHook:
        """The hook that this task talks through."""
        return AirbyteHook(self.airbyte_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Start the sync, and wait for its end or leave that to the trigger."""
        connection = self.hook.get_airbyte_connection(self.connection_id)
        with airflow_errors():
            require_active(connection)
        job = self.hook.start_sync(connection.connection_id)
        job_url = self._job_url(job, connection.workspace_id)
        self.log.info("Syncing Airbyte connection %r with job %d: %s", connection.name, job.job_id, job_url)
        context["ti"].xcom_push(key="job_id", value=job.job_id)
        context["ti"].xcom_push(key="job_url", value=job_url)
        if not self.wait_for_completion:
            return result_of(job, job_url)
        deadline = None if self.timeout is None else time.time() + self.timeout
        if self.deferrable:
            self._defer(job, connection, deadline)
        try:
            job = self.hook.wait_for_job(job.job_id, poll_interval=self.poll_interval, deadline=deadline)
        except AirbyteJobTimeoutError as error:
            self._cancel(error)
            raise
        return self._finish(job, job_url)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on after the trigger: return the result, or raise what the event brings."""
        try:
            with airflow_errors():
                woken = events.read(event)
        except AirbyteJobTimeoutError as error:
            self._cancel(error)
            raise
        job = woken.job or self.hook.get_job(woken.job_id)
        return self._finish(job, self._job_url(job, woken.workspace_id))

    def _defer(self, job: Job, connection: Connection, deadline: float | None) -> None:
        from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger  # noqa: PLC0415 - not at parse time

        self.defer(
            trigger=AirbyteJobTrigger(
                job_id=job.job_id,
                connection_id=connection.connection_id,
                airbyte_conn_id=self.airbyte_conn_id,
                poll_interval=self.poll_interval,
                deadline=deadline,
                workspace_id=connection.workspace_id,
            ),
            method_name="execute_complete",
        )

    def _finish(self, job: Job, job_url: str | None) -> dict[str, Any]:
        with airflow_errors():
            require_success(job, job_url)
        self.log.info("%s.", describe(job))
        return result_of(job, job_url)

    def _cancel(self, error: AirbyteJobTimeoutError) -> None:
        self.log.warning("%s Cancelling it.", error)
        self.hook.cancel_job(error.job_id)

    def _job_url(self, job: Job, workspace_id: str | None) -> str | None:
        return self.hook.job_url(workspace_id, job.connection_id, job.job_id) if workspace_id else None
