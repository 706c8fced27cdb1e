"""A way to run a DAG that a test has just written. It imports Airflow for a test that runs one."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_airbyte_api._airflow_compat import ensure_db
from airflow_provider_airbyte_api.testing.dags import run_dag
from tests.versions import AIRFLOW

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import DAG


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


@pytest.fixture(scope="session")
def database() -> Iterator[None]:
    """Airflow's own tables, empty, and one API server for all tasks that run in this process, as Airflow 3.3 has it.

    Airflow 3.0 to 3.2 build another one for each run of a task, which takes them seconds.
    """
    ensure_db()
    with pytest.MonkeyPatch.context() as patch:
        if (3, 0) <= AIRFLOW < (3, 3):
            from airflow.sdk.execution_time import supervisor

            patch.setattr(supervisor, "in_process_api_server", functools.cache(supervisor.in_process_api_server))
        yield


@pytest.fixture
def dag(request: pytest.FixtureRequest, database: None) -> Iterator[DAG]:
    """An empty DAG of the test's own, open for tasks."""
    from airflow.providers.common.compat.sdk import DAG

    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    with DAG(dag_id=name[:200], schedule=None) as made:
        _OPEN.append(made)
        yield made
        _OPEN.remove(made)
