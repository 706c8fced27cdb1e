"""The operator that cancels a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_airbyte_api._airflow_compat import AirflowException, BaseOperator
from airflow_provider_airbyte_api._defaults import DEFAULT_CONN_ID
from airflow_provider_airbyte_api._tracebacks import short_traceback
from airflow_provider_airbyte_api._validation import (
    CONNECTION_FIELDS,
    provided_fields,
    raise_config_error,
    resolve_task_connection,
    set_map_index_name,
)
from airflow_provider_airbyte_api.api.safe import safe_repr
from airflow_provider_airbyte_api.types import CancelResult, JobStatus

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context


class AirbyteCancelJobOperator(BaseOperator):
    """Cancels a job, or the running job of an Airbyte connection, and waits until it has stopped.

    A finished job is left alone: Airbyte's own cancel would stop a newer job of the same connection. If nothing is
    running, the task succeeds. Returns a dict with ``job_id``, ``status`` and ``cancelled``, which is True if the job
    was cancelled now or before; they are None, None and False if nothing is running.

    :param job_id: ID of the job: a number, or a template that renders to one (templated). Give it or a connection.
    :param connection_id: UUID of the Airbyte connection whose running job is cancelled (templated).
    :param connection_name: Exact name of that connection, instead of ``connection_id`` (templated).
    :param workspace_id: Look up ``connection_name`` in this workspace only (templated).
    :param workspace_name: Name of that workspace, instead of ``workspace_id`` (templated).
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_api_default``.
    """

    template_fields: Sequence[str] = ("job_id", *CONNECTION_FIELDS, "airbyte_conn_id")
    ui_color = "#e5e4ff"

    def __init__(
        self,
        *,
        job_id: int | str | None = None,
        connection_id: str | None = None,
        connection_name: str | None = None,
        workspace_id: str | None = None,
        workspace_name: str | None = None,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if sum(each is not None for each in (job_id, connection_id, connection_name)) != 1:
            raise_config_error(
                f"job_id is {safe_repr(job_id)}, connection_id {safe_repr(connection_id)} and connection_name "
                f"{safe_repr(connection_name)}, expected exactly one of the three."
            )
        if job_id is not None and (workspace_id is not None or workspace_name is not None):
            raise_config_error(
                f"job_id is {safe_repr(job_id)}, which needs no workspace: omit workspace_id and workspace_name."
            )
        self.job_id = job_id
        self.connection_id = connection_id
        self.connection_name = connection_name
        self.workspace_id = workspace_id
        self.workspace_name = workspace_name
        self.given = provided_fields(self, CONNECTION_FIELDS)
        self.airbyte_conn_id = airbyte_conn_id

    @short_traceback
    def execute(self, context: Context) -> CancelResult:
        """Cancel the job unless it has finished, and return its status."""
        from airflow_provider_airbyte_api.api import jobs, start_job
        from airflow_provider_airbyte_api.api.models import Job, parse_job_id
        from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

        hook = AirbyteHook(self.airbyte_conn_id)
        job: Job | None
        if not self.given:
            set_map_index_name(context, f"job {self.job_id}")
            job_id = parse_job_id(self.job_id)
            job = hook.run(jobs.cancel_and_wait(job_id, known_to_exist=False))
        else:
            connection = hook.run(resolve_task_connection(self))
            set_map_index_name(context, connection.name)
            job = hook.run(start_job.cancel_active_job(connection.connection_id))
        if job is None:
            self.log.info("No job is running for Airbyte connection %s.", self.connection_name or self.connection_id)
            return {"job_id": None, "status": None, "cancelled": False}
        if not job.is_terminal:
            raise AirflowException(
                f"Job {job.job_id} is still {job.status} after it was cancelled; check it in Airbyte."
            )
        self.log.info("Job %d is %s.", job.job_id, job.status)
        return {"job_id": job.job_id, "status": job.status, "cancelled": job.status == JobStatus.CANCELLED}
