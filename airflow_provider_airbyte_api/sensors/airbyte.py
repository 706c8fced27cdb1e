"""Sensors that wait for a job which was started elsewhere, or for fresh data.

This module imports only what declaring a task needs, because it is imported each time that a DAG file is parsed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_airbyte_api._airflow_compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow_provider_airbyte_api._defaults import (
    DEFAULT_CONN_ID,
    DEFAULT_UNREACHABLE_TIMEOUT,
    DEFERRAL_TIMEOUT_MARGIN,
    at_least_min_poll_interval,
)
from airflow_provider_airbyte_api._tracebacks import short_traceback
from airflow_provider_airbyte_api._validation import (
    CONNECTION_FIELDS,
    boolean,
    check_choice,
    check_optional_seconds,
    check_seconds,
    parse_optional_datetime,
    provided_fields,
    raise_config_error,
    require_exactly_one,
    resolve_task_connection,
    set_map_index_name,
    whole_number_or_none,
)
from airflow_provider_airbyte_api.api.safe import safe_repr
from airflow_provider_airbyte_api.links.airbyte import (
    AirbyteConnectionLink,
    AirbyteJobLink,
    PushesOwnLinks,
    push_link_urls,
)
from airflow_provider_airbyte_api.types import FailureReason, JobResult, OnFailed

if TYPE_CHECKING:
    from airflow_provider_airbyte_api._airflow_compat import Context
    from airflow_provider_airbyte_api.api.backoff import RetryPolicy
    from airflow_provider_airbyte_api.api.flow import Flow, Log
    from airflow_provider_airbyte_api.api.freshness import FreshnessCheck, FreshnessCriteria, FreshnessWait
    from airflow_provider_airbyte_api.api.models import Connection, Job
    from airflow_provider_airbyte_api.api.outcome import JobContext
    from airflow_provider_airbyte_api.api.wait import JobWait, WaitOptions
    from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook
    from airflow_provider_airbyte_api.triggers._payloads import JobEvent


class _AirbyteSensor(PushesOwnLinks, BaseSensorOperator):
    """Base class of this package's sensors."""

    operator_extra_links = (AirbyteJobLink(), AirbyteConnectionLink())
    ui_color = "#e5e4ff"

    def __init__(
        self,
        *,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float | None = None,
        unreachable_timeout: timedelta | float = DEFAULT_UNREACHABLE_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        if poll_interval is not None:
            if "poke_interval" in kwargs:
                raise_config_error(
                    f"poll_interval is {safe_repr(poll_interval)} and poke_interval "
                    f"{safe_repr(kwargs['poke_interval'])}, expected only one of the two."
                )
            kwargs["poke_interval"] = check_seconds(poll_interval, "poll_interval")
        super().__init__(**kwargs)
        self.poke_interval = at_least_min_poll_interval(float(self.poke_interval))
        self.airbyte_conn_id = airbyte_conn_id
        self.deferrable = boolean(deferrable, "deferrable")
        self.unreachable_timeout = check_seconds(unreachable_timeout, "unreachable_timeout")

    @cached_property
    def hook(self) -> AirbyteHook:
        """The hook of this task, created on first use."""
        from airflow_provider_airbyte_api.hooks.airbyte import AirbyteHook

        return AirbyteHook(self.airbyte_conn_id)

    def _retry(self) -> RetryPolicy:
        """Return the retry policy of the requests before a deferral."""
        from airflow_provider_airbyte_api.api.backoff import while_unreachable

        return while_unreachable(min(self.unreachable_timeout, float(self.timeout)))

    def _wait_options(self, context: Context) -> WaitOptions:
        """Return the options of a wait whose deadline is Airflow's concern."""
        from airflow_provider_airbyte_api._airflow_compat import was_rescheduled
        from airflow_provider_airbyte_api.api.wait import WaitOptions

        # With mode="reschedule" each poke runs in a separate process.
        known_to_exist = self.reschedule and was_rescheduled(context)
        return WaitOptions(
            self.poke_interval, unreachable_timeout=self.unreachable_timeout, known_to_exist=known_to_exist
        )

    def _write_logs(self, logs: Iterable[Log]) -> None:
        for line in logs:
            self.log.log(line.level, line.message, *line.arguments)

    def _parse_event(self, context: Context, event: dict[str, Any] | None) -> JobEvent | None:
        """Return a trigger's event or raise its error; None if it is a failure of another attempt, to run again."""
        from airflow_provider_airbyte_api.exceptions import AirbyteJobTimeoutError
        from airflow_provider_airbyte_api.triggers import _payloads

        job_event = _payloads.parse(event)
        if job_event.is_stale_failure(context):
            return None
        if isinstance(job_event.error, AirbyteJobTimeoutError):
            # The same error as Airflow raises at the timeout of a poking sensor. It is not retried.
            raise AirflowSensorTimeout(str(job_event.error))
        if job_event.error is not None:
            raise job_event.error
        return job_event

    @contextmanager
    def _apply_soft_fail(self) -> Iterator[None]:
        """Skip the task for a failed job with ``soft_fail`` or ``never_fail``. Airflow does so only if deferred."""
        from airflow_provider_airbyte_api.exceptions import AirbyteJobError

        try:
            yield
        except AirbyteJobError as error:
            if self.soft_fail or getattr(self, "never_fail", False):
                raise AirflowSkipException(f"Skipping because of soft_fail or never_fail. {error}") from error
            raise

    def _push_links(self, context: Context, connection: Connection, job_id: int | None) -> dict[str, Any]:
        """Push the links to the connection and the job, and return the metadata for a trigger."""
        workspace_id = connection.workspace_id
        connection_url = self.hook.connection_url(workspace_id, connection.connection_id)
        job_url = None if job_id is None else self.hook.job_url(workspace_id, connection.connection_id, job_id)
        push_link_urls(context["ti"], job_url, connection_url)
        return {"workspace_id": workspace_id, "name": connection.name}

    def _job_context(self, job: Job, connection: Mapping[str, Any], poll_count: int = 0) -> JobContext:
        from airflow_provider_airbyte_api.api.outcome import JobContext

        workspace_id = connection.get("workspace_id")
        job_url = self.hook.job_url(workspace_id, job.connection_id, job.job_id) if workspace_id else None
        return JobContext(connection.get("name", ""), job_url, poll_count)

    def _complete(self, context: Context, job: Job, connection: Mapping[str, Any], poll_count: int = 0) -> JobResult:
        """Return the result of a finished job, or raise the error of its status."""
        from airflow_provider_airbyte_api.api.outcome import build_result, summarize
        from airflow_provider_airbyte_api.exceptions import AirbyteJobError

        job_context = self._job_context(job, connection, poll_count)
        with self._apply_soft_fail():
            try:
                self.hook.require_success(job, job_context)
            except AirbyteJobError as error:
                self._push_info(context, job, job_context, error.reason)
                raise
        self._push_info(context, job, job_context)
        self.log.info("%s.", summarize(job, job_context))
        return build_result(job, job_context.job_url)

    def _push_info(
        self, context: Context, job: Job, job_context: JobContext, reason: FailureReason | None = None
    ) -> None:
        from airflow_provider_airbyte_api.triggers._sync_info import push_sync_info

        push_sync_info(context["ti"], self.log, job, job_context, time.time(), reason)


class AirbyteJobSensor(_AirbyteSensor):
    """Waits until an Airbyte job has succeeded, and fails if it finishes with another status.

    Returns the same dict as :class:`~..operators.airbyte.AirbyteSyncOperator`, and has its links. It never cancels the
    job. Airflow's sensor parameters apply: ``timeout`` counts from the first poll, and ``soft_fail`` skips the task if
    the job fails or at the timeout.

    :param job_id: ID of the job: a number, or a template that renders to one (templated).
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_api_default``.
    :param deferrable: Wait in the triggerer instead of a worker. Default: ``[operators] default_deferrable``.
    :param poll_interval: Seconds (or a ``timedelta``) between two polls, at least 1; another name of ``poke_interval``.
        Pass one of the two. Default: ``poke_interval``, which is 60.
    :param unreachable_timeout: Seconds (or a ``timedelta``) for which Airbyte may be unreachable before the task fails.
        With ``mode="reschedule"`` a poke does not know how long an outage has lasted, so only ``timeout`` limits it.
        Default: 1800.
    """

    template_fields: Sequence[str] = ("job_id", "airbyte_conn_id")

    def __init__(
        self,
        *,
        job_id: int | str,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float | None = None,
        unreachable_timeout: timedelta | float = DEFAULT_UNREACHABLE_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            airbyte_conn_id=airbyte_conn_id,
            deferrable=deferrable,
            poll_interval=poll_interval,
            unreachable_timeout=unreachable_timeout,
            **kwargs,
        )
        self.job_id = job_id

    @short_traceback
    def execute(self, context: Context) -> Any:
        """Wait for the job in the worker, or defer unless it has already finished."""
        from airflow_provider_airbyte_api.api import jobs

        if not self.deferrable:
            self._wait = None
            return super().execute(context)
        job = self.hook.run(jobs.get_job(self._parse_job_id(), self._retry()))
        connection = self._connection_of(context, job)
        if job.is_terminal:
            return self._complete(context, job, connection)
        return self._defer(context, job, connection)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll the job once. An outage of at most ``unreachable_timeout`` does not fail the task."""
        from airflow_provider_airbyte_api.api import jobs
        from airflow_provider_airbyte_api.api.backoff import NO_RETRY
        from airflow_provider_airbyte_api.api.flow import outcome_of
        from airflow_provider_airbyte_api.api.wait import Done, JobWait

        job_id = self._parse_job_id()
        if self._wait is None:
            options = self._wait_options(context)
            # A poke after the first one is not new enough for a job that Airbyte does not show yet.
            self._wait = JobWait(job_id, options, 0.0 if options.known_to_exist else time.time())
        result = self.hook.run(outcome_of(jobs.get_job(job_id, NO_RETRY)))
        step = self._wait.on_poll(result, time.time())
        self._write_logs(step.logs)
        if not isinstance(step, Done):
            return PokeReturnValue(is_done=False)
        connection = self._connection_of(context, step.job)
        return PokeReturnValue(
            is_done=True, xcom_value=self._complete(context, step.job, connection, self._wait.poll_count)
        )

    _wait: JobWait | None = None

    @short_traceback
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> JobResult:
        """Resume after the trigger has fired: return the result, or raise the event's error."""
        job_event = self._parse_event(context, event)
        if job_event is None:
            return cast("JobResult", self.execute(context))
        job = job_event.job or self.hook.get_job(job_event.job_id)
        return self._complete(context, job, job_event.metadata, job_event.poll_count)

    def _connection_of(self, context: Context, job: Job) -> dict[str, Any]:
        """Return the name and the workspace of the job's connection, and push the links."""
        from airflow_provider_airbyte_api.api.backoff import NO_RETRY
        from airflow_provider_airbyte_api.api.resources import get_connection
        from airflow_provider_airbyte_api.exceptions import AirbyteError

        try:
            connection = self.hook.run(get_connection(job.connection_id, NO_RETRY))
        except AirbyteError as error:
            self.log.info("Could not create the link to the job. %s", error)
            return {}
        return self._push_links(context, connection, job.job_id)

    def _defer(self, context: Context, job: Job, connection: dict[str, Any]) -> None:
        from airflow_provider_airbyte_api.triggers import _payloads
        from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger

        self._push_info(context, job, self._job_context(job, connection))
        self.defer(
            trigger=AirbyteJobTrigger(
                job_id=job.job_id,
                connection_id=job.connection_id,
                airbyte_conn_id=self.airbyte_conn_id,
                poll_interval=float(self.poke_interval),
                deadline=time.time() + float(self.timeout),
                unreachable_timeout=self.unreachable_timeout,
                workspace_id=connection.get("workspace_id"),
                metadata={**connection, "try_number": _payloads.try_number_of(context)},
                report_progress=True,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=float(self.timeout) + DEFERRAL_TIMEOUT_MARGIN),
        )

    def _parse_job_id(self) -> int:
        from airflow_provider_airbyte_api.api.models import parse_job_id

        return parse_job_id(self.job_id)


class AirbyteFreshnessSensor(_AirbyteSensor):
    """Waits until the data of an Airbyte connection is fresh, regardless of who syncs it.

    Data is fresh if a sync succeeded, finished at ``completed_after`` or later and within ``max_age``, and moved at
    least ``min_rows`` rows. Without ``completed_after`` and ``max_age``, it must have finished at the end of the DAG
    run's data interval or later. Returns the same dict as :class:`~..operators.airbyte.AirbyteSyncOperator`. Each poll
    is one request.

    :param connection_id: UUID of the Airbyte connection (templated). Required unless ``connection_name`` is given.
    :param connection_name: Exact name of the Airbyte connection (templated). Mutually exclusive with
        ``connection_id``.
    :param workspace_id: Look up ``connection_name`` in this workspace only (templated).
    :param workspace_name: Name of that workspace, instead of ``workspace_id`` (templated).
    :param max_age: Maximum age of the data: a ``timedelta``, or seconds.
    :param completed_after: The sync must have finished at this time or later: a datetime or an ISO 8601 string
        (templated).
    :param min_rows: Minimum number of rows that the sync must have moved. Default: None, no minimum.
    :param on_failed: ``wait`` for another sync, or ``fail``, if a sync that could have been fresh failed or was
        cancelled. Default: ``wait``.
    :param airbyte_conn_id: ID of the Airflow connection (templated). Default: ``airbyte_api_default``.
    :param deferrable: Wait in the triggerer instead of a worker. Default: ``[operators] default_deferrable``.
    :param poll_interval: Seconds (or a ``timedelta``) between two polls, at least 1; another name of ``poke_interval``.
        Pass one of the two. Default: ``poke_interval``, which is 60.
    :param unreachable_timeout: Seconds (or a ``timedelta``) for which Airbyte may be unreachable before the task fails.
        With ``mode="reschedule"`` a poke does not know how long an outage has lasted, so only ``timeout`` limits it.
        Default: 1800.
    """

    template_fields: Sequence[str] = (*CONNECTION_FIELDS, "completed_after", "airbyte_conn_id")

    def __init__(
        self,
        *,
        connection_id: str | None = None,
        connection_name: str | None = None,
        workspace_id: str | None = None,
        workspace_name: str | None = None,
        max_age: timedelta | float | None = None,
        completed_after: datetime | str | None = None,
        min_rows: int | None = None,
        on_failed: OnFailed = "wait",
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | float | None = None,
        unreachable_timeout: timedelta | float = DEFAULT_UNREACHABLE_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            airbyte_conn_id=airbyte_conn_id,
            deferrable=deferrable,
            poll_interval=poll_interval,
            unreachable_timeout=unreachable_timeout,
            **kwargs,
        )
        require_exactly_one(connection_id, connection_name)
        self.connection_id = connection_id
        self.connection_name = connection_name
        self.workspace_id = workspace_id
        self.workspace_name = workspace_name
        self.given = provided_fields(self, CONNECTION_FIELDS)
        self.max_age = check_optional_seconds(max_age, "max_age")
        self.completed_after = completed_after
        self.min_rows = whole_number_or_none(min_rows, "min_rows")
        self.on_failed = check_choice(on_failed, "on_failed", OnFailed)
        self._too_small: set[int] = set()

    @short_traceback
    def execute(self, context: Context) -> Any:
        """Wait for fresh data in the worker, or defer unless the data is already fresh."""
        self._wait = None
        if not self.deferrable:
            return super().execute(context)
        found = self.poke(context)
        if found.is_done:
            return found.xcom_value
        return self._defer(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once for a fresh sync."""
        from airflow_provider_airbyte_api.api.flow import outcome_of
        from airflow_provider_airbyte_api.api.freshness import FreshnessWait
        from airflow_provider_airbyte_api.api.wait import Done

        is_resolved = self._connection is not None
        self._wait = self._wait or FreshnessWait(self._wait_options(context), time.time())
        result = self.hook.run(outcome_of(self._check(self._criteria(context))))
        if self._connection is not None:
            set_map_index_name(context, self._connection.name)
            if not is_resolved:
                self._push_links(context, self._connection, None)
        with self._apply_soft_fail():
            step = self._wait.on_check(result, time.time())
        self._write_logs(step.logs)
        if not isinstance(step, Done) or self._connection is None:
            return PokeReturnValue(is_done=False)
        metadata = self._push_links(context, self._connection, step.job.job_id)
        return PokeReturnValue(
            is_done=True, xcom_value=self._complete(context, step.job, metadata, self._wait.poll_count)
        )

    def _check(self, criteria: FreshnessCriteria) -> Flow[FreshnessCheck]:
        """Check once whether the data is fresh."""
        from airflow_provider_airbyte_api.api.freshness import check_freshness
        from airflow_provider_airbyte_api.api.outcome import JobContext

        connection = yield from self._resolve_connection()
        context = JobContext(connection.name)
        config_url = self.hook.config_url
        return (yield from check_freshness(connection.connection_id, criteria, context, self._too_small, config_url))

    @short_traceback
    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> JobResult:
        """Resume after the trigger has fired: return the result, or raise the event's error."""
        job_event = self._parse_event(context, event)
        if job_event is None:
            return cast("JobResult", self.execute(context))
        set_map_index_name(context, job_event.metadata.get("name", ""))
        job = job_event.job or self.hook.get_job(job_event.job_id)
        job_context = self._job_context(job, job_event.metadata)
        push_link_urls(context["ti"], job_context.job_url, None)
        return self._complete(context, job, job_event.metadata, job_event.poll_count)

    def _resolve_connection(self, retry: RetryPolicy | None = None) -> Flow[Connection]:
        """Return the Airbyte connection. It is resolved once in each process."""
        from airflow_provider_airbyte_api.api.backoff import NO_RETRY

        if self._connection is None:
            self._connection = yield from resolve_task_connection(self, retry or NO_RETRY)
        return self._connection

    _connection: Connection | None = None
    _wait: FreshnessWait | None = None

    def _criteria(self, context: Context) -> FreshnessCriteria:
        from airflow_provider_airbyte_api.api.freshness import FreshnessCriteria

        moment = parse_optional_datetime(self.completed_after, "completed_after")
        if moment is None and self.max_age is None:
            ctx: Any = context
            moment = ctx.get("data_interval_end")
            if moment is None:
                raise_config_error("This DAG run has no data interval: set max_age or completed_after.")
        return FreshnessCriteria(
            self.max_age,
            None if moment is None else moment.timestamp(),
            self.min_rows,
            fail_on_failure=self.on_failed == "fail",
        )

    def _defer(self, context: Context) -> None:
        from airflow_provider_airbyte_api.triggers import _payloads
        from airflow_provider_airbyte_api.triggers.airbyte import AirbyteFreshnessTrigger

        connection, criteria = self.hook.run(self._resolve_connection(self._retry())), self._criteria(context)
        self.defer(
            trigger=AirbyteFreshnessTrigger(
                connection_id=connection.connection_id,
                airbyte_conn_id=self.airbyte_conn_id,
                poll_interval=float(self.poke_interval),
                max_age=criteria.max_age,
                completed_after=criteria.completed_after,
                min_rows=criteria.min_rows,
                on_failed=self.on_failed,
                deadline=time.time() + float(self.timeout),
                unreachable_timeout=self.unreachable_timeout,
                connection_name=connection.name,
                metadata={
                    **self._push_links(context, connection, None),
                    "try_number": _payloads.try_number_of(context),
                },
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=float(self.timeout) + DEFERRAL_TIMEOUT_MARGIN),
        )
