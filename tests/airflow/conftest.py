"""A database, and a way to run a DAG that a test has just written."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.testing.dags import run_dag
from tests.versions import AIRFLOW

collect_ignore = ["test_sync_events.py"] if AIRFLOW < (3, 0) else []  # it has no asset watchers


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses take no time, but the drivers' clock goes on by what they would have taken."""
    passed = 0.0

    def sleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        time.sleep(0.001)

    async def asleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        await asyncio.sleep(0.001)

    async def wait(event: asyncio.Event, seconds: float) -> None:
        nonlocal passed
        if seconds == math.inf:
            await event.wait()
        else:
            await asyncio.sleep(0.001)
            passed += 0.0 if event.is_set() else seconds

    monkeypatch.setattr(CLOCK, "wait_event", wait)
    monkeypatch.setattr(CLOCK, "time", lambda: time.time() + passed)
    monkeypatch.setattr(CLOCK, "sleep", sleep)
    monkeypatch.setattr(CLOCK, "sleep_async", asleep)


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


@dataclass
class Run:
    """A finished DAG run."""

    dag_run: Any

    @property
    def succeeded(self) -> bool:
        return str(self.dag_run.state) == "success"

    @property
    def states(self) -> dict[str, str]:
        return {ti.task_id: str(ti.state) for ti in self.dag_run.get_task_instances()}

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        if AIRFLOW < (3, 0):
            return self._xcom_of_airflow_2(task_id, key)
        from airflow.models.xcom import XComModel

        with _session() as session:
            row = XComModel.get_many(
                run_id=self.dag_run.run_id, key=key, task_ids=[task_id], dag_ids=[self.dag_run.dag_id]
            )
            found = session.scalars(row).first() if not hasattr(row, "first") else row.first()
            return None if found is None else XComModel.deserialize_value(found)

    def _xcom_of_airflow_2(self, task_id: str, key: str) -> Any:
        from airflow.models.xcom import XCom

        return XCom.get_one(run_id=self.dag_run.run_id, key=key, task_id=task_id, dag_id=self.dag_run.dag_id)


def _session() -> Any:
    from airflow.utils.session import create_session

    return create_session()


def run(dag: DAG, **more: Any) -> Run:
    """Run a DAG to its end, in this process, triggers included."""
    if dag not in _OPEN:
        return Run(run_dag(dag, **more))
    dag.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # else Airflow 3.0 adds to it what it reads of it
    try:
        return Run(run_dag(dag, **more))
    finally:
        dag.__enter__()


_OPEN: list[DAG] = []
"""DAGs that take the tasks that a test makes."""


@pytest.fixture
def dag(request: pytest.FixtureRequest, database: None) -> Iterator[DAG]:
    """An empty DAG of the test's own, open for tasks."""
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    with DAG(dag_id=name[:200], schedule=None) as made:
        _OPEN.append(made)
        yield made
        _OPEN.remove(made)
