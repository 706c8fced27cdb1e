"""Triggers: they wait for Airbyte in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_airbyte_api.api import freshness, jobs
from airflow_provider_airbyte_api.api.defaults import AIRBYTE_CONN_ID, POLL_INTERVAL, UNREACHABLE_TIMEOUT
from airflow_provider_airbyte_api.api.errors import (
    AirbyteAuthenticationError,
    AirbyteConfigError,
    AirbyteError,
    AirbyteUnreachableError,
)
from airflow_provider_airbyte_api.api.models import valid_job_id
from airflow_provider_airbyte_api.api.safe import safe_int, safe_repr
from airflow_provider_airbyte_api.api.verdict import Seen
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.clients.settings import Settings
from airflow_provider_airbyte_api.triggers import events, rows
from airflow_provider_airbyte_api.triggers.lookups import settings_for
from airflow_provider_airbyte_api.watch.shared import Watch, watching
from airflow_provider_airbyte_api.watch.tasks import detached

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


SETTLING = 10.0
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
    handed_on: dict[str, Any]
    job_id = 0
    _problem: AirbyteError | None = None
    """Why the arguments of this trigger's row cannot be used."""
    _fired = False

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event once the wait is over, or cannot go on."""
        settled_at = CLOCK.time() + SETTLING
        try:
            if self._problem is not None:
                raise self._problem  # noqa: TRY301 - it is reported as any other
            event = events.finished(await self._wait(), self.handed_on)
        except AirbyteError as error:
            event = events.failed(getattr(error, "job_id", self.job_id), error, self.handed_on)
        except Exception as error:
            # Airflow would fail the task without a word about the job.
            self.log.exception("The trigger failed.")
            what = f"The trigger failed: {type(error).__name__}: {error}. {self._what_becomes_of_it()}"
            event = events.failed(self.job_id, AirbyteError(what), self.handed_on)
        if CLOCK.time() < settled_at:
            await CLOCK.asleep(settled_at - CLOCK.time())
        self._fired = True
        yield TriggerEvent(event)  # type: ignore[no-untyped-call] # Airflow's

    async def _wait(self) -> jobs.Waited:
        raise NotImplementedError

    def _what_becomes_of_it(self) -> str:
        """Return what happens in Airbyte when this trigger gives up, and what to do."""
        raise NotImplementedError

    def _check(self, unknown: Mapping[str, Any], *, from_row: bool) -> None:
        """Take over the arguments: see :func:`~.rows.check`."""
        problem = rows.check(type(self).__name__, unknown, self._read_arguments, self.log, from_row=from_row)
        if problem is not None:
            self._problem = AirbyteConfigError(f"{problem} {self._what_becomes_of_it()}")

    def _read_arguments(self) -> None:
        self.airbyte_conn_id = rows.text(self.airbyte_conn_id, "airbyte_conn_id")
        self.poll_interval = rows.interval(self.poll_interval)
        self.deadline = rows.seconds_or_none(self.deadline, "deadline")
        self.unreachable_timeout = rows.seconds(self.unreachable_timeout, "unreachable_timeout")

    def _take_handed_on(self, handed_on: object) -> None:
        # First, so that an event about the other arguments brings it back.
        self.handed_on = {}
        self.handed_on = rows.json_object(handed_on, "handed_on")

    async def _ask(self, ask: Callable[[Watch], Awaitable[T]]) -> T:
        """Return what the watch over this trigger's Airbyte answers."""
        settings = await self._settings()
        while True:
            try:
                async with watching(settings) as watch:
                    return await ask(watch)
            except AirbyteAuthenticationError:
                # The secret may have been changed in Airflow, too, since it was looked up.
                renewed = await self._settings(other_than=settings)
                if renewed == settings:
                    raise
                settings = renewed

    async def _settings(self, *, other_than: Settings | None = None) -> Settings:
        """Return what the Airflow connection says. That Airflow cannot tell is no reason to fail, for a while."""
        outage = jobs.Outage()
        while True:
            try:
                return await settings_for(self.airbyte_conn_id, other_than=other_than)
            except AirbyteError:
                raise
            except AirflowNotFoundException as error:
                raise AirbyteConfigError(
                    f"Airflow connection {self.airbyte_conn_id!r} was not found in the triggerer. Make it visible "
                    "there: the environment variables and the secrets backend of the workers have to be set for the "
                    f"triggerer, too. {self._what_becomes_of_it()}"
                ) from error
            except Exception as error:
                moment = CLOCK.time()
                pause = outage.missed(error, moment)
                what = f"Airflow cannot tell its connection {self.airbyte_conn_id!r}: {type(error).__name__}: {error}"
                if moment - outage.since >= self.unreachable_timeout:
                    raise AirbyteUnreachableError(
                        f"{what}. Look at Airflow's secrets backend and API server. {self._what_becomes_of_it()}"
                    ) from error
                self.log.warning("%s. Trying again in %.0f s.", what, pause)
                await CLOCK.asleep(pause)


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
    :param handed_on: JSON that comes back in the event, for the task that waits.
    :param from_row: whether :meth:`serialize` gave the arguments.
    :param unknown: arguments of another version: ignored in a row.
    :raises AirbyteConfigError: for an argument that cannot be used, unless ``from_row``.
    """

    def __init__(
        self,
        job_id: int,
        connection_id: str = "",
        airbyte_conn_id: str = AIRBYTE_CONN_ID,
        poll_interval: float = POLL_INTERVAL,
        deadline: float | None = None,
        queue_deadline: float | None = None,
        unreachable_timeout: float = UNREACHABLE_TIMEOUT,
        cancel_on_kill: bool = False,
        handed_on: Mapping[str, Any] | None = None,
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
        self._given_handed_on = handed_on
        self._check(unknown, from_row=from_row)

    def _read_arguments(self) -> None:
        given, self.job_id = self.job_id, 0
        self._take_handed_on(self._given_handed_on)
        self.job_id = valid_job_id(given)
        super()._read_arguments()
        self.queue_deadline = rows.seconds_or_none(self.queue_deadline, "queue_deadline")

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
                "handed_on": self.handed_on,
                **rows.FROM_ROW,
            },
        )

    async def _wait(self) -> jobs.Waited:
        patience = jobs.Patience(
            self.poll_interval,
            self.deadline,
            self.queue_deadline,
            self.unreachable_timeout,
            first_pause=self.poll_interval,
        )
        workspace_id = self.handed_on.get("workspace_id")
        return await self._ask(lambda watch: watch.wait_for_job(self.job_id, patience, workspace_id, self.log))

    async def on_kill(self) -> None:
        """Cancel the job if the task does not wait for it any more.

        Airflow calls this when a user acts on the deferred task, but also when another triggerer took the trigger over,
        and when it lingers after its event. So it asks first whether the task still waits for this very job.

        Airflow (3.3.2) cancels a trigger anew each second until it is gone, its ``on_kill`` included. So what is to be
        done is done by a task of its own.
        """
        if not self.cancel_on_kill or self._fired or self._problem is not None:
            return
        await asyncio.shield(detached(self._cancel_unless_waited_for()))

    async def _cancel_unless_waited_for(self) -> None:
        try:
            if await self._is_still_waited_for():
                return
            job = await self._ask(lambda watch: watch.cancel_job(self.job_id, self.log))
            if not job.is_finished:
                self.log.warning("Job %d was cancelled and is still %s: check it in Airbyte.", job.job_id, job.status)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job runs on
            self.log.warning("Job %d could not be cancelled: cancel it in Airbyte. %s", self.job_id, error)

    async def _is_still_waited_for(self) -> bool:
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
    :param handed_on: JSON that comes back in the event, for the task that waits.
    :param from_row: whether :meth:`serialize` gave the arguments.
    :param unknown: arguments of another version: ignored in a row.
    :raises AirbyteConfigError: for an argument that cannot be used, unless ``from_row``.
    """

    def __init__(
        self,
        connection_id: str,
        airbyte_conn_id: str = AIRBYTE_CONN_ID,
        poll_interval: float = POLL_INTERVAL,
        max_age: float | None = None,
        completed_after: float | None = None,
        min_rows: int | None = None,
        on_failed: str = "wait",
        deadline: float | None = None,
        unreachable_timeout: float = UNREACHABLE_TIMEOUT,
        handed_on: Mapping[str, Any] | None = None,
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
        self._given_handed_on = handed_on
        self._check(unknown, from_row=from_row)

    def _read_arguments(self) -> None:
        self._take_handed_on(self._given_handed_on)
        super()._read_arguments()
        self.max_age = rows.seconds_or_none(self.max_age, "max_age")
        self.completed_after = rows.seconds_or_none(self.completed_after, "completed_after")
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
                "handed_on": self.handed_on,
                **rows.FROM_ROW,
            },
        )

    async def _wait(self) -> jobs.Waited:
        demand = freshness.Demand(self.max_age, self.completed_after, self.min_rows, fails=self.on_failed == "fail")
        patience = jobs.Patience(
            self.poll_interval,
            self.deadline,
            unreachable_timeout=self.unreachable_timeout,
            first_pause=self.poll_interval,
        )
        seen = Seen(self.handed_on.get("name", ""))

        def wait(watch: Watch) -> Awaitable[jobs.Waited]:
            waiting = freshness.wait_for_fresh_data(self.connection_id, demand, patience, seen)
            return watch.run(waiting, self.log, deadline=self.deadline)

        return await self._ask(wait)
