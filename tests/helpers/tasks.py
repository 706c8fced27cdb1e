"""Test doubles for a task that runs without Airflow, and an operator that runs a callback."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger
from airflow_provider_airbyte_api.types import JobResult


class FakeTaskInstance:
    """A double of the task instance, for an operator that is executed without Airflow."""

    dag_id, task_id, map_index = "fake_dag", "sync", -1

    def __init__(self, try_number: int = 1, max_tries: int = 0) -> None:
        self.pushed: dict[str, Any] = {}
        self.try_number = try_number
        self.max_tries = max_tries
        self.run_id = f"manual__{uuid4()}"

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        return self.pushed.get(key)


class FakeTaskStateStore(dict[str, Any]):
    """A double of ``context["task_state_store"]``."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


class FakeContext(dict[str, Any]):
    """A double of a task's context. Only the store outlives an attempt."""

    def __init__(self, store: FakeTaskStateStore | None = None, *, try_number: int = 1, max_tries: int = 1) -> None:
        super().__init__(ti=FakeTaskInstance(try_number, max_tries), task_state_store=store)


def sync(**more: Any) -> AirbyteSyncOperator:
    return AirbyteSyncOperator(
        task_id="sync", **{"connection_id": STRIPE_TO_BIGQUERY, "poll_interval": 0.02, "retries": 1, **more}
    )


def execute(task: AirbyteSyncOperator, context: FakeContext) -> JobResult:
    return task.execute(cast("Any", context))


def defer(task: AirbyteSyncOperator, context: FakeContext) -> AirbyteJobTrigger:
    with pytest.raises(TaskDeferred) as deferred:
        execute(task, context)
    trigger = deferred.value.trigger
    assert isinstance(trigger, AirbyteJobTrigger)
    return trigger


class CallbackOperator(BaseOperator):
    """An operator that calls ``callback`` with the context of its task."""

    def __init__(self, *, callback: Any, **more: Any) -> None:
        super().__init__(**more)
        self.callback = callback

    def execute(self, context: Any) -> None:
        self.callback(context)
