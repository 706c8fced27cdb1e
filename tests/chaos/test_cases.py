"""Each task run is one sync, whatever fails: what is killed, marked, cleared or restarted, on each supported Airflow.

A case ends with the number of jobs made, the number of jobs that were cancelled, and the states of its tasks, such as
``2/1 success``. The cases run at the same time, each with a DAG and an Airbyte of its own; those that disturb all
others (they restart the triggerer, for example) come after them, one by one.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_provider_airbyte_api.testing import LocalAirbyte, LocalJob
from dev.airflow_api import AIRFLOW
from dev.postgres import Postgres, missing_for_postgres
from dev.stack import REPOSITORY, AirflowStack
from tests.helpers import plays
from tests.helpers.plays import (
    TIMEOUT,
    clear,
    dags_of,
    local_airbyte,
    mark_failed,
    mark_success,
    mark_the_run_failed,
)
from tests.versions import AIRFLOW as MINOR
from tests.versions import since

LOG = logging.getLogger(__name__)
DAGS = Path(__file__).parent / "cases"
AT_ONCE = 8
WATCHED = "7c1b5e0a-3f49-4d6e-8a27-91c4f0d2b6e3"
MINOR_NAME = ".".join(map(str, MINOR))


@dataclass(frozen=True)
class AirflowsOwn:
    """What an Airflow makes of a case by itself, and the reason: file and line of its newest patch."""

    outcomes: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Case:
    """What is done to a task, and what must come of it.

    :param right: jobs made, jobs cancelled, and the states of the tasks.
    :param options: parameters of the operator.
    :param tasks: how many mapped tasks there are; 1 for one that is not mapped.
    :param other: parameters of the operator of another DAG, with the same Airbyte connection.
    :param begins: whether the run begins, until its jobs are polled, before ``act``.
    :param disturbs: whether it disturbs the other cases.
    :param airflows_own: for each Airflow that gets it wrong by itself, how and why.
    """

    name: str
    act: Callable[[Play], None]
    right: str
    options: dict[str, Any] = field(default_factory=dict)
    tasks: int = 1
    other: dict[str, Any] | None = None
    begins: bool = True
    disturbs: bool = False
    airflows_own: dict[str, AirflowsOwn] = field(default_factory=dict)

    @property
    def dag_id(self) -> str:
        return "".join(each if each.isalnum() else "_" for each in self.name)

    @property
    def connection_ids(self) -> list[str]:
        return [str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name} {number}")) for number in range(self.tasks)]


class Play(plays.Play):
    """A case that runs."""

    def __init__(
        self, case: Case, stack: AirflowStack, airbyte: LocalAirbyte, markers: Path, stopping: threading.Event
    ) -> None:
        state = "deferred" if case.options.get("deferrable") else "running"
        super().__init__(stack, airbyte, case, [state] * case.tasks, stopping)
        self.case = case
        self.stack = stack
        self.marker = markers / case.dag_id


# -- what is done to the tasks -----------------------------------------------------------------------------------


def kill_task(play: Play) -> None:
    play.kill(worker=False)
    play.until_attempt(2)
    if not play.run.is_finished():
        play.until_polled()
    play.succeed()


def evict_worker(play: Play) -> None:
    play.evict()
    play.until_attempt(2)
    play.until_polled()
    play.succeed()


def evict_worker_of_the_last_attempt(play: Play) -> None:
    play.evict()
    play.until_all_cancelled()


def suspend_worker(play: Play) -> None:
    """Stop the processes until Airflow has given the task up, and let them go on beside the next attempt."""
    processes = play.processes()
    for each in processes:
        each.suspend()
    play.until_attempt(2)
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.resume()
    play.until_polled()
    time.sleep(8.0)
    play.succeed()


def kill_worker(play: Play) -> None:
    play.kill()
    play.until_attempt(2)
    play.until_polled()
    play.succeed()


def kill_worker_then_end_the_sync(play: Play) -> None:
    play.kill()
    play.airbyte.finish_job(play.airbyte.jobs[0].job_id)
    play.until_attempt(2)
    play.succeed()


def kill_before_the_record(play: Play) -> None:
    """The response to ``POST /jobs`` is late, and the worker is killed while it waits for it."""
    play.airbyte.respond_with(method="POST", path="/jobs", apply_first=True, delay=30.0)
    play.run.trigger()
    play.until_jobs(1)
    play.kill()


def kill_between(play: Play) -> None:
    kill_before_the_record(play)
    play.until_attempt(2)
    play.until_polled()
    play.succeed()


def kill_between_then_end_the_sync(play: Play) -> None:
    kill_before_the_record(play)
    play.airbyte.finish_job(play.airbyte.jobs[0].job_id)
    play.until_attempt(2)
    play.succeed()


def kill_worker_then_mark_the_retry(play: Play) -> None:
    play.kill()
    play.until_attempt(2)
    play.until_polled()
    play.run.mark("failed")
    play.until_cancelled(play.airbyte.jobs[0])
    play.until_finished()


def kill_worker_then_clear(play: Play) -> None:
    play.kill()
    play.until_finished()
    play.run.clear()
    play.until_one_job_replaces_another()
    play.succeed()


def kill_after_success(play: Play) -> None:
    play.airbyte.finish_job(play.airbyte.jobs[0].job_id)
    play.until(play.marker.exists, "finished execution")
    play.kill()
    play.until_attempt(2)
    play.succeed()


def fail_the_first_job(play: Play) -> None:
    play.airbyte.finish_job(play.airbyte.jobs[0].job_id, "failed")
    play.until_jobs(2)
    play.succeed()


def mark_one_of_two_failed(play: Play) -> None:
    first = next(job for job in play.airbyte.jobs if job.connection_id == play.case.connection_ids[0])
    play.run.mark("failed", 0)
    play.until_cancelled(first)
    play.succeed()


def begin_then_clear(play: Play) -> None:
    play.begin()
    clear(play)


def succeed_then_clear(play: Play) -> None:
    play.succeed()
    play.run.clear()
    play.until_jobs(2)
    play.succeed()


def end_by_itself(play: Play) -> None:
    play.until_finished()


def end_the_deferral(play: Play) -> None:
    play.until_one_job_replaces_another()
    play.succeed()


def crash_the_trigger(play: Play) -> None:
    play.run.trigger()
    play.until(play.marker.exists, "trigger that crashes")
    play.until_polled()
    play.succeed()


def attach_another_dag(play: Play) -> None:
    play.other.trigger()
    play.until(lambda: "running" in play.other.states(), "attached task")
    play.until_polled()


def mark_the_attached_one(play: Play) -> None:
    attach_another_dag(play)
    play.other.mark("failed")
    play.until(play.other.is_finished, "end of the attached run")
    time.sleep(5.0)  # a cancel would have come by now
    play.succeed()


def kill_the_attached_worker_then_mark(play: Play) -> None:
    attach_another_dag(play)
    play.kill(play.other)
    play.until(lambda: play.other.attempt() == 2 and "running" in play.other.states(), "attempt 2")
    play.until_polled()
    play.other.mark("failed")
    play.until(play.other.is_finished, "end of the attached run")
    time.sleep(5.0)  # as above
    play.succeed()


# -- what is done to all: one after the other --------------------------------------------------------------------


def restart(play: Play, number: signal.Signals, component: str = "triggerer", *, group: bool = False) -> None:
    play.stack.kill_component(component, number, group=group)
    play.stack.start_component(component)
    play.stack.wait_until_healthy()
    play.until_polled()
    play.succeed()
    assert play.run.attempt() == 1, "the task was retried"


def kill_the_triggerer(play: Play) -> None:
    restart(play, signal.SIGKILL)


def stop_the_triggerer(play: Play) -> None:
    restart(play, signal.SIGTERM)


def kill_the_scheduler(play: Play) -> None:
    restart(play, signal.SIGKILL, "scheduler")


def stop_the_triggerers_group(play: Play) -> None:
    """Send SIGTERM to all processes of the triggerer, as dumb-init does."""
    restart(play, signal.SIGTERM, group=True)


def hand_over_to_another_triggerer(play: Play) -> None:
    """Let a triggerer sleep until another one has its triggers, and then wake up."""
    sleeping = play.stack.component("triggerer")
    play.stack.start_component("triggerer")
    time.sleep(10.0)
    for process in sleeping:
        process.send_signal(signal.SIGSTOP)
    play.until_polled()
    for process in sleeping:
        process.send_signal(signal.SIGCONT)
    time.sleep(10.0)
    play.until_polled()
    play.succeed()
    play.stack.kill_component("triggerer", signal.SIGTERM)  # the one that has slept


def clear_while_the_triggerer_is_down(play: Play) -> None:
    play.stack.kill_component("triggerer")
    play.run.clear()
    play.until_jobs(2)
    play.stack.start_component("triggerer")
    play.stack.wait_until_healthy()
    play.until_cancelled(play.airbyte.jobs[0])
    play.until_polled()
    play.succeed()


# -- the table ---------------------------------------------------------------------------------------------------

DEFERRED = {"deferrable": True}
NO_RETRY = {"retries": 0}
KILLED_BY_A_SIGNAL = AirflowsOwn(
    ("1/0 failed",),
    "3.0.6 does not retry a task whose process was killed by a signal: "
    "sdk/execution_time/supervisor.py:1143 says FAILED for every exit code but 0",
)
CLEAR_IS_LOST = AirflowsOwn(
    ("1/0 running", "1/0 success", "2/2 failed", "1/1 failed", "2/1 failed"),
    "2.11.2 with LocalExecutor loses the clear of a running task, or runs it twice: it sets the supervisor's job to "
    "RESTARTING (models/taskinstance.py:531), which then ends itself at its heartbeat (jobs/job.py:210)",
)
RESTARTING_FOR_EVER = AirflowsOwn(
    ("1/1 restarting",),
    "3.0.6 leaves a running task that is cleared in the state restarting; 3.1 reschedules it: "
    "jobs/scheduler_job_runner.py:1026",
)

CASES = [
    Case("kill task", kill_task, "1/0 success", airflows_own={"3.0": KILLED_BY_A_SIGNAL}),
    Case("kill worker", kill_worker, "1/0 success"),
    Case("evict worker", evict_worker, "1/0 success"),
    Case("evict worker, no retries", evict_worker_of_the_last_attempt, "1/1 failed", NO_RETRY),
    Case("suspend worker until it is given up", suspend_worker, "1/0 success"),
    Case("kill worker, sync ends meanwhile", kill_worker_then_end_the_sync, "1/0 success"),
    Case("kill between POST and record", kill_between, "1/0 success", begins=False),
    Case("kill before record, sync ends meanwhile", kill_between_then_end_the_sync, "1/0 success", begins=False),
    Case("kill worker, mark the retry failed", kill_worker_then_mark_the_retry, "1/1 failed"),
    Case("kill worker, no retries, clear", kill_worker_then_clear, "2/1 success", NO_RETRY),
    Case("kill after success, worker", kill_after_success, "1/0 success", {"fault": "hangs after success"}),
    Case(
        "kill after success, deferred", kill_after_success, "1/0 success", {"fault": "hangs after success", **DEFERRED}
    ),
    Case("failed job, worker", fail_the_first_job, "2/0 success"),
    Case("failed job, deferred", fail_the_first_job, "2/0 success", DEFERRED),
    Case("deferred: mark failed", mark_failed, "1/1 failed", DEFERRED),
    Case("deferred: mark success", mark_success, "1/1 success", DEFERRED),
    Case("deferred: mark DAG run failed", mark_the_run_failed, "1/1 failed", DEFERRED),
    Case("deferred: clear", clear, "2/1 success", DEFERRED),
    Case("succeeded: clear", succeed_then_clear, "2/0 success", DEFERRED),
    Case("mapped: mark one failed", mark_one_of_two_failed, "2/1 failed/success", DEFERRED, tasks=2),
    Case("20 deferred: mark DAG run failed", mark_the_run_failed, "20/20 failed", DEFERRED, tasks=20),
    Case("running: mark failed", mark_failed, "1/1 failed"),
    Case("attached: mark failed", mark_the_attached_one, "1/0 success", other={}),
    Case("attached: kill worker, mark failed", kill_the_attached_worker_then_mark, "1/0 success", other={}),
    Case("deferral times out", end_by_itself, "1/1 failed", {"timeout": 20, **DEFERRED, **NO_RETRY}),
    Case(
        "Airflow ends the deferral", end_the_deferral, "2/1 success", {"fault": "Airflow ends the deferral", **DEFERRED}
    ),
    Case(
        "trigger crashes",
        crash_the_trigger,
        "1/0 success",
        {"fault": "trigger crashes", **DEFERRED, **NO_RETRY},
        begins=False,
    ),
    Case("triggerer: SIGKILL", kill_the_triggerer, "3/0 success", DEFERRED, tasks=3, disturbs=True),
    Case("triggerer: SIGTERM", stop_the_triggerer, "3/0 success", DEFERRED, tasks=3, disturbs=True),
    Case("triggerer: SIGTERM to group", stop_the_triggerers_group, "3/0 success", DEFERRED, tasks=3, disturbs=True),
    Case("triggerer: redistribution", hand_over_to_another_triggerer, "3/0 success", DEFERRED, tasks=3, disturbs=True),
    Case("triggerer down: clear", clear_while_the_triggerer_is_down, "2/1 success", DEFERRED, disturbs=True),
    Case("scheduler: SIGKILL", kill_the_scheduler, "3/0 success", DEFERRED, tasks=3, disturbs=True),
    Case(
        "running: clear",
        begin_then_clear,
        "2/1 success",
        begins=False,
        disturbs=True,
        airflows_own={"2.11": CLEAR_IS_LOST, "3.0": RESTARTING_FOR_EVER},
    ),
]


# -- the tests ---------------------------------------------------------------------------------------------------


class Cases(plays.Cases):
    """A running Airflow on which the chosen cases run."""

    def __init__(self, stack: AirflowStack, plays: list[Play], watched: LocalAirbyte) -> None:
        super().__init__(plays, early=lambda play: bool(play.case.begins))
        self.stack = stack
        self.watched = watched


@pytest.fixture(scope="module")
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    if missing_for_postgres():
        pytest.skip(f"needs {missing_for_postgres()}")
    names = {item.name for item in request.session.items}
    chosen = [case for case in CASES if f"test_each_task_run_is_one_sync[{case.name}]" in names]
    home, markers = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("markers")
    stopping = threading.Event()
    with ExitStack() as context:
        airbytes = {case.dag_id: context.enter_context(local_airbyte(case.connection_ids)) for case in chosen}
        watched = context.enter_context(local_airbyte([WATCHED]))
        environment = {
            **{f"AIRFLOW_CONN_{name.upper()}": airbyte.airflow_connection for name, airbyte in airbytes.items()},
            **AIRFLOW.fast_detection,
            "AIRFLOW_CONN_WATCHED": watched.airflow_connection,
            "AIRFLOW__CORE__PARALLELISM": "16",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "32",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": context.enter_context(Postgres()).address,
            "CHAOS_DAGS": json.dumps(
                [{**each, "connection_ids": case.connection_ids} for case in chosen for each in dags_of(case)]
            ),
            "CHAOS_MARKERS": str(markers),
            "CHAOS_WATCHED": WATCHED if MINOR >= (3, 0) else "",
            # The DAG files, and the triggerer, import from this repository.
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        }
        stack = context.enter_context(AirflowStack(home, DAGS, environment))
        running = Cases(
            stack, [Play(case, stack, airbytes[case.dag_id], markers, stopping) for case in chosen], watched
        )
        conductor = threading.Thread(target=running.run, daemon=True)
        conductor.start()
        yield running
        stopping.set()
        conductor.join()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_task_run_is_one_sync(cases: Cases, case: Case, record_property: Callable[[str, object], None]) -> None:
    result = cases.results[case.name].result()
    record_property("outcome", result.outcome)
    own = case.airflows_own.get(MINOR_NAME)
    if own is not None:
        assert result.outcome in (*own.outcomes, case.right), f"{result.missed}; known of this Airflow: {own.reason}"
        return
    assert (result.outcome, result.missed) == (case.right, "")


class Watched:
    """A watcher of the syncs of one Airbyte connection."""

    def __init__(self, stack: AirflowStack, airbyte: LocalAirbyte) -> None:
        self.stack = stack
        self.airbyte = airbyte

    def add_job(self, status: str) -> LocalJob:
        return self.airbyte.add_job(WATCHED, status)

    def until_polled(self) -> None:
        before = len(self.airbyte.requests_to("GET", "/jobs"))
        self._until(lambda: len(self.airbyte.requests_to("GET", "/jobs")) >= before + 3, "polls")

    def until_emitted(self, *jobs: LocalJob) -> None:
        self._until(lambda: {job.job_id for job in jobs} <= self.events().keys(), "event for each job")

    def events(self) -> Counter[int]:
        """Return how many events Airflow has of each job."""
        page = self.stack.get("/assets/events?limit=100")
        return Counter(int(event["extra"]["payload"]["job_id"]) for event in page["asset_events"])

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + TIMEOUT
        while True:
            with suppress(OSError):  # a busy server is slow to answer
                if condition():
                    return
            assert time.monotonic() < end, f"no {what} within {TIMEOUT:.0f} s: {self.events()}"
            time.sleep(0.5)


@since("3.0", "Airflow 2 has no watchers")
def test_each_finished_sync_is_one_event_of_a_watcher_whose_triggerer_is_killed(
    cases: Cases, record_property: Callable[[str, object], None]
) -> None:
    wait(cases.results.values())
    watched = Watched(cases.stack, cases.watched)
    watched.until_polled()
    jobs = [watched.add_job("succeeded"), watched.add_job("running")]
    watched.until_emitted(jobs[0])
    time.sleep(10.0)  # the watcher stores its position within seconds
    cases.stack.kill_component("triggerer")
    watched.airbyte.finish_job(jobs[1].job_id)
    jobs.append(watched.add_job("succeeded"))
    cases.stack.start_component("triggerer")
    watched.until_polled()
    jobs.append(watched.add_job("succeeded"))
    try:
        watched.until_emitted(*jobs)
        watched.until_polled()
    finally:
        record_property("outcome", f"{len(jobs)}/{len(watched.events())} emitted")
    assert watched.events() == Counter(job.job_id for job in jobs)
