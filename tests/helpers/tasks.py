"""What a task that runs without Airflow around it is given, and a task that does what a test wants."""

from __future__ import annotations

from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger
from airflow_provider_airbyte_api.types import JobResult


class XComs:
    """What a task instance is to an operator that is executed without Airflow around it."""

    map_index = -1

    def __init__(self, try_number: int = 1, max_tries: int = 0) -> None:
        self.pushed: dict[str, Any] = {}
        self.try_number = try_number
        self.max_tries = max_tries

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        return self.pushed.get(key)


class Store(dict[str, Any]):
    """What ``context["task_state_store"]`` is to an operator."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Context(dict[str, Any]):
    """One task run: what outlives a try is the store."""

    def __init__(self, store: Store | None = None, *, try_number: int = 1, max_tries: int = 1) -> None:
        super().__init__(ti=XComs(try_number, max_tries), task_state_store=store)


def sync(**more: Any) -> AirbyteSyncOperator:
    return AirbyteSyncOperator(
        task_id="sync", **{"connection_id": STRIPE_TO_BIGQUERY, "poll_interval": 0.02, "retries": 1, **more}
    )


def execute(task: AirbyteSyncOperator, context: Context) -> JobResult:
    return task.execute(cast("Any", context))


def defer(task: AirbyteSyncOperator, context: Context) -> AirbyteJobTrigger:
    with pytest.raises(TaskDeferred) as deferred:
        execute(task, context)
    trigger = deferred.value.trigger
    assert isinstance(trigger, AirbyteJobTrigger)
    return trigger


class InATask(BaseOperator):
    """A task that does what a test wants to do in a task."""

    def __init__(self, *, ask: Any, **more: Any) -> None:
        super().__init__(**more)
        self.ask = ask

    def execute(self, context: Any) -> None:
        self.ask(context)
