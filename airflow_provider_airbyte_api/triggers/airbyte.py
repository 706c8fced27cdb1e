"""Triggers: they wait for Airbyte in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_airbyte_api._defaults import DEFAULT_CONN_ID, DEFAULT_POLL_INTERVAL, DEFAULT_UNREACHABLE_TIMEOUT
from airflow_provider_airbyte_api.api import freshness, jobs
from airflow_provider_airbyte_api.api.models import parse_job_id
from airflow_provider_airbyte_api.api.outcome import JobContext
from airflow_provider_airbyte_api.api.safe import safe_int, safe_repr
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.config import ClientConfig
from airflow_provider_airbyte_api.exceptions import (
    AirbyteAuthenticationError,
    AirbyteConfigError,
    AirbyteError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.polling.asyncio_utils import create_background_task
from airflow_provider_airbyte_api.polling.service import PollingService, shared_polling_service
from airflow_provider_airbyte_api.triggers import _payloads, rows
from airflow_provider_airbyte_api.triggers._settings_cache import get_settings

if TYPE_CHECKING:
    from airflow_provider_airbyte_api.triggers.sync_events import AirbyteSyncEventTrigger

__all__ = ["AirbyteFreshnessTrigger", "AirbyteJobTrigger", "AirbyteSyncEventTrigger"]

T = TypeVar("T")


def __getattr__(name: str) -> Any:
    """Import the trigger for asset watchers when it is asked for: Airflow 2 has none."""
    if name != "AirbyteSyncEventTrigger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from airflow_provider_airbyte_api.triggers import sync_events  # noqa: PLC0415 - see above
    except ImportError as error:
        raise ImportError("AirbyteSyncEventTrigger is for asset watchers, which need Airflow 3.0 or newer.") from error
    return sync_events.AirbyteSyncEventTrigger


MIN_DEFERRAL_SECONDS = 10.0
"""Seconds, about and at the least, between the start of a trigger and its event.

Airflow's worker may notice up to 5 s late (``[workers] min_heartbeat_interval``) that the process of a task that defers
has ended. If the trigger has fired by then, the scheduler takes the resumed task for one that died, and fails it: seen
on 3.3.2 with the LocalExecutor. No sync is that short, and the worker has looked at the job a moment ago.
"""


class _AirbyteTrigger(BaseTrigger):
    """What all triggers of this package have in common."""

    airbyte_conn_id: str
    poll_interval: float
    deadline: float | None
    unreachable_timeout: float
    metadata: dict[str, Any]
    job_id = 0
    _problem: AirbyteError | None = None
    """Why the arguments of this trigger's row cannot be used."""
    _fired = False

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event once the wait is over, or cannot go on."""
        settled_at = CLOCK.time() + MIN_DEFERRAL_SECONDS
        try:
            if self._problem is not None:
                raise self._problem  # noqa: TRY301 - it is reported as any other
            event = _payloads.job_payload(await self._wait(), self.metadata)
        except AirbyteError as error:
            event = _payloads.error_payload(getattr(error, "job_id", self.job_id), error, self.metadata)
        except Exception as error:
            # Airflow would fail the task without a word about the job.
            self.log.exception("The trigger failed.")
            what = f"The trigger failed: {type(error).__name__}: {error}. {self._what_becomes_of_it()}"
            event = _payloads.error_payload(self.job_id, AirbyteError(what), self.metadata)
        if CLOCK.time() < settled_at:
            await CLOCK.sleep_async(settled_at - CLOCK.time())
        self._fired = True
        yield TriggerEvent(event)  # type: ignore[no-untyped-call] # Airflow's

    async def _wait(self) -> jobs.WaitResult:
        raise NotImplementedError

    def _what_becomes_of_it(self) -> str:
        """Return what happens in Airbyte when this trigger gives up, and what to do."""
        raise NotImplementedError

    def _check(self, unknown: Mapping[str, Any], *, from_row: bool) -> None:
        """Take over the arguments: see :func:`~.rows.check`."""
        problem = rows.check_arguments(type(self).__name__, unknown, self._read_arguments, self.log, from_row=from_row)
        if problem is not None:
            self._problem = AirbyteConfigError(f"{problem} {self._what_becomes_of_it()}")

    def _read_arguments(self) -> None:
        self.airbyte_conn_id = rows.parse_text(self.airbyte_conn_id, "airbyte_conn_id")
        self.poll_interval = rows.parse_interval(self.poll_interval)
        self.deadline = rows.parse_optional_seconds(self.deadline, "deadline")
        self.unreachable_timeout = rows.parse_seconds(self.unreachable_timeout, "unreachable_timeout")

    def _take_handed_on(self, metadata: object) -> None:
        # First, so that an event about the other arguments brings it back.
        self.metadata = {}
        self.metadata = rows.parse_json_object(metadata, "metadata")

    async def _with_service(self, ask: Callable[[PollingService], Awaitable[T]]) -> T:
        """Return what the watch over this trigger's Airbyte answers."""
        settings = await self._settings()
        while True:
            try:
                async with shared_polling_service(settings) as service:
                    return await ask(service)
            except AirbyteAuthenticationError:
                # The secret may have been changed in Airflow, too, since it was looked up.
                renewed = await self._settings(rejected=settings)
                if renewed == settings:
                    raise
                settings = renewed

    async def _settings(self, *, rejected: ClientConfig | None = None) -> ClientConfig:
        """Return what the Airflow connection says. That Airflow cannot tell is no reason to fail, for a while."""
        outage = jobs.Outage()
        while True:
            try:
                return await get_settings(self.airbyte_conn_id, rejected=rejected)
            except AirbyteError:
                raise
            except AirflowNotFoundException as error:
                raise AirbyteConfigError(
                    f"Airflow connection {self.airbyte_conn_id!r} was not found in the triggerer. Make it visible "
                    "there: the environment variables and the secrets backend of the workers have to be set for the "
                    f"triggerer, too. {self._what_becomes_of_it()}"
                ) from error
            except Exception as error:
                now = CLOCK.time()
                pause = outage.record_failure(error, now)
                what = f"Airflow cannot tell its connection {self.airbyte_conn_id!r}: {type(error).__name__}: {error}"
                if now - outage.since >= self.unreachable_timeout:
                    raise AirbyteUnreachableError(
                        f"{what}. Look at Airflow's secrets backend and API server. {self._what_becomes_of_it()}"
                    ) from error
                self.log.warning("%s. Trying again in %.0f s.", what, pause)
                await CLOCK.sleep_async(pause)


class AirbyteJobTrigger(_AirbyteTrigger):
    """Waits until a job is finished, and tells how it ended: see :mod:`.events`.

    It never blocks the event loop, and it holds no secret: what it is built of is stored in plain text.

    An argument that cannot be used is an error here; in a row of Airflow's table it is an error event, since Airflow's
    triggerer does not survive most exceptions of a constructor.

    :param job_id: the job: a positive integer, or its text.
    :param connection_id: the Airbyte connection that the job syncs. It is for who reads the trigger's row: the job's
        id is enough to wait for it.
    :param airbyte_conn_id: the id of the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param deadline: when to give up, in seconds since the epoch; None: never.
    :param queue_deadline: when to give up if the job has not begun by then, in seconds since the epoch; None: never.
    :param unreachable_timeout: seconds that Airbyte may be away meanwhile.
    :param cancel_on_kill: cancel the job if the task is marked failed or succeeded, or cleared, while it is deferred.
        (Airflow 3.3 and newer call a trigger then.)
    :param metadata: JSON that comes back in the event, for the task that waits.
    :param from_row: whether :meth:`serialize` gave the arguments.
    :param unknown: arguments of another version: ignored in a row.
    :raises AirbyteConfigError: for an argument that cannot be used, unless ``from_row``.
    """

    def __init__(
        self,
        job_id: int,
        connection_id: str = "",
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        deadline: float | None = None,
        queue_deadline: float | None = None,
        unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT,
        cancel_on_kill: bool = False,
        metadata: Mapping[str, Any] | None = None,
        *,
        from_row: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.job_id = job_id
        self.connection_id = connection_id
        self.airbyte_conn_id = airbyte_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.queue_deadline = queue_deadline
        self.unreachable_timeout = unreachable_timeout
        self.cancel_on_kill = bool(cancel_on_kill)
        self._given_handed_on = metadata
        self._check(unknown, from_row=from_row)

    def _read_arguments(self) -> None:
        given, self.job_id = self.job_id, 0
        self._take_handed_on(self._given_handed_on)
        self.job_id = parse_job_id(given)
        super()._read_arguments()
        self.queue_deadline = rows.parse_optional_seconds(self.queue_deadline, "queue_deadline")

    def _what_becomes_of_it(self) -> str:
        which = f"Job {self.job_id}" if self.job_id else "The job"
        return f"{which} goes on in Airbyte; clear the task to follow it."

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what to build this trigger of again."""
        return (
            "airflow_provider_airbyte_api.triggers.airbyte.AirbyteJobTrigger",
            {
                "job_id": self.job_id,
                "connection_id": self.connection_id,
                "airbyte_conn_id": self.airbyte_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "queue_deadline": self.queue_deadline,
                "unreachable_timeout": self.unreachable_timeout,
                "cancel_on_kill": self.cancel_on_kill,
                "metadata": self.metadata,
                **rows.FROM_ROW,
            },
        )

    async def _wait(self) -> jobs.WaitResult:
        options = jobs.WaitOptions(
            self.poll_interval,
            self.deadline,
            self.queue_deadline,
            self.unreachable_timeout,
            initial_delay=self.poll_interval,
        )
        workspace_id = self.metadata.get("workspace_id")
        return await self._with_service(
            lambda service: service.wait_for_job(self.job_id, options, workspace_id, self.log)
        )

    async def on_kill(self) -> None:
        """Cancel the job if the task does not wait for it any more.

        Airflow calls this when a user acts on the deferred task, but also when another triggerer took the trigger over,
        and when it lingers after its event. So it asks first whether the task still waits for this very job.

        Airflow (3.3.2) cancels a trigger anew each second until it is gone, its ``on_kill`` included. So what is to be
        done is done by a task of its own.
        """
        if not self.cancel_on_kill or self._fired or self._problem is not None:
            return
        await asyncio.shield(create_background_task(self._cancel_if_abandoned()))

    async def _cancel_if_abandoned(self) -> None:
        try:
            if await self._task_still_waiting():
                return
            job = await self._with_service(lambda service: service.cancel_job(self.job_id, self.log))
            if not job.is_terminal:
                self.log.warning("Job %d was cancelled and is still %s: check it in Airbyte.", job.job_id, job.status)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job runs on
            self.log.warning("Job %d could not be cancelled: cancel it in Airbyte. %s", self.job_id, error)

    async def _task_still_waiting(self) -> bool:
        """Tell whether the task is deferred and its XCom still names this job.

        The state alone is not enough: after a clear, the task may be deferred again by now, for another job. XComs are
        wiped when a new try starts.
        """
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415 - 3.3 and newer
        from airflow.sdk.execution_time.xcom import XCom  # noqa: PLC0415 - as above
        from asgiref.sync import sync_to_async  # noqa: PLC0415 - as above

        ti: Any = self.task_instance
        if ti is None:
            return True
        states = await sync_to_async(RuntimeTaskInstance.get_task_states)(
            dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
        )
        name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
        if states.get(ti.run_id, {}).get(name) != "deferred":
            return False
        job_id = await XCom.aget_one(
            key="job_id", dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
        )
        return bool(job_id == self.job_id)


class AirbyteFreshnessTrigger(_AirbyteTrigger):
    """Waits until an Airbyte connection's data is fresh, and tells which sync made it so: see :mod:`.events`.

    It shares the session and the token of all who wait for the same Airbyte, and makes one request at each look.

    :param connection_id: the Airbyte connection.
    :param airbyte_conn_id: the id of the Airflow connection.
    :param poll_interval: seconds between two looks.
    :param max_age: how many seconds ago the sync may have ended; None: any.
    :param completed_after: when it has to have ended at the earliest, in seconds since the epoch; None: any time.
    :param min_rows: how many rows it has to have moved; None: any.
    :param on_failed: ``wait`` for another sync if one failed that could have been fresh, or ``fail``.
    :param deadline: when to give up, in seconds since the epoch; None: never.
    :param unreachable_timeout: seconds that Airbyte may be away meanwhile.
    :param metadata: JSON that comes back in the event, for the task that waits.
    :param from_row: whether :meth:`serialize` gave the arguments.
    :param unknown: arguments of another version: ignored in a row.
    :raises AirbyteConfigError: for an argument that cannot be used, unless ``from_row``.
    """

    def __init__(
        self,
        connection_id: str,
        airbyte_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        max_age: float | None = None,
        completed_after: float | None = None,
        min_rows: int | None = None,
        on_failed: str = "wait",
        deadline: float | None = None,
        unreachable_timeout: float = DEFAULT_UNREACHABLE_TIMEOUT,
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
        self._given_handed_on = metadata
        self._check(unknown, from_row=from_row)

    def _read_arguments(self) -> None:
        self._take_handed_on(self._given_handed_on)
        super()._read_arguments()
        self.max_age = rows.parse_optional_seconds(self.max_age, "max_age")
        self.completed_after = rows.parse_optional_seconds(self.completed_after, "completed_after")
        if self.min_rows is not None and safe_int(self.min_rows, 0) is None:
            raise AirbyteConfigError(f"min_rows is {safe_repr(self.min_rows)}, expected a number of rows, such as 1.")

    def _what_becomes_of_it(self) -> str:
        return "Any sync goes on in Airbyte; clear the task to wait again."

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what to build this trigger of again."""
        return (
            "airflow_provider_airbyte_api.triggers.airbyte.AirbyteFreshnessTrigger",
            {
                "connection_id": self.connection_id,
                "airbyte_conn_id": self.airbyte_conn_id,
                "poll_interval": self.poll_interval,
                "max_age": self.max_age,
                "completed_after": self.completed_after,
                "min_rows": self.min_rows,
                "on_failed": self.on_failed,
                "deadline": self.deadline,
                "unreachable_timeout": self.unreachable_timeout,
                "metadata": self.metadata,
                **rows.FROM_ROW,
            },
        )

    async def _wait(self) -> jobs.WaitResult:
        demand = freshness.FreshnessCriteria(
            self.max_age, self.completed_after, self.min_rows, fail_on_failure=self.on_failed == "fail"
        )
        options = jobs.WaitOptions(
            self.poll_interval,
            self.deadline,
            unreachable_timeout=self.unreachable_timeout,
            initial_delay=self.poll_interval,
        )
        seen = JobContext(self.metadata.get("name", ""))

        def wait(service: PollingService) -> Awaitable[jobs.WaitResult]:
            waiting = freshness.wait_until_fresh(self.connection_id, demand, options, seen)
            return service.run_waiting(waiting, self.log, deadline=self.deadline)

        return await self._with_service(wait)
