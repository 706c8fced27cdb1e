"""Parts of a running Airflow are killed, and tasks are cleared and marked: how many syncs are there then?"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from airflow_provider_airbyte_api.testing import LocalAirbyte, LocalJob
from airflow_provider_airbyte_api.testing.seed import SNOWFLAKE_TO_POSTGRES, STRIPE_TO_BIGQUERY
from dev.airflow_api import AIRFLOW
from dev.stack import AirflowStack

DAGS = Path(__file__).parent / "dags"
FINISHED = ("success", "failed")


class ChaosStack:
    """A running Airflow, an Airbyte whose jobs run until they are ended, and a run of one DAG."""

    def __init__(self, stack: AirflowStack, airbyte: LocalAirbyte) -> None:
        self.stack = stack
        self.airbyte = airbyte
        self.dag_id = ""
        self.run_id = ""

    def start(self, dag_id: str, state: str) -> None:
        """Start a run, and wait until its task is in ``state`` and has a job."""
        self.dag_id, before = dag_id, len(self.airbyte.jobs)
        self.airbyte.script_jobs("running")
        self.run_id = self.stack.trigger(dag_id)
        self.until(lambda: self.task == state and len(self.airbyte.jobs) > before, f"{state} with a job")
        if state == "deferred":
            self.until(lambda: f"trigger {dag_id}/{self.run_id}" in self.said(), "a trigger that runs")

    @property
    def task(self) -> str:
        return self.stack.states(self.dag_id, self.run_id)["sync"]

    @property
    def attempt(self) -> int:
        number: int = self.stack.task(self.dag_id, self.run_id, "sync")["try_number"]
        return number

    def clear(self) -> None:
        self.stack.clear_task(self.dag_id, self.run_id, "sync")

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"no {what} within {seconds:.0f} s: the task is {self.task}\n{self.said()}"
            time.sleep(0.3)

    def said(self) -> str:
        return "\n".join(
            self.stack.task_log(self.dag_id, self.run_id, "sync", each + 1) for each in range(self.attempt)
        )

    def succeed(self, job_id: int) -> None:
        """End the job, and wait for the run's success with that job as its result."""
        self.airbyte.finish_job(job_id)
        self.until(lambda: self.stack.run_state(self.dag_id, self.run_id) in FINISHED, "end")
        assert self.stack.run_state(self.dag_id, self.run_id) == "success", self.said()
        assert self.stack.xcom(self.dag_id, self.run_id, "sync")["job_id"] == job_id


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AirflowStack, LocalAirbyte]]:
    home: Path = tmp_path_factory.mktemp("airflow")
    with LocalAirbyte() as airbyte:
        environment = {
            "AIRFLOW_CONN_AIRBYTE_API_DEFAULT": airbyte.airflow_connection,
            **AIRFLOW.fast_detection,
        }
        with AirflowStack(home, DAGS, environment) as stack:
            yield stack, airbyte


@pytest.fixture
def chaos(running: tuple[AirflowStack, LocalAirbyte]) -> Iterator[ChaosStack]:
    """Everything as it was at the start, but for the jobs of before, which are over."""
    stack, airbyte = running
    yield ChaosStack(stack, airbyte)
    for job in airbyte.jobs:
        airbyte.finish_job(job.job_id)


def processes_of_the_task(chaos: ChaosStack) -> list[psutil.Process]:
    """The process that executes the task, and the worker that watches it."""
    for process in chaos.stack.component("scheduler"):
        parent = process.parent()
        if "airflow worker" in process.name() and parent is not None and "airflow worker" in parent.name():
            return [process, parent]
    raise AssertionError([process.name() for process in chaos.stack.component("scheduler")])


@pytest.mark.parametrize("who", ["the task's process", "its worker too"])
def test_a_worker_that_is_killed_costs_no_second_sync(chaos: ChaosStack, who: str) -> None:
    chaos.start("in_worker", "running")
    (job,) = [job for job in chaos.airbyte.jobs if not job.is_terminal]
    made = len(chaos.airbyte.jobs)
    task, worker = processes_of_the_task(chaos)
    if who == "its worker too":
        worker.send_signal(signal.SIGKILL)
    task.send_signal(signal.SIGKILL)
    chaos.until(lambda: chaos.attempt == 2 and chaos.task == "running", "second try")
    chaos.until(lambda: f"Resuming job {job.job_id}" in chaos.said(), "word of the job of the first try")
    chaos.succeed(job.job_id)
    assert len(chaos.airbyte.jobs) == made
    assert job.job_id not in chaos.airbyte.cancelled


@pytest.mark.parametrize(
    ("part", "number"),
    [("triggerer", signal.SIGKILL), ("triggerer", signal.SIGTERM), ("scheduler", signal.SIGKILL)],
    ids=["triggerer killed", "triggerer restarted", "scheduler killed"],
)
def test_a_part_that_is_gone_for_a_while_costs_no_sync(chaos: ChaosStack, part: str, number: signal.Signals) -> None:
    chaos.start("deferred", "deferred")
    (job,) = [job for job in chaos.airbyte.jobs if not job.is_terminal]
    made, cancelled = len(chaos.airbyte.jobs), chaos.airbyte.cancelled
    chaos.stack.kill_component(part, number)
    chaos.stack.start_component(part)
    chaos.stack.wait_until_healthy()
    assert chaos.task == "deferred"
    chaos.succeed(job.job_id)
    assert chaos.attempt == 1
    assert len(chaos.airbyte.jobs) == made
    assert chaos.airbyte.cancelled == cancelled


@pytest.mark.parametrize("act", ["mark the task failed", "mark the task success", "mark the run failed"])
def test_a_deferred_task_that_is_marked_has_its_sync_cancelled_once(chaos: ChaosStack, act: str) -> None:
    chaos.start("deferred", "deferred")
    (job,) = [job for job in chaos.airbyte.jobs if not job.is_terminal]
    if act == "mark the run failed":
        chaos.stack.mark_run(chaos.dag_id, chaos.run_id, "failed")
    else:
        chaos.stack.mark_task(chaos.dag_id, chaos.run_id, "sync", act.rsplit(maxsplit=1)[-1])
    chaos.until(lambda: job.is_terminal, "cancelled job", 30)
    assert job.status == "cancelled"
    assert chaos.airbyte.cancelled.count(job.job_id) == 1


def test_a_deferred_task_that_is_cleared_has_its_sync_cancelled_and_gets_a_new_one(chaos: ChaosStack) -> None:
    chaos.start("deferred", "deferred")
    (old,) = [job for job in chaos.airbyte.jobs if not job.is_terminal]
    made = len(chaos.airbyte.jobs)
    chaos.clear()
    chaos.until(lambda: len(chaos.airbyte.jobs) > made and chaos.task == "deferred", "new sync")
    new = chaos.airbyte.jobs[-1]
    time.sleep(5.0)  # a kill of the old trigger would have come by now
    assert (old.status, new.is_terminal) == ("cancelled", False)
    chaos.succeed(new.job_id)
    assert chaos.airbyte.cancelled.count(old.job_id) == 1
    assert len(chaos.airbyte.jobs) == made + 1


def test_a_task_that_is_marked_failed_while_it_waits_in_a_worker_has_its_sync_cancelled(chaos: ChaosStack) -> None:
    chaos.start("in_worker", "running")
    (job,) = [job for job in chaos.airbyte.jobs if not job.is_terminal]
    chaos.until(lambda: len(chaos.airbyte.requests_to("GET", f"/jobs/{job.job_id}")) > 0, "look at the job")
    chaos.stack.mark_task(chaos.dag_id, chaos.run_id, "sync", "failed")
    chaos.until(lambda: job.is_terminal, "cancelled job", 60)
    assert job.status == "cancelled"
    assert chaos.airbyte.cancelled.count(job.job_id) == 1


def test_clearing_a_task_that_succeeded_runs_a_new_sync(chaos: ChaosStack) -> None:
    chaos.start("deferred", "deferred")
    first = chaos.airbyte.jobs[-1]
    chaos.succeed(first.job_id)
    chaos.clear()
    chaos.until(lambda: chaos.airbyte.jobs[-1].job_id != first.job_id and chaos.task == "deferred", "new sync")
    assert chaos.airbyte.jobs[-1].connection_id == STRIPE_TO_BIGQUERY
    chaos.succeed(chaos.airbyte.jobs[-1].job_id)


def test_of_mapped_tasks_only_the_one_that_is_marked_has_its_sync_cancelled(chaos: ChaosStack) -> None:
    chaos.airbyte.script_jobs("running")
    chaos.dag_id, chaos.run_id = "mapped", chaos.stack.trigger("mapped")

    def running() -> dict[str, LocalJob]:
        return {job.connection_id: job for job in chaos.airbyte.jobs if not job.is_terminal}

    def waiting(index: int) -> bool:
        row = chaos.stack.task(chaos.dag_id, chaos.run_id, "sync", index)
        return row["state"] == "deferred" and row["trigger"] is not None and row["triggerer_job"] is not None

    chaos.until(lambda: len(running()) == 2, "two jobs")
    chaos.until(lambda: waiting(0) and waiting(1), "two triggers that run")
    time.sleep(3.0)
    jobs = running()
    chaos.stack.mark_task(chaos.dag_id, chaos.run_id, "sync", "failed", map_index=0)
    chaos.until(lambda: jobs[STRIPE_TO_BIGQUERY].is_terminal, "cancelled job", 30)
    time.sleep(3.0)
    assert jobs[STRIPE_TO_BIGQUERY].status == "cancelled"
    assert not jobs[SNOWFLAKE_TO_POSTGRES].is_terminal
