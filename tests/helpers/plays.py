"""What the cases have in common: what is done to a run of a DAG whose tasks are syncs, and what has come of it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from airflow_provider_airbyte_api.testing import LocalAirbyte, LocalJob
from dev.rest_api import AirflowRestApi

FINISHED = ("success", "failed")
TIMEOUT = 180.0


@dataclass(frozen=True)
class Result:
    """How a case has ended, and what it has waited for in vain."""

    outcome: str
    missed: str


class Run:
    """A run of a DAG with one task, or one mapped task, named ``sync``."""

    def __init__(self, airflow: AirflowRestApi, dag_id: str) -> None:
        self.airflow = airflow
        self.dag_id = dag_id
        self.run_id = ""

    def trigger(self) -> None:
        self.run_id = self.airflow.trigger(self.dag_id)

    def rows(self) -> list[dict[str, Any]]:
        path = f"/dags/{self.dag_id}/dagRuns/{self.run_id}/taskInstances?limit=100"
        rows: list[dict[str, Any]] = self.airflow.get(path)["task_instances"]
        return rows

    def states(self) -> list[str]:
        return [str(row["state"]) for row in self.rows()]

    def attempt(self) -> int:
        return max(int(row["try_number"]) for row in self.rows())

    def is_finished(self) -> bool:
        return self.airflow.run_state(self.dag_id, self.run_id) in FINISHED

    def process(self) -> psutil.Process | None:
        """Return the process that executes the task."""
        return next(iter(self.processes()), None)

    def processes(self) -> list[psutil.Process]:
        """Return the processes that execute tasks."""
        found = []
        for row in self.rows():
            with suppress(psutil.NoSuchProcess):
                if row["state"] == "running" and row["pid"]:
                    found.append(psutil.Process(row["pid"]))
        return found

    def mark(self, state: str, map_index: int | None = None) -> None:
        self.airflow.mark_task(self.dag_id, self.run_id, "sync", state, map_index)

    def mark_run(self, state: str) -> None:
        self.airflow.mark_run(self.dag_id, self.run_id, state)

    def clear(self) -> None:
        self.airflow.clear_task(self.dag_id, self.run_id, "sync")

    def result(self) -> Any:
        """Return the result of the only task."""
        return self.airflow.xcom(self.dag_id, self.run_id, "sync", map_index=int(self.rows()[0]["map_index"]))


class Play:
    """A case that runs: a run of a DAG, and perhaps one of another DAG, at an Airbyte that nobody else uses.

    :param dag_id: of the DAG; that of the other one ends with ``_other``.
    :param waiting: the states of its tasks while they wait for their jobs.
    :param stopping: set once the test has ended.
    """

    def __init__(
        self, airflow: AirflowRestApi, airbyte: LocalAirbyte, dag_id: str, waiting: list[str], stopping: threading.Event
    ) -> None:
        self.airbyte = airbyte
        self.run = Run(airflow, dag_id)
        self.other = Run(airflow, f"{dag_id}_other")
        self.waiting = waiting
        self.stopping = stopping

    def until(self, condition: Callable[[], bool], what: str, seconds: float = TIMEOUT) -> None:
        end = time.monotonic() + seconds
        while True:
            with suppress(OSError):  # a busy server is slow to answer
                if condition():
                    return
            assert time.monotonic() < end, f"no {what} within {seconds:.0f} s"
            self.sleep(2.0)

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than the test."""
        assert not self.stopping.wait(seconds), "the test has ended"

    def outcome(self) -> str:
        """Return jobs made and cancelled, and the states of the tasks."""
        states = "/".join(sorted(set(self.run.states())))
        return f"{len(self.airbyte.jobs)}/{len(self.airbyte.cancelled)} {states}"

    def begin(self) -> None:
        """Start the run, and wait until all its tasks have a job and are polled."""
        self.run.trigger()
        self.until(lambda: sorted(self.run.states()) == sorted(self.waiting), "/".join(sorted(set(self.waiting))))
        self.until_jobs(len(self.waiting))
        self.until_polled()

    def until_jobs(self, count: int) -> None:
        self.until(lambda: len(self.airbyte.jobs) >= count or self.run.is_finished(), f"{count} jobs")

    def until_polled(self) -> None:
        """Wait for polls, unless the run has finished, which its outcome shows."""
        before = len(self.airbyte.requests_to("GET", "/jobs.*"))
        self.until(
            lambda: len(self.airbyte.requests_to("GET", "/jobs.*")) >= before + 3 or self.run.is_finished(), "polls"
        )

    def until_cancelled(self, *jobs: LocalJob) -> None:
        self.until(lambda: {job.job_id for job in jobs} <= set(self.airbyte.cancelled), "cancelled jobs", 60)

    def until_all_cancelled(self) -> None:
        self.until_cancelled(*self.airbyte.jobs)
        self.until_finished()

    def until_finished(self) -> None:
        self.until(self.run.is_finished, "end of the run")

    def until_attempt(self, number: int) -> None:
        """Wait for an attempt that runs, unless Airflow does not retry the task."""

        def is_running() -> bool:
            (row,) = self.run.rows()
            return row["try_number"] >= number and row["state"] in ("running", "deferred")

        self.until(lambda: is_running() or self.run.is_finished(), f"attempt {number}")

    def succeed(self) -> None:
        """Let all jobs that run succeed, now and until the run is finished."""

        def finish_all() -> bool:
            for job in self.airbyte.jobs:
                if not job.is_terminal:
                    self.airbyte.finish_job(job.job_id)
            return self.run.is_finished()

        self.until(finish_all, "end of the run")
        if len(self.waiting) == 1 and self.run.states() == ["success"]:
            result = self.run.result()
            assert result["job_id"] == self.airbyte.jobs[-1].job_id, "the result is of another job"

    def processes(self, run: Run | None = None, *, worker: bool = True) -> list[psutil.Process]:
        """Return the process of a task, after the one that supervises it if ``worker``."""
        run = run or self.run
        self.until(lambda: run.process() is not None, "process of the task")
        process = run.process()
        assert process is not None, "the task has ended by itself"
        parent = process.parent() if worker else None
        return [process] if parent is None else [parent, process]

    def kill(self, run: Run | None = None, *, worker: bool = True) -> None:
        """Kill the process of a task, and with ``worker`` the one that supervises it too."""
        for each in self.processes(run, worker=worker):
            each.send_signal(signal.SIGKILL)

    def evict(self) -> None:
        """End the processes of a task as Kubernetes ends a pod: SIGTERM, and SIGKILL after a while."""
        processes = self.processes()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for each in processes:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(number)
            time.sleep(6.0)


def missed_by(act: Callable[[], None]) -> str:
    """Run it, and return what it has waited for in vain."""
    try:
        act()
    except AssertionError as error:
        return str(error).partition("\n")[0]
    return ""


def local_airbyte(connection_ids: list[str]) -> LocalAirbyte:
    """Return an Airbyte with these connections, whose jobs run until they are ended."""
    airbyte = LocalAirbyte()
    template = airbyte.connections[0]
    airbyte.connections.extend({**template, "connectionId": each, "name": each} for each in connection_ids)
    airbyte.script_jobs("running")
    return airbyte
