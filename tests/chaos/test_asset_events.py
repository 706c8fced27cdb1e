"""Syncs end at the same moment, on assets that are new to Airflow: is each task green, and each job one event?"""

from __future__ import annotations

import copy
import os
import time
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_airbyte_api.testing import LocalAirbyte, LocalJob
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from dev.postgres import Postgres, missing_for_postgres
from dev.stack import AirflowStack

DAGS = Path(__file__).parent / "assets"
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "1"))


def connection_id(purpose: str, number: int, index: int = 0) -> str:
    return f"{purpose}0000000-0000-4000-8000-{number:06d}{index:06d}"


class Syncing:
    """A running Airflow, and an Airbyte whose jobs run until they are ended."""

    def __init__(self, stack: AirflowStack, airbyte: LocalAirbyte) -> None:
        self.stack = stack
        self.airbyte = airbyte

    def add_connection(self, its_id: str) -> None:
        row = copy.deepcopy(
            next(each for each in self.airbyte.connections if each["connectionId"] == STRIPE_TO_BIGQUERY)
        )
        self.airbyte.connections.append({**row, "connectionId": its_id, "name": its_id})

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 240.0) -> None:
        end = time.monotonic() + seconds
        while True:
            with suppress(OSError):  # a busy API server is slow to answer
                if condition():
                    return
            assert time.monotonic() < end, f"no {what} within {seconds:.0f} s\n{self.stack.log_tail()}"
            time.sleep(1.0)

    def states(self, dag_id: str, run_id: str) -> Counter[str]:
        rows = self.stack.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]
        return Counter(str(row["state"]) for row in rows)

    def wait_for_triggers(self, dag_id: str, run_id: str, count: int) -> None:
        """Wait until all tasks of a run are deferred, and long enough for their triggers to fire at once."""
        self.until(lambda: self.states(dag_id, run_id)["deferred"] == count, f"{count} deferred tasks")
        time.sleep(12.0)

    def wait_for_success(self, *runs: tuple[str, str]) -> None:
        """Wait for the end of runs, and assert that no task of them is red."""
        for dag_id, run_id in runs:
            self.until(lambda: self.stack.run_state(dag_id, run_id) in ("success", "failed"), "end")  # noqa: B023
        red = [
            (dag_id, self.states(dag_id, run_id))
            for dag_id, run_id in runs
            if set(self.states(dag_id, run_id)) != {"success"}
        ]
        assert not red

    def events(self, *jobs: LocalJob) -> Counter[tuple[int, str]]:
        """Return how many events Airflow has of each of these jobs, by the part of the asset's URI behind the host."""
        found: list[dict[str, Any]] = []
        while True:
            try:
                page = self.stack.get(f"/assets/events?limit=100&offset={len(found)}")
            except urllib.error.HTTPError:
                time.sleep(0.3)  # Airflow 3.3.2 cannot list an event while the run that it started is queued
                continue
            found += page["asset_events"]
            if len(found) >= page["total_entries"]:
                break
        wanted = {job.job_id for job in jobs}
        return Counter(
            (event["extra"]["job_id"], event["uri"].partition("://")[2].partition("/")[2] or event["uri"])
            for event in found
            if event["extra"]["job_id"] in wanted
        )


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def syncing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Syncing]:
    if request.param == "postgres" and missing_for_postgres():
        pytest.skip(f"needs {missing_for_postgres()}")
    with LocalAirbyte() as airbyte:
        environment = {
            "AIRFLOW_CONN_AIRBYTE_API_DEFAULT": airbyte.airflow_connection,
            "AIRFLOW__CORE__PARALLELISM": "12" if request.param == "postgres" else "4",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "16",
            "CHAOS_AIRBYTE": airbyte.url,
            "CHAOS_ROUNDS": str(ROUNDS),
        }
        if request.param == "sqlite":
            with AirflowStack(tmp_path_factory.mktemp("airflow"), DAGS, environment) as stack:
                yield Syncing(stack, airbyte)
            return
        with Postgres() as postgres:
            environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = postgres.address
            with AirflowStack(tmp_path_factory.mktemp("airflow"), DAGS, environment) as stack:
                yield Syncing(stack, airbyte)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_twelve_tasks_attached_to_one_job_are_green_and_one_event_for_each_asset(syncing: Syncing, number: int) -> None:
    its_id = connection_id("a", number)
    syncing.add_connection(its_id)
    job = syncing.airbyte.add_job(its_id, "running")
    run = f"attached_{number}", syncing.stack.trigger(f"attached_{number}")
    syncing.wait_for_triggers(*run, 12)
    syncing.airbyte.finish_job(job.job_id)
    syncing.wait_for_success(*[run])
    expected = {(job.job_id, each) for each in (its_id, f"{its_id}/invoices", "airbyte_syncs")}
    assert syncing.events(job) == Counter(expected)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_task_that_started_a_job_and_eleven_that_attached_are_one_event_for_each_asset(
    syncing: Syncing, number: int
) -> None:
    its_id = connection_id("d", number)
    syncing.add_connection(its_id)
    syncing.airbyte.script_jobs("running")
    run = f"owned_{number}", syncing.stack.trigger(f"owned_{number}")
    syncing.wait_for_triggers(*run, 12)
    (job,) = [job for job in syncing.airbyte.jobs if job.connection_id == its_id]
    syncing.airbyte.finish_job(job.job_id)
    syncing.wait_for_success(run)
    expected = {(job.job_id, each) for each in (its_id, f"{its_id}/invoices", "airbyte_syncs")}
    assert syncing.events(job) == Counter(expected)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_poking_task_that_started_a_job_and_three_that_attached_are_one_event_for_each_asset(
    syncing: Syncing, number: int
) -> None:
    its_id, dag_id = connection_id("e", number), f"poking_{number}"
    syncing.add_connection(its_id)
    syncing.airbyte.script_jobs("running")
    run_id = syncing.stack.trigger(dag_id)
    syncing.until(
        lambda: all(syncing.stack.xcom(dag_id, run_id, f"sync_{index}", "job_id") for index in range(4)),
        "4 tasks that wait",
    )
    (job,) = [job for job in syncing.airbyte.jobs if job.connection_id == its_id]
    syncing.airbyte.finish_job(job.job_id)
    syncing.wait_for_success((dag_id, run_id))
    assert syncing.events(job) == Counter({(job.job_id, each) for each in (its_id, "airbyte_syncs")})


@pytest.mark.parametrize("number", range(ROUNDS))
def test_twelve_mapped_syncs_of_new_connections_that_end_together_are_green(syncing: Syncing, number: int) -> None:
    ids = [connection_id("b", number, index) for index in range(12)]
    for each in ids:
        syncing.add_connection(each)
    syncing.airbyte.script_jobs("running")
    run = f"mapped_{number}", syncing.stack.trigger(f"mapped_{number}")
    syncing.wait_for_triggers(*run, 12)
    jobs = [job for job in syncing.airbyte.jobs if job.connection_id in ids]
    for job in jobs:
        syncing.airbyte.finish_job(job.job_id)
    syncing.wait_for_success(run)
    first = next(job for job in jobs if job.connection_id == ids[0])
    assert syncing.events(*jobs) == Counter([(first.job_id, ids[0]), *((job.job_id, "airbyte_syncs") for job in jobs)])


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_runs_that_end_in_the_same_second_are_green_and_an_event_each(syncing: Syncing, number: int) -> None:
    its_id, dag_id = connection_id("c", number), f"single_{number}"
    syncing.add_connection(its_id)
    syncing.airbyte.script_jobs("running")
    first = dag_id, syncing.stack.trigger(dag_id)
    syncing.wait_for_triggers(*first, 1)
    for process in syncing.stack.component("triggerer"):
        process.suspend()
    try:
        (job,) = [job for job in syncing.airbyte.jobs if job.connection_id == its_id]
        syncing.airbyte.finish_job(job.job_id)
        second = dag_id, syncing.stack.trigger(dag_id)
        syncing.wait_for_triggers(*second, 1)
    finally:
        for process in syncing.stack.component("triggerer"):
            process.resume()
    jobs = [job for job in syncing.airbyte.jobs if job.connection_id == its_id]
    syncing.airbyte.finish_job(jobs[-1].job_id)
    syncing.wait_for_success(first, second)
    assert len(jobs) == 2
    assert syncing.events(*jobs) == Counter((job.job_id, each) for job in jobs for each in (its_id, "airbyte_syncs"))
