"""Sensors: wait for a job that somebody else started.

Only what declares a task is imported with this module, for it is imported each time that a DAG file is parsed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_airbyte_api.api.defaults import AIRBYTE_CONN_ID, UNREACHABLE_TIMEOUT
from airflow_provider_airbyte_api.arguments import positive_seconds, refuse
from airflow_provider_airbyte_api.links.airbyte import AirbyteConnectionLink, AirbyteJobLink, push_links

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_airbyte_api.api.models import Job
    from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook


class AirbyteJobSensor(BaseSensorOperator):
    """Waits until an Airbyte job has succeeded, and fails if it ends otherwise.

    It returns what an :class:`~..operators.airbyte.AirbyteSyncOperator` does, and has its links. It never cancels the
    job. All of Airflow's own sensor parameters hold; ``timeout`` counts from the first look, ``soft_fail`` skips the
    task whether the job fails or the time is over.

    :param job_id: the job: a number, or a template that renders to one.
    :param airbyte_conn_id: the id of the Airflow connection.
    :param deferrable: wait in the triggerer, without a worker. Default: ``[operators] default_deferrable``.
    :param poll_interval: seconds between two looks: Airflow's ``poke_interval`` under the name that it has in all
        classes of this package. Give one of the two.
    :param unreachable_timeout: seconds that Airbyte may be away meanwhile. With ``mode="reschedule"`` nothing is
        remembered from look to look, and the sensor's own ``timeout`` is the limit.
    """

    template_fields: Sequence[str] = ("job_id", "airbyte_conn_id")
    operator_extra_links = (AirbyteJobLink(), AirbyteConnectionLink())
    ui_color = "#e5e4ff"

    def __init__(
        self,
        *,
        job_id: int | str,
        airbyte_conn_id: str = AIRBYTE_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | None = None,
        unreachable_timeout: float = UNREACHABLE_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        if poll_interval is not None:
            if "poke_interval" in kwargs:
                refuse(
                    f"poll_interval is {poll_interval!r} and poke_interval {kwargs['poke_interval']!r}: they mean the "
                    "same, give one."
                )
            kwargs["poke_interval"] = positive_seconds(poll_interval, "poll_interval")
        super().__init__(**kwargs)
        self.job_id = job_id
        self.airbyte_conn_id = airbyte_conn_id
        self.deferrable = deferrable
        self.unreachable_timeout = positive_seconds(unreachable_timeout, "unreachable_timeout")
        self._away_since: float | None = None

    @cached_property
    def hook(self) -> AirbyteHook:
        """The hook that this task talks through."""
        from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

        return AirbyteHook(self.airbyte_conn_id)

    def execute(self, context: Context) -> Any:
        """Wait for the job here, or leave that to the trigger unless it is finished already."""
        if not self.deferrable:
            return super().execute(context)
        job = self.hook.get_job(self._valid_job_id())
        connection = self._connection_of(context, job)
        if job.is_finished:
            return self._finish(job, connection)
        return self._defer(job, connection)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the job once. That Airbyte is away is no reason to fail, for a while."""
        from airflow_provider_airbyte_api.api import jobs
        from airflow_provider_airbyte_api.api.errors import AirbyteError
        from airflow_provider_airbyte_api.api.retry import ONCE

        job_id = self._valid_job_id()
        try:
            job = self.hook.run(jobs.get_job(job_id, ONCE))
        except AirbyteError as error:
            if not error.transient or self._has_been_away_too_long():
                raise
            self.log.warning("Airbyte is away; waiting for job %d all the same. %s", job_id, error)
            return PokeReturnValue(is_done=False)
        self._away_since = None
        if job.is_finished:
            return PokeReturnValue(is_done=True, xcom_value=self._finish(job, self._connection_of(context, job)))
        self.log.info("Job %d is %s.", job.job_id, job.status)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on after the trigger: return the result, or raise what the event brings."""
        from airflow_provider_airbyte_api.api.errors import AirbyteJobTimeoutError
        from airflow_provider_airbyte_api.hooks.errors import airflow_errors, as_airflow
        from airflow_provider_airbyte_api.triggers import events

        with airflow_errors():
            woken = events.read(event)
        if isinstance(woken.error, AirbyteJobTimeoutError):
            # What Airflow raises where a sensor that pokes is out of time. It is not retried.
            raise AirflowSensorTimeout(str(woken.error)) from woken.error
        if woken.error is not None:
            raise as_airflow(woken.error)
        job = woken.job or self.hook.get_job(woken.job_id)
        return self._finish(job, woken.handed_on, woken.looks)

    def _connection_of(self, context: Context, job: Job) -> dict[str, str]:
        """Return what a job does not tell, its connection's name and workspace, and let the links lead there."""
        from airflow_provider_airbyte_api.api.errors import AirbyteError
        from airflow_provider_airbyte_api.api.resources import get_connection

        try:
            connection = self.hook.run(get_connection(job.connection_id))
        except AirbyteError as error:
            self.log.info("There will be no link to the job. %s", error)
            return {}
        workspace_id = connection.workspace_id
        job_url = self.hook.job_url(workspace_id, job.connection_id, job.job_id)
        push_links(context["ti"], job_url, self.hook.connection_url(workspace_id, job.connection_id))
        return {"workspace_id": workspace_id, "name": connection.name}

    def _defer(self, job: Job, connection: dict[str, str]) -> None:
        from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger

        self.defer(
            trigger=AirbyteJobTrigger(
                job_id=job.job_id,
                connection_id=job.connection_id,
                airbyte_conn_id=self.airbyte_conn_id,
                poll_interval=float(self.poke_interval),
                deadline=time.time() + float(self.timeout),
                unreachable_timeout=self.unreachable_timeout,
                handed_on=connection,
            ),
            method_name="execute_complete",
        )

    def _has_been_away_too_long(self) -> bool:
        moment = time.time()
        if self._away_since is None:
            self._away_since = moment
        return moment - self._away_since >= self.unreachable_timeout

    def _finish(self, job: Job, connection: Mapping[str, Any], looks: int = 0) -> dict[str, Any]:
        """Return the result. A sensor that pokes has to heed ``soft_fail`` itself for errors of its own."""
        from airflow_provider_airbyte_api.api.errors import AirbyteJobError
        from airflow_provider_airbyte_api.api.verdict import Seen, describe, require_success, result_of
        from airflow_provider_airbyte_api.hooks.errors import airflow_errors

        workspace_id = connection.get("workspace_id")
        job_url = self.hook.job_url(workspace_id, job.connection_id, job.job_id) if workspace_id else None
        seen = Seen(connection.get("name", ""), job_url, looks)
        try:
            with airflow_errors():
                require_success(job, seen)
        except AirbyteJobError as error:
            if self.soft_fail or getattr(self, "never_fail", False):
                raise AirflowSkipException(f"Skipping because of soft_fail or never_fail. {error}") from error
            raise
        self.log.info("%s.", describe(job, seen))
        return result_of(job, job_url)

    def _valid_job_id(self) -> int:
        from airflow_provider_airbyte_api.api.models import valid_job_id
        from airflow_provider_airbyte_api.hooks.errors import airflow_errors

        with airflow_errors():
            return valid_job_id(self.job_id)
