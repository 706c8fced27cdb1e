"""Triggers, which wait for Airbyte in Airflow's triggerer."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api._airflow_compat import AirflowNotFoundException
from airflow_provider_airbyte_api._defaults import (
    DEFAULT_CONN_ID,
    DEFAULT_MIN_DEFERRAL,
    DEFAULT_POLL_INTERVAL,
    DEFAULT_UNREACHABLE_TIMEOUT,
)
from airflow_provider_airbyte_api._options import get_min_deferral
from airflow_provider_airbyte_api.api import jobs
from airflow_provider_airbyte_api.api.backoff import Outage, while_unreachable
from airflow_provider_airbyte_api.api.models import Job, parse_job_id
from airflow_provider_airbyte_api.api.outcome import JobContext, build_sync_info
from airflow_provider_airbyte_api.api.safe import safe_int, safe_repr
from airflow_provider_airbyte_api.api.wait import WaitOptions
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteConfigError,
    AirbyteError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.polling.asyncio_utils import create_background_task
from airflow_provider_airbyte_api.triggers import _payloads, _rows
from airflow_provider_airbyte_api.triggers._abandonment import is_abandoned
from airflow_provider_airbyte_api.triggers._settings_cache import get_settings
from airflow_provider_airbyte_api.triggers._sync_info import SyncInfoWriter
from airflow_provider_airbyte_api.types import OnFailed

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.polling.service import PollingService
    from airflow_provider_airbyte_api.triggers._sync_events import AirbyteSyncEventTrigger

__all__ = ["AirbyteFreshnessTrigger", "AirbyteJobTrigger", "AirbyteSyncEventTrigger"]

T = TypeVar("T")

ABANDONMENT_WAIT = 3.0
"""Maximum seconds for which a cancelled trigger waits for the check of its task. It delays a stop of the triggerer."""


def __getattr__(name: str) -> Any:
    """Import the trigger for asset watchers on first access, because Airflow 2 has no asset watchers."""
    if name != "AirbyteSyncEventTrigger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from airflow_provider_airbyte_api.triggers import _sync_events  # noqa: PLC0415 - see above
    except ImportError as error:
        raise ImportError(
            "AirbyteSyncEventTrigger is for asset watchers, which require Airflow 3.0 or newer."
        ) from error
    return _sync_events.AirbyteSyncEventTrigger


class _AirbyteTrigger(BaseTrigger):
    """Base class of the triggers that a task defers to."""

    airbyte_conn_id: str
    poll_interval: float
    deadline: float | None
    unreachable_timeout: float
    metadata: dict[str, Any]
    job_id = 0
    _argument_error: AirbyteError | None = None
    """The error in the arguments of this trigger's row, if any."""
    _fired = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that recreate this trigger."""
        return _rows.serialize(self)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event when the wait has finished or failed."""
        started_at, min_deferral = CLOCK.time(), DEFAULT_MIN_DEFERRAL
        try:
            min_deferral = get_min_deferral()
            if self._argument_error is not None:
                raise self._argument_error  # noqa: TRY301 - it is reported as any other
            event = _payloads.job_payload(await self._wait(), self.metadata)
        except AirbyteError as error:
            event = _payloads.error_payload(getattr(error, "job_id", self.job_id), error, self.metadata)
        except Exception as error:
            # Airflow would fail the task with a message that does not mention the job.
            self.log.exception("The trigger failed.")
            what = f"The trigger failed: {type(error).__name__}: {error}. {self._recovery_hint()}"
            event = _payloads.error_payload(self.job_id, AirbyteError(what), self.metadata)
        remaining = started_at + min_deferral - CLOCK.time()
        if remaining > 0:
            await CLOCK.sleep_async(remaining)
        self._fired = True
        yield TriggerEvent(event)  # type: ignore[no-untyped-call] # Airflow's

    async def _wait(self) -> jobs.WaitResult:
        raise NotImplementedError

    def _recovery_hint(self) -> str:
        """Return a sentence on what continues in Airbyte when this trigger gives up, with a hint."""
        raise NotImplementedError

    def _check_arguments(self, unknown: Mapping[str, Any], *, from_row: bool) -> None:
        """Parse the arguments: see :func:`~._rows.check_arguments`."""
        problem = _rows.check_arguments(
            type(self).__name__, unknown, self._parse_arguments, self.log, from_row=from_row
        )
        if problem is not None:
            self._argument_error = AirbyteConfigError(f"{problem} {self._recovery_hint()}")

    def _parse_arguments(self) -> None:
        self.airbyte_conn_id = _rows.parse_text(self.airbyte_conn_id, "airbyte_conn_id")
        self.poll_interval = _rows.parse_interval(self.poll_interval)
        self.deadline = _rows.parse_optional_seconds(self.deadline, "deadline")
        self.unreachable_timeout = _rows.parse_seconds(self.unreachable_timeout, "unreachable_timeout")

    def _parse_metadata(self, metadata: object) -> None:
        # Parsed first, so that an error event about the other arguments includes the metadata.
        self.metadata = {}
        self.metadata = _rows.parse_json_object(metadata, "metadata")

    async def _with_service(self, use: Callable[[PollingService], Awaitable[T]]) -> T:
        """Return the result of ``use``, called with the shared polling service of this trigger's Airbyte."""
        from airflow_provider_airbyte_api.polling.service import shared_polling_service  # noqa: PLC0415 - not in a worker

        settings = await self._settings()
        while True:
            try:
                async with shared_polling_service(settings) as service:
                    return await use(service)
            except AirbyteAuthenticationError:
                # The secret may have been changed in the Airflow connection since it was loaded.
                renewed = await self._settings(rejected=settings)
                if renewed == settings:
                    raise
                settings = renewed

    async def _settings(self, *, rejected: ClientSettings | None = None) -> ClientSettings:
        """Return the settings of the Airflow connection. Retry for ``unreachable_timeout`` if it cannot be loaded."""
        outage = Outage(
            while_unreachable(self.unreachable_timeout),
            log_prefix=f"Could not load Airflow connection {self.airbyte_conn_id!r}",
            error_prefix=f"Could not load Airflow connection {self.airbyte_conn_id!r}",
            hint=f"Check Airflow's secrets backend and API server. {self._recovery_hint()}",
        )
        while True:
            try:
                return await get_settings(self.airbyte_conn_id, rejected=rejected)
            except AirbyteError:
                raise
            except AirflowNotFoundException as error:
                raise AirbyteConfigError(
                    f"Airflow connection {self.airbyte_conn_id!r} was not found in the triggerer. Configure it "
                    "there: the triggerer needs the same environment variables and secrets backend as the workers. "
                    f"{self._recovery_hint()}"
                ) from error
            except Exception as error:  # noqa: BLE001 - Airflow's secrets backends raise anything
                retry = outage.on_retryable_error(
                    AirbyteUnreachableError(f"{type(error).__name__}: {error}"), CLOCK.time()
                )
                if retry.warning is not None:
                    self.log.warning("%s", retry.warning)
                await CLOCK.sleep_async(retry.delay)


class AirbyteJobTrigger(_AirbyteTrigger):
    """Waits until a job has finished, and emits an event with the job: see :mod:`._payloads`.

    It never blocks the event loop. Its arguments hold no secret, because Airflow stores them in plain text.

    An invalid argument raises an error in the constructor. In a row of Airflow's trigger table it becomes an error
    event instead, because most exceptions of a constructor end Airflow's triggerer.

    :param job_id: ID of the job: a positive integer, or a string with one.
    :param connection_id: UUID of the Airbyte connection that the job syncs. Messages about the job contain it.
        Default: None.
    :param airbyte_conn_id: ID of the Airflow connection. Default: ``airbyte_api_default``.
    :param poll_interval: Seconds between two polls. Default: 30.
    :param deadline: Time until which the job must have finished, in seconds since the epoch. Default: None, no limit.
    :param queue_deadline: Time until which the job must have left the queue, in seconds since the epoch. Default: None,
        no limit.
    :param unreachable_timeout: Seconds for which Airbyte may be unreachable. Default: 1800.
    :param cancel_on_kill: Cancel the job if, while the task is deferred, it is marked failed or succeeded, or cleared,
        or its DAG run fails. Default: False.
    :param workspace_id: UUID of the workspace of that connection. Triggers with the same workspace share one list of
        jobs per poll; without it, the list is of all workspaces. Default: None.
    :param metadata: JSON object that the event returns to the task. Default: None, an empty object.
    :param stalled_timeout: Seconds for which the rows and bytes of the running job may stand still. Default: None, no
        limit.
    :param report_progress: Keep the task's XCom ``airbyte_sync`` up to date, where Airflow lets a trigger write XComs.
        Default: False.
    :param from_row: Whether the arguments come from :meth:`serialize`. Default: False.
    :param unknown: Arguments of another version. In a row they are ignored.
    :raises AirbyteConfigError: if an argument is invalid, unless ``from_row`` is True.
    """

    def __init__(
        self,
        job_id: int,
        connection_id: str | None = None,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        deadline: float | None = None,
        queue_deadline: float | None = None,
        unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT,
        cancel_on_kill: bool = False,
        workspace_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        stalled_timeout: float | None = None,
        report_progress: bool = False,
        from_row: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.job_id = job_id
        self.stalled_timeout = stalled_timeout
        self.report_progress = bool(report_progress)
        self.connection_id = connection_id
        self.airbyte_conn_id = airbyte_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.queue_deadline = queue_deadline
        self.unreachable_timeout = unreachable_timeout
        self.cancel_on_kill = bool(cancel_on_kill)
        self.workspace_id = workspace_id
        self._raw_metadata = metadata
        self._check_arguments(unknown, from_row=from_row)

    def _parse_arguments(self) -> None:
        given, self.job_id = self.job_id, 0
        self._parse_metadata(self._raw_metadata)
        self.job_id = parse_job_id(given)
        super()._parse_arguments()
        self.connection_id = _rows.parse_optional_text(self.connection_id, "connection_id")
        self.workspace_id = _rows.parse_optional_text(self.workspace_id, "workspace_id")
        self.queue_deadline = _rows.parse_optional_seconds(self.queue_deadline, "queue_deadline")
        self.stalled_timeout = _rows.parse_optional_seconds(self.stalled_timeout, "stalled_timeout")

    def _recovery_hint(self) -> str:
        which = f"Job {self.job_id}" if self.job_id else "The job"
        if self.connection_id is not None:
            which = f"{which} of Airbyte connection {self.connection_id}"
        return f"{which} continues in Airbyte, and a retry of the task follows it."

    async def _wait(self) -> jobs.WaitResult:
        options = WaitOptions(
            self.poll_interval,
            self.deadline,
            self.queue_deadline,
            self.unreachable_timeout,
            initial_delay=self.poll_interval,
            known_to_exist=True,
            stalled_timeout=self.stalled_timeout,
        )
        has_xcom = self.report_progress and _airflow_compat.trigger_has_xcoms(self.task_instance)
        writer = SyncInfoWriter(self.task_instance, self.log) if has_xcom else None
        try:
            return await self._with_service(lambda service: self._wait_in(service, options, writer))
        except asyncio.CancelledError:
            if not _airflow_compat.has_trigger_on_kill():
                await self._cancel_if_abandoned()
            raise
        finally:
            if writer is not None:
                writer.stop()
                await writer.flush()

    def _wait_in(
        self, service: PollingService, options: WaitOptions, writer: SyncInfoWriter | None
    ) -> Awaitable[jobs.WaitResult]:
        name = str(self.metadata.get("name") or "")

        def on_poll(job: Job) -> None:
            if writer is not None and not job.is_terminal:  # the resumed task writes the end
                url = self.workspace_id and service.urls.job_url(self.workspace_id, job.connection_id, job.job_id)
                writer.update(build_sync_info(job, JobContext(name, url), CLOCK.time()))

        return service.wait_for_job(self.job_id, options, self.workspace_id, self.log, on_poll)

    async def on_kill(self) -> None:
        """Cancel the job if the task no longer waits for it, which :mod:`._abandonment` decides.

        Airflow 3.3 and newer call this when a user acts on the deferred task. Older versions only cancel :meth:`run`.
        """
        if not self._fired:
            await self._cancel_if_abandoned()

    async def _cancel_if_abandoned(self) -> None:
        """Cancel the job in a separate asyncio task, since Airflow cancels a trigger each second until it has ended.

        Wait a moment, because Airflow closes the task's log when the trigger ends.
        """
        deadlines = (self.deadline, _airflow_compat.deferral_deadline(self))
        is_late = any(each is not None and each <= CLOCK.time() for each in deadlines)  # the task handles its timeout
        if not self.cancel_on_kill or is_late or self._argument_error is not None or self.task_instance is None:
            return
        task = create_background_task(self._cancel_abandoned_job(), contextvars.copy_context())
        await asyncio.wait({task}, timeout=ABANDONMENT_WAIT)

    async def _cancel_abandoned_job(self) -> None:
        try:
            if not await is_abandoned(self.task_instance, self.job_id):
                return
        except Exception as error:  # noqa: BLE001 - Airflow raises anything
            self.log.warning(
                "Job %d was left running: could not check whether the task still waits for it. %s: %s",
                self.job_id,
                type(error).__name__,
                error,
            )
            return
        self.log.info("The task no longer waits for job %d, so the job is cancelled.", self.job_id)
        try:
            job = await self._with_service(lambda service: service.cancel_job(self.job_id, self.log))
        except Exception as error:  # noqa: BLE001 - the job continues, whatever the error is
            self.log.warning("Could not cancel job %d; cancel it in Airbyte. %s", self.job_id, error)
        else:
            if not job.is_terminal:
                self.log.warning(
                    "Job %d is still %s after it was cancelled; check it in Airbyte.", job.job_id, job.status
                )


class AirbyteFreshnessTrigger(_AirbyteTrigger):
    """Waits until an Airbyte connection's data is fresh, and emits an event with the sync: see :mod:`._payloads`.

    All triggers for the same Airbyte share one session and one token. Each poll is one request.

    :param connection_id: UUID of the Airbyte connection.
    :param airbyte_conn_id: ID of the Airflow connection. Default: ``airbyte_api_default``.
    :param poll_interval: Seconds between two polls. Default: 30.
    :param max_age: Maximum seconds since the sync finished. Default: None, no limit.
    :param completed_after: Earliest time at which the sync may have finished, in seconds since the epoch. Default:
        None, no limit.
    :param min_rows: Minimum number of rows that the sync must have moved. Default: None, no minimum.
    :param on_failed: ``wait`` for another sync, or ``fail``, if a sync that could have been fresh failed. Default:
        ``wait``.
    :param deadline: Time at which to stop waiting, in seconds since the epoch. Default: None, no limit.
    :param unreachable_timeout: Seconds for which Airbyte may be unreachable. Default: 1800.
    :param connection_name: Name of that connection, for messages. Default: None.
    :param metadata: JSON object that the event returns to the task. Default: None, an empty object.
    :param from_row: Whether the arguments come from :meth:`serialize`. Default: False.
    :param unknown: Arguments of another version. In a row they are ignored.
    :raises AirbyteConfigError: if an argument is invalid, unless ``from_row`` is True.
    """

    def __init__(
        self,
        connection_id: str,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        max_age: float | None = None,
        completed_after: float | None = None,
        min_rows: int | None = None,
        on_failed: OnFailed = "wait",
        deadline: float | None = None,
        unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT,
        connection_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        from_row: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.connection_id = connection_id
        self.airbyte_conn_id = airbyte_conn_id
        self.poll_interval = poll_interval
        self.max_age = max_age
        self.completed_after = completed_after
        self.min_rows = min_rows
        self.on_failed = on_failed
        self.deadline = deadline
        self.unreachable_timeout = unreachable_timeout
        self.connection_name = connection_name
        self._raw_metadata = metadata
        self._check_arguments(unknown, from_row=from_row)

    def _parse_arguments(self) -> None:
        self._parse_metadata(self._raw_metadata)
        super()._parse_arguments()
        self.connection_name = _rows.parse_optional_text(self.connection_name, "connection_name")
        self.max_age = _rows.parse_optional_seconds(self.max_age, "max_age")
        self.completed_after = _rows.parse_optional_seconds(self.completed_after, "completed_after")
        if self.min_rows is not None and safe_int(self.min_rows, 0) is None:
            raise AirbyteConfigError(f"min_rows is {safe_repr(self.min_rows)}, expected a number of rows, such as 1.")

    def _recovery_hint(self) -> str:
        return "Running syncs are not affected; a retry of the task waits again."

    async def _wait(self) -> jobs.WaitResult:
        from airflow_provider_airbyte_api.api import freshness  # noqa: PLC0415 - not in a worker

        criteria = freshness.FreshnessCriteria(
            self.max_age, self.completed_after, self.min_rows, fail_on_failure=self.on_failed == "fail"
        )
        options = WaitOptions(
            self.poll_interval,
            self.deadline,
            unreachable_timeout=self.unreachable_timeout,
            initial_delay=self.poll_interval,
            known_to_exist=True,
        )
        job_context = JobContext(self.connection_name or "")

        def wait(service: PollingService) -> Awaitable[jobs.WaitResult]:
            waiting = freshness.wait_until_fresh(self.connection_id, criteria, options, job_context, service.config_url)
            return service.run_waiting(waiting, self.log, deadline=self.deadline)

        return await self._with_service(wait)
