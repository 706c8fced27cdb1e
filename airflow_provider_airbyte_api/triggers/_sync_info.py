"""The XCom ``airbyte_sync``: workers push it, and a trigger keeps it up to date while its task is deferred."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.outcome import JobContext, build_sync_info
from airflow_provider_airbyte_api.api.progress import REPORT_INTERVAL
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.polling.asyncio_utils import create_background_task
from airflow_provider_airbyte_api.types import AirbyteSyncInfo, FailureReason

SYNC_INFO_XCOM = "airbyte_sync"
"""Key of the XCom with an :class:`.AirbyteSyncInfo`, from the start of the job to its end."""

FLUSH_TIMEOUT = 5.0
"""Maximum seconds for which the end of a wait is delayed by a write that is in flight."""


def push_sync_info(
    ti: Any, log: Any, job: Job, context: JobContext, now: float, reason: FailureReason | None = None
) -> None:
    """Push the XCom from a worker. If it cannot be pushed, the task goes on.

    :param ti: The running task instance.
    :param log: The task's logger.
    :param job: The job.
    :param context: The name of its connection, and its page.
    :param now: The time, in seconds since the epoch.
    :param reason: Why the job failed or was cancelled. Default: None, unknown.
    """
    try:
        ti.xcom_push(key=SYNC_INFO_XCOM, value=build_sync_info(job, context, now, reason))
    except Exception as error:  # noqa: BLE001 - see above
        log.warning("Could not push the XCom %s. %s: %s", SYNC_INFO_XCOM, type(error).__name__, error)


class SyncInfoWriter:
    """Writes the XCom in separate asyncio tasks, at most every 15 seconds, so that no wait is held up.

    :param ti: The trigger's task instance.
    :param log: The logger for an error. An error does not end the wait.
    """

    def __init__(self, ti: Any, log: Any) -> None:
        self._ti = ti
        self._log = log
        self._pending: AirbyteSyncInfo | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._write_task: asyncio.Task[None] | None = None

    def update(self, info: AirbyteSyncInfo) -> None:
        """Write ``info`` soon, unless a later one replaces it."""
        self._pending = info
        if self._loop_task is None or self._loop_task.done():
            self._loop_task = create_background_task(self._write_pending())

    def stop(self) -> None:
        """Write nothing more. A write that is in flight continues."""
        self._pending = None
        if self._loop_task is not None:
            self._loop_task.cancel()

    async def flush(self) -> None:
        """Wait until the write that is in flight has finished, so that it cannot follow one of the resumed task."""
        if self._write_task is not None and not self._write_task.done():
            await asyncio.wait({self._write_task}, timeout=FLUSH_TIMEOUT)

    async def _write_pending(self) -> None:
        while self._pending is not None:
            info, self._pending = self._pending, None
            # Airflow's channel must not lose a coroutine that waits for an answer, so each write is a task of its own.
            self._write_task = create_background_task(self._write(info), contextvars.copy_context())
            await asyncio.wait({self._write_task})
            await CLOCK.sleep_async(REPORT_INTERVAL)

    async def _write(self, info: AirbyteSyncInfo) -> None:
        try:
            await _airflow_compat.aset_xcom(self._ti, SYNC_INFO_XCOM, info)
        except Exception as error:  # noqa: BLE001 - Airflow raises anything
            self._log.warning("Could not write the XCom %s. %s: %s", SYNC_INFO_XCOM, type(error).__name__, error)
