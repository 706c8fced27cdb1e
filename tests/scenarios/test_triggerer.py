"""What triggers do in Airflow's own triggerer: when a user acts on a deferred task, and when the triggerer stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.jobs import LocalJob
from airflow_provider_airbyte_api.triggers.airbyte import AirbyteJobTrigger
from tests.helpers.dags import Run, run
from tests.helpers.tasks import CallbackOperator
from tests.helpers.triggerer import defer_again, running_triggerer, set_state, start_new_attempt


class DeferredTasks:
    """Tasks that wait in a triggerer, each for a job of its own."""

    def __init__(self, dag: DAG, airbyte: LocalAirbyte, names: list[str]) -> None:
        self.airbyte = airbyte
        self.jobs = {name: self._job() for name in names}
        self.mapped = [self._job(), self._job()]

        def push(job: LocalJob) -> Any:
            return lambda context: context["ti"].xcom_push(key="job_id", value=job.job_id)

        for name, job in self.jobs.items():
            CallbackOperator(task_id=name, callback=push(job))
        CallbackOperator.partial(task_id="mapped").expand(callback=[push(job) for job in self.mapped])
        self.run: Run = run(dag)
        assert self.run.succeeded
        for name, job in self.jobs.items():
            defer_again(self.run, name, self._trigger(job))
        for index, job in enumerate(self.mapped):
            defer_again(self.run, "mapped", self._trigger(job), index)

    def _job(self) -> LocalJob:
        connection_id = str(uuid4())  # a connection runs one job at a time
        self.airbyte.connections.append({**self.airbyte.connections[0], "connectionId": connection_id})
        return self.airbyte.add_job(connection_id, "running")

    @staticmethod
    def _trigger(job: LocalJob) -> AirbyteJobTrigger:
        return AirbyteJobTrigger(job.job_id, job.connection_id, poll_interval=0.5, cancel_on_kill=True)

    def all_wait(self) -> bool:
        """Return True once the triggers poll. There are enough of them for lists, and Airflow creates all at once."""
        return len(self.airbyte.requests_to("GET", "/jobs")) > 3


def test_a_triggerer_cancels_the_jobs_of_exactly_those_tasks_that_no_longer_wait(
    dag: DAG, airbyte: LocalAirbyte, tmp_path: Path
) -> None:
    tasks = DeferredTasks(dag, airbyte, ["failed", "cleared", "resumed", "untouched"])
    with running_triggerer(tmp_path / "triggerer.log") as triggerer:
        triggerer.wait_until(tasks.all_wait)
        set_state(tasks.run, "failed", "failed")
        set_state(tasks.run, "cleared", "scheduled")
        set_state(tasks.run, "resumed", "running")
        set_state(tasks.run, "mapped", "failed", 1)
        marked = {tasks.jobs["failed"].job_id, tasks.mapped[1].job_id}
        triggerer.wait_until(lambda: set(airbyte.cancelled) >= marked)
        assert set(airbyte.cancelled) == marked
        start_new_attempt(tasks.run, "cleared")
        expected = {*marked, tasks.jobs["cleared"].job_id}
        triggerer.wait_until(lambda: set(airbyte.cancelled) >= expected)
        triggerer.stop()
    assert "Traceback" not in triggerer.log.read_text()
    assert sorted(airbyte.cancelled) == sorted(expected), "each once, and no other"
