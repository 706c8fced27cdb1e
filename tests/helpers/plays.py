"""What the cases have in common: what is done to a run of a DAG whose tasks are syncs, and what has come of it."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from airflow_provider_airbyte_api.testing import LocalAirbyte, LocalJob
from dev.rest_api import AirflowRestApi

LOG = logging.getLogger(__name__)
FINISHED = ("success", "failed")
TIMEOUT = 180.0
AT_ONCE = 8
"""Cases that run at the same time."""


class Case(Protocol):
    """What is done to tasks, and what must come of it."""

    @property
    def name(self) -> str: ...

    @property
    def dag_id(self) -> str: ...

    @property
    def act(self) -> Callable[[Any], None]: ...

    @property
    def options(self) -> dict[str, Any]:
        """Parameters of the operator."""

    @property
    def other(self) -> dict[str, Any] | None:
        """Parameters of the operator of another DAG."""

    @property
    def begins(self) -> bool:
        """Whether the run begins, until its jobs are polled, before ``act``."""

    @property
    def disturbs(self) -> bool:
        """Whether it disturbs the other cases."""


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
        """Mark the task with this map index, or the first one."""
        if map_index is None and (first := int(self.rows()[0]["map_index"])) >= 0:
            map_index = first
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

    :param waiting: the states of its tasks while they wait for their jobs.
    :param stopping: set once the test has ended.
    """

    def __init__(
        self, airflow: AirflowRestApi, airbyte: LocalAirbyte, case: Case, waiting: list[str], stopping: threading.Event
    ) -> None:
        self.airbyte = airbyte
        self.run = Run(airflow, case.dag_id)
        self.other = Run(airflow, _other(case.dag_id))
        self.waiting = waiting
        self.stopping = stopping
        self.disturbed_at: float | None = None

    def disturb(self) -> None:
        """Note that something is done to the tasks now."""
        self.disturbed_at = time.time()

    def remark(self) -> str:
        """Return what the log says of the case, besides its outcome."""
        return ""

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

    def until_one_job_replaces_another(self) -> None:
        self.until_jobs(2)
        self.until_cancelled(self.airbyte.jobs[0])

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

        self.finish_jobs_until(self.run.is_finished)
        if len(self.waiting) == 1 and self.run.states() == ["success"]:
            result = self.run.result()
            assert result["job_id"] == self.airbyte.jobs[-1].job_id, "the result is of another job"

    def finish_jobs_until(self, condition: Callable[[], bool]) -> None:
        """Let all jobs that run succeed, now and until the condition is true."""

        def finish_all() -> bool:
            for job in self.airbyte.jobs:
                if not job.is_terminal:
                    self.airbyte.finish_job(job.job_id)
            return condition()

        self.until(finish_all, "end of the run")

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


# -- what is done to the tasks -----------------------------------------------------------------------------------


def mark_failed(play: Play) -> None:
    play.disturb()
    play.run.mark("failed")
    play.until_all_cancelled()


def mark_success(play: Play) -> None:
    play.disturb()
    play.run.mark("success")
    play.until_all_cancelled()


def mark_the_run_failed(play: Play) -> None:
    play.disturb()
    play.run.mark_run("failed")
    play.until_all_cancelled()


def clear(play: Play) -> None:
    play.disturb()
    play.run.clear()
    play.until_one_job_replaces_another()
    play.until_polled()
    play.succeed()


# -- all of them -------------------------------------------------------------------------------------------------


class Cases:
    """The chosen cases, which run at the same time; those that disturb all others come after them, one by one.

    :param plays: each case.
    :param early: whether the run of a case that disturbs others begins with the others.
    """

    def __init__(self, plays: Sequence[Any], early: Callable[[Any], bool]) -> None:
        self.results: dict[str, Future[Result]] = {play.case.name: Future() for play in plays}
        self._plays = plays
        self._early = early

    def run(self) -> None:
        quiet = [play for play in self._plays if not play.case.disturbs]
        disturbing = [play for play in self._plays if play.case.disturbs]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            begun = [pool.submit(missed_by, play.begin) if self._early(play) else None for play in disturbing]
            for play in quiet:
                pool.submit(self._settle, play)
        for play, missed in zip(disturbing, begun, strict=True):
            self._settle(play, missed)

    def _settle(self, play: Any, begun: Future[str] | None = None) -> None:
        def act() -> None:
            if play.case.begins and begun is None:
                play.begin()
            play.case.act(play)

        try:
            missed = (begun.result() if begun else "") or missed_by(act)
            result = Result(play.outcome(), missed)
        except Exception as error:  # noqa: BLE001 - the test raises it
            self.results[play.case.name].set_exception(error)
        else:
            LOG.info("%s: %s %s %s", play.case.name, result.outcome, play.remark(), result.missed)
            self.results[play.case.name].set_result(result)
        for job in play.airbyte.jobs:
            play.airbyte.finish_job(job.job_id)


def dags_of(case: Case) -> Iterator[dict[str, Any]]:
    """Yield what the DAG files need to know of a case's DAG, and of its other one."""
    for dag_id, options in ((case.dag_id, case.options), (_other(case.dag_id), case.other)):
        if options is not None:
            yield {"dag_id": dag_id, "airbyte_conn_id": case.dag_id, "options": options}


def _other(dag_id: str) -> str:
    return f"{dag_id}_other"


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
