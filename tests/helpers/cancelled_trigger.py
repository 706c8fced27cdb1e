"""Running and cancelling a trigger as Airflow's triggerer does, and a double of what Airflow knows of its task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_airbyte_api import _airflow_compat
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger
from tests.helpers.clock import until

Status = tuple["str | None", Any]
"""The state of the task, and its XCom with the ID of the job that it follows."""


def set_task_status(monkeypatch: pytest.MonkeyPatch, *statuses: Status | Exception, delay: float = 0.0) -> list[Any]:
    """Let Airflow answer with these statuses, the last of them for ever. Return the list of the answers given."""
    given: list[Any] = []

    async def state(*_: object) -> str | None:
        await asyncio.sleep(delay)
        status = statuses[min(len(given), len(statuses) - 1)]
        given.append(status)
        if isinstance(status, Exception):
            raise status
        return status[0]

    async def xcom(*_: object) -> Any:
        return given[-1][1]

    monkeypatch.setattr(_airflow_compat, "task_state", state)
    monkeypatch.setattr(_airflow_compat, "task_xcom", xcom)
    return given


def with_task(trigger: AirbyteJobTrigger, **more: Any) -> AirbyteJobTrigger:
    """Give a trigger a task instance, as the triggerer does."""
    which = {"dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": -1, "try_number": 1}
    any_trigger: Any = trigger
    any_trigger.task_instance = SimpleNamespace(**{**which, "trigger_timeout": None, **more})
    return trigger


async def run_and_cancel(trigger: AirbyteJobTrigger, when: Callable[[], bool], interval: float = 0.1) -> None:
    """Run a trigger, and cancel it from the time of ``when`` on until it is gone, as a triggerer does each second."""
    running = asyncio.create_task(_run(trigger))
    await until(when)
    while not running.done():
        running.cancel()
        await asyncio.wait({running}, timeout=interval)
    assert running.cancelled()


async def _run(trigger: AirbyteJobTrigger) -> None:
    try:
        async for _ in trigger.run():
            pass
    except asyncio.CancelledError:
        if hasattr(BaseTrigger, "on_kill"):
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(trigger.on_kill(), timeout=30)
        raise
