"""Each task run is one sync on a distributed Airflow, whatever dies: CeleryExecutor, PostgreSQL, Redis, two of each.

A case ends with the number of jobs made, the number of jobs that were cancelled, and the states of its tasks, such as
``2/1 success``, by the log of the Airbyte server. The cases run at the same time, each with a DAG and an Airbyte of its
own; those that disturb all others come after them, one by one.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_provider_airbyte_api.testing import LocalAirbyte
from dev.cluster import (
    COMPONENTS,
    HEARTBEAT_TIMEOUT,
    SCHEDULERS,
    TRIGGERER_THRESHOLD,
    TRIGGERERS,
    VISIBILITY_TIMEOUT,
    WORKERS,
    Cluster,
    missing_for_cluster,
)
from dev.processes import send, still_running
from dev.stack import REPOSITORY
from tests.helpers import plays
from tests.helpers.plays import clear, dags_of, local_airbyte, mark_failed, mark_success, mark_the_run_failed
from tests.helpers.tcp_proxy import TcpProxy

LOG = logging.getLogger(__name__)
DAGS = Path(__file__).parent / "dags"
ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "1"))
"""How often the cases with SIGTERM run."""

GRACE = 15.0
"""Seconds between SIGTERM and SIGKILL of a pod or a worker."""

EXPECTED_ERRORS = {
    "AirbyteAlreadyRunningError",
    "AirbyteJobCancelledError",
    "AirbyteJobTimeoutError",
    "AirflowTaskTimeout",
}
"""What some cases end their tasks with."""

SETTLING = 6.0
"""Seconds after which a cancel, or a second job, would have come."""


@dataclass(frozen=True)
class Case:
    """What is done to tasks, and what must come of it.

    :param group: what it is about; the first word of its name.
    :param right: jobs made, jobs cancelled, and the states of the tasks; then those of the other DAG's task.
    :param running: how many tasks wait in a worker.
    :param deferred: how many tasks are deferred.
    :param options: parameters of the operator.
    :param other: parameters of the operator of another DAG with the same Airbyte connections.
    :param begins: whether the run begins, until its jobs are polled, before ``act``.
    :param disturbs: whether it disturbs the other cases.
    """

    group: str
    what: str
    act: Callable[[Play], None]
    right: str
    running: int = 0
    deferred: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] | None = None
    begins: bool = True
    disturbs: bool = False

    @property
    def name(self) -> str:
        return f"{self.group}: {self.what}"

    @property
    def dag_id(self) -> str:
        return re.sub(r"\W+", "_", self.name)

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return [
            {"connection_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name} {number}")), "deferrable": deferrable}
            for number, deferrable in enumerate([False] * self.running + [True] * self.deferred)
        ]


class Play(plays.Play):
    """A case that runs."""

    def __init__(self, case: Case, cluster: Cluster, airbyte: LocalAirbyte, network: TcpProxy) -> None:
        waiting = ["running"] * case.running + ["deferred"] * case.deferred
        super().__init__(cluster, airbyte, case, waiting, cluster.stopping)
        self.case = case
        self.cluster = cluster
        self.network = network

    def remark(self) -> str:
        seconds = self.recovery()
        return f"try {self.run.attempt()}" + ("" if seconds is None else f", {seconds:.0f} s without a poll")

    def recovery(self) -> float | None:
        """Return the most seconds for which Airbyte was not polled about a job that ran, once it was disturbed."""
        if self.disturbed_at is None:
            return None
        polls = [(each.path, each.at) for each in self.airbyte.requests_to("GET", r"/jobs(/\d+)?")]
        longest = 0.0
        for job in self.airbyte.jobs:
            moments = [at for path, at in polls if path in ("/jobs", f"/jobs/{job.job_id}") and at > job.created_at]
            for before, after in pairwise(moments):
                if after > self.disturbed_at:
                    longest = max(longest, after - before)
        return longest

    def outcome(self) -> str:
        outcome = super().outcome()
        return outcome if self.case.other is None else f"{outcome} {'/'.join(sorted(set(self.other.states())))}"

    def until_attempts(self, number: int) -> None:
        """Wait until all tasks are at this attempt, and wait for their jobs again."""

        def are_following() -> bool:
            rows = self.run.rows()
            return all(row["try_number"] >= number and row["state"] in ("running", "deferred") for row in rows)

        self.until(lambda: are_following() or self.run.is_finished(), f"attempt {number} of all")

    def pairs(self) -> list[list[psutil.Process]]:
        """Return, for each task in a worker, the process that supervises it and the one that executes it."""
        self.until(lambda: len(self.run.processes()) == self.case.running, "processes of the tasks")
        return [[each.parent(), each] for each in self.run.processes()]  # type: ignore[list-item]

    def hosts(self) -> list[str]:
        """Return the components that hold the tasks, or their triggers, the one with the most first."""
        names = [
            (row["triggerer_job"] or {}).get("hostname") if row["state"] == "deferred" else row["hostname"]
            for row in self.run.rows()
        ]
        return [name for name, _ in Counter(name for name in names if name).most_common()]


# -- what is done to some tasks ----------------------------------------------------------------------------------


def do_nothing(play: Play) -> None:
    play.disturb()
    play.until_polled()
    play.succeed()


WHOM = {"supervisor": slice(0, 1), "task": slice(1, 2), "both": slice(0, 2)}


def kill_tasks(whom: str) -> Callable[[Play], None]:
    """Return an act that kills the tasks' processes: ``task``, ``supervisor`` or ``both``."""

    def act(play: Play) -> None:
        processes = [each for pair in play.pairs() for each in pair[WHOM[whom]]]
        play.disturb()
        send(processes, signal.SIGKILL)
        follow_in_the_next_attempt(play)

    return act


def terminate_tasks(whom: str) -> Callable[[Play], None]:
    """Return an act that sends SIGTERM to the tasks' processes, which Airflow 3 lets run on until SIGKILL."""

    def act(play: Play) -> None:
        processes = [each for pair in play.pairs() for each in pair[WHOM[whom]]]
        play.disturb()
        send(processes, signal.SIGTERM)
        play.sleep(2 * SETTLING)
        play.until_polled()
        play.succeed()

    return act


def follow_in_the_next_attempt(play: Play) -> None:
    play.until_attempts(2)
    play.until_polled()
    play.sleep(SETTLING)
    play.succeed()


def evict_without_retries(play: Play) -> None:
    processes = [each for pair in play.pairs() for each in pair]
    play.disturb()
    send(processes, signal.SIGTERM)
    play.until_all_cancelled()


def evict(play: Play) -> None:
    """Send SIGTERM to the first process of each pod, and SIGKILL to all that is left of it after the grace period."""
    pods = play.pairs()
    play.disturb()
    send([pod[0] for pod in pods], signal.SIGTERM)
    left = still_running([each for pod in pods for each in pod], GRACE)
    send(left, signal.SIGKILL)
    follow_in_the_next_attempt(play)


def begin_slowly(play: Play) -> None:
    """Start a task whose ``POST /jobs`` has no response yet."""
    play.airbyte.respond_with(method="POST", path="/jobs", apply_first=True, delay=30.0)
    play.run.trigger()
    play.until_jobs(1)


def kill_while_starting(play: Play) -> None:
    begin_slowly(play)
    kill_tasks("both")(play)


def terminate_while_starting(play: Play) -> None:
    begin_slowly(play)
    terminate_tasks("both")(play)


def wake_late(play: Play) -> None:
    """Let the tasks' processes sleep until Airflow has given them up and the next attempts follow, then wake up."""
    processes = [each for pair in play.pairs() for each in pair]
    play.disturb()
    send(processes, signal.SIGSTOP)
    play.until_attempts(2)
    play.until_polled()
    send(processes, signal.SIGCONT)
    play.sleep(3 * SETTLING)
    play.until_polled()
    play.succeed()


def sleep_a_while(play: Play) -> None:
    processes = [each for pair in play.pairs() for each in pair]
    play.disturb()
    send(processes, signal.SIGSTOP)
    play.sleep(HEARTBEAT_TIMEOUT / 2)
    send(processes, signal.SIGCONT)
    play.until_polled()
    play.succeed()
    assert play.run.attempt() == 1, "the task was retried"


def outlast_the_visibility_timeout(play: Play) -> None:
    play.disturb()
    play.sleep(2 * VISIBILITY_TIMEOUT + 10)
    play.until_polled()
    play.succeed()
    assert play.run.attempt() == 1, "the task was retried"


def cut_while_waiting(play: Play) -> None:
    play.disturb()
    play.network.cut()
    play.sleep(60)
    play.network.restore()
    play.until_polled()
    play.succeed()
    assert play.run.attempt() == 1, "the task was retried"


def cut_while_starting(play: Play) -> None:
    play.disturb()
    play.network.cut()
    play.run.trigger()
    play.sleep(60)
    play.network.restore()
    play.until_jobs(len(play.waiting))
    play.until_polled()
    play.succeed()
    assert play.run.attempt() == 1, "the task was retried"


def end_by_itself(play: Play) -> None:
    play.disturb()
    play.until_all_cancelled()


def meet_another_run(play: Play) -> None:
    """Let another DAG's task meet a sync that runs, and both end."""
    play.other.trigger()
    play.until(lambda: set(play.other.states()) <= {"running", "deferred", "success", "skipped", "failed"}, "other run")
    play.sleep(SETTLING)

    play.finish_jobs_until(lambda: play.run.is_finished() and play.other.is_finished())


# -- what is done to all: one after the other --------------------------------------------------------------------


def settle(play: Play, attempts: int = 1) -> None:
    """Let the cluster work again, and the syncs succeed."""
    play.cluster.wait_until_healthy()
    play.until_polled()
    play.sleep(SETTLING)
    play.succeed()
    assert play.run.attempt() <= attempts, "the task was retried"


def kill_the_triggerer(play: Play) -> None:
    holder = play.hosts()[0]
    play.disturb()
    play.cluster.kill(holder)
    play.sleep(TRIGGERER_THRESHOLD + 5)
    settle(play)


def stop_the_triggerer(play: Play) -> None:
    holder = play.hosts()[0]
    play.disturb()
    play.cluster.terminate(holder)
    settle(play)


def stop_all_processes_of_the_triggerer(play: Play) -> None:
    holder = play.hosts()[0]
    play.disturb()
    play.cluster.terminate(holder, everything=True)
    settle(play)


def kill_both_triggerers(play: Play) -> None:
    play.disturb()
    play.cluster.kill(*TRIGGERERS)
    play.sleep(5)
    settle(play)


def stop_both_triggerers(play: Play) -> None:
    play.disturb()
    play.cluster.terminate(*TRIGGERERS)
    settle(play)


def suspend_the_triggerer(play: Play) -> None:
    """Let the triggerer sleep until the other one has its triggers, and then wake up."""
    holder = play.hosts()[0]
    play.disturb()
    play.cluster.signal(holder, number=signal.SIGSTOP, everything=True)
    play.sleep(2 * TRIGGERER_THRESHOLD)
    play.until_polled()
    play.cluster.signal(holder, number=signal.SIGCONT, everything=True)
    play.sleep(2 * SETTLING)
    settle(play)


def act_without_a_triggerer(play: Play) -> None:
    """Mark one task failed and one success, and clear a third, while no triggerer runs."""
    play.disturb()
    play.cluster.kill(*TRIGGERERS)
    play.run.mark("failed", 0)
    play.run.mark("success", 1)
    play.cluster.clear_task(play.run.dag_id, play.run.run_id, "sync", 2)
    play.until_jobs(4)
    play.cluster.wait_until_healthy()
    play.until_polled()
    play.sleep(3 * SETTLING)
    play.succeed()


def kill_a_worker(play: Play) -> None:
    """Kill a worker, and start it again once Redis has delivered its messages to the other one."""
    holder = play.hosts()[0]
    play.disturb()
    play.cluster.kill(holder)
    play.sleep(VISIBILITY_TIMEOUT + 5)
    settle(play, attempts=2)


def stop_a_worker(play: Play) -> None:
    """Send SIGTERM to the worker alone, which waits for its tasks."""
    holder = play.hosts()[0]
    play.disturb()
    play.cluster.signal(holder, number=signal.SIGTERM)
    play.sleep(SETTLING)
    play.until_polled()
    play.succeed()
    assert play.run.attempt() == 1, "the task was retried"
    play.cluster.wait_until_ended(holder)
    play.cluster.wait_until_healthy()


def stop_all_processes_of_a_worker(play: Play) -> None:
    """Send SIGTERM to all processes of a worker, and SIGKILL to all that is left, as systemd does."""
    holder = play.hosts()[0]
    play.disturb()
    play.cluster.signal(holder, number=signal.SIGTERM, everything=True)
    play.sleep(GRACE)
    play.cluster.kill(holder)
    settle(play, attempts=2)


def restart_the_api_server(seconds: float) -> Callable[[Play], None]:
    """Return an act that stops the API server, and starts it after ``seconds``."""

    def act(play: Play) -> None:
        play.disturb()
        play.cluster.terminate("api-server")
        play.sleep(seconds)
        play.cluster.restart_ended()
        play.cluster.wait_until_healthy()
        play.sleep(2 * SETTLING)
        settle(play, attempts=2)

    return act


def kill_a_scheduler(play: Play) -> None:
    play.disturb()
    play.cluster.kill(SCHEDULERS[0])
    play.sleep(10)
    settle(play)


def kill_both_schedulers(play: Play) -> None:
    play.disturb()
    play.cluster.kill(*SCHEDULERS)
    play.sleep(10)
    settle(play)


def restart_postgres(number: signal.Signals, seconds: float) -> Callable[[Play], None]:
    """Return an act that stops Postgres, and starts it after ``seconds``."""

    def act(play: Play) -> None:
        play.disturb()
        play.cluster.postgres.stop(number)
        play.sleep(seconds)
        play.cluster.postgres.start()
        play.sleep(2 * SETTLING)
        settle(play)

    return act


def suspend_redis(play: Play) -> None:
    play.disturb()
    play.cluster.redis.suspend()
    play.sleep(20)
    play.cluster.redis.resume()
    settle(play)


def upgrade_triggerers_first(play: Play) -> None:
    """Let triggerers of a newer version have the triggers of workers of the older one."""
    play.disturb()
    _upgrade(play, TRIGGERERS, newer_package(play.cluster.home))
    settle(play)
    _upgrade(play, TRIGGERERS, None)


def upgrade_workers_first(play: Play) -> None:
    """Let triggerers of the older version have the triggers of workers of a newer one."""
    _upgrade(play, WORKERS, newer_package(play.cluster.home))
    play.begin()
    play.disturb()
    settle(play)
    logs = [*map(play.cluster.log, TRIGGERERS), *play.cluster.task_logs().values()]
    assert any("that this version does not know: added" in log for log in logs), "no trigger of a newer version"
    _upgrade(play, WORKERS, None)


def _upgrade(play: Play, names: tuple[str, ...], package: Path | None) -> None:
    for name in names:
        play.cluster.terminate(name)
        if package is None:
            del play.cluster.packages[name]
        else:
            play.cluster.packages[name] = package
        play.cluster.start(name)
    play.cluster.wait_until_healthy()


def newer_package(home: Path) -> Path:
    """Return a folder with a copy of this package whose trigger has one more argument."""
    folder = home / "newer"
    if not folder.exists():
        name = "airflow_provider_airbyte_api"
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        file = folder / name / "triggers" / "airbyte.py"
        before, given, after = file.read_text().partition(
            "        job_id: int,\n        connection_id: str | None = None,\n"
        )
        assigned = "        self.job_id = job_id\n"
        assert given
        assert assigned in after
        after = after.replace(assigned, f"{assigned}        self.added = added\n", 1)
        file.write_text(f'{before}{given}        added: str = "by a newer version",\n{after}')
    return folder


# -- the table ---------------------------------------------------------------------------------------------------

NO_RETRY = {"retries": 0}
POD = {"executor": "PodExecutor"}
ACTS: dict[str, tuple[Callable[[Play], None], str]] = {
    "mark failed": (mark_failed, "1/1 failed"),
    "mark success": (mark_success, "1/1 success"),
    "mark DAG run failed": (mark_the_run_failed, "1/1 failed"),
    "clear": (clear, "2/1 success"),
}
ON_RUNNING = {
    "attach": "1/0 success success",
    "wait": "2/0 success success",
    "skip": "1/0 success skipped",
    "fail": "1/0 success failed",
    "restart": "2/1 failed success",
}


def rounds(case: Case) -> list[Case]:
    """Return the case once for each round."""
    names = [case.what, *(f"{case.what}, round {number}" for number in range(2, ROUNDS + 1))]
    return [Case(**{**vars(case), "what": name}) for name in names]


CASES = [
    Case("undisturbed", "both modes", do_nothing, "4/0 success", running=2, deferred=2),
    # a task's processes
    Case("task", "SIGKILL", kill_tasks("task"), "2/0 success", running=2),
    Case("task", "SIGKILL to supervisor", kill_tasks("supervisor"), "2/0 success", running=2),
    *rounds(Case("task", "SIGTERM", terminate_tasks("task"), "2/0 success", running=2)),
    *rounds(Case("task", "SIGTERM to supervisor", terminate_tasks("supervisor"), "2/0 success", running=2)),
    *rounds(Case("task", "SIGTERM to both", terminate_tasks("both"), "2/0 success", running=2)),
    *rounds(
        Case("task", "SIGTERM, no retry left", evict_without_retries, "1/1 failed", running=1, options=NO_RETRY),
    ),
    Case("task", "SIGKILL while it starts", kill_while_starting, "1/0 success", running=1, begins=False),
    *rounds(Case("task", "SIGTERM while it starts", terminate_while_starting, "1/0 success", running=1, begins=False)),
    Case("task", "suspended, given up, wakes late", wake_late, "2/0 success", running=2),
    Case("task", "suspended for 20 s", sleep_a_while, "1/0 success", running=1),
    Case("task", "visibility timeout passes twice", outlast_the_visibility_timeout, "2/0 success", running=2),
    # pods, as of KubernetesExecutor
    *rounds(Case("pod", "evicted", evict, "2/0 success", running=2, options=POD)),
    *rounds(
        Case(
            "pod", "evicted, no retry left", evict_without_retries, "1/1 failed", running=1, options={**NO_RETRY, **POD}
        )
    ),
    Case("pod", "SIGKILL", kill_tasks("both"), "2/0 success", running=2, options=POD),
    # the network to Airbyte
    Case("airbyte", "cut for 60 s while waiting", cut_while_waiting, "4/0 success", running=2, deferred=2),
    Case(
        "airbyte", "cut for 60 s while starting", cut_while_starting, "4/0 success", running=2, deferred=2, begins=False
    ),
    # what users do
    *(Case("act", f"{what}, running", act, right, running=1) for what, (act, right) in ACTS.items()),
    *(Case("act", f"{what}, deferred", act, right, deferred=1) for what, (act, right) in ACTS.items()),
    Case(
        "act",
        "execution_timeout, running",
        end_by_itself,
        "1/1 failed",
        running=1,
        options={"execution_timeout": 25, **NO_RETRY},
    ),
    Case(
        "act",
        "execution_timeout, deferred",
        end_by_itself,
        "1/1 failed",
        deferred=1,
        options={"execution_timeout": 25, **NO_RETRY},
    ),
    *(
        Case(
            "two runs",
            f"{policy}, {mode}",
            meet_another_run,
            right,
            running=int(mode == "running"),
            deferred=int(mode == "deferred"),
            options=NO_RETRY,
            other={**NO_RETRY, "on_running": policy},
        )
        for policy, right in ON_RUNNING.items()
        for mode in ("running", "deferred")
    ),
    # components
    Case("triggerer", "SIGKILL", kill_the_triggerer, "4/0 success", deferred=4, disturbs=True),
    *rounds(Case("triggerer", "SIGTERM", stop_the_triggerer, "4/0 success", deferred=4, disturbs=True)),
    *rounds(
        Case(
            "triggerer",
            "SIGTERM to all processes",
            stop_all_processes_of_the_triggerer,
            "4/0 success",
            deferred=4,
            disturbs=True,
        )
    ),
    Case("triggerer", "SIGKILL to both", kill_both_triggerers, "4/0 success", deferred=4, disturbs=True),
    *rounds(Case("triggerer", "SIGTERM to both", stop_both_triggerers, "4/0 success", deferred=4, disturbs=True)),
    Case("triggerer", "suspended, wakes late", suspend_the_triggerer, "4/0 success", deferred=4, disturbs=True),
    # One is cancelled by the attempt after the clear. Those that were marked run on: nothing of Airflow looks at them.
    Case(
        "triggerer",
        "marks and a clear while none runs",
        act_without_a_triggerer,
        "4/1 failed/success",
        deferred=3,
        disturbs=True,
    ),
    Case("worker", "SIGKILL", kill_a_worker, "4/0 success", running=4, disturbs=True),
    *rounds(Case("worker", "SIGTERM", stop_a_worker, "4/0 success", running=4, disturbs=True)),
    *rounds(
        Case(
            "worker",
            "SIGTERM to all processes",
            stop_all_processes_of_a_worker,
            "4/0 success",
            running=4,
            disturbs=True,
        )
    ),
    *(
        case
        for seconds in (15, 45)
        for case in rounds(
            Case(
                "server",
                f"API server away for {seconds} s",
                # A supervisor ends its task after three heartbeats without a response: [workers] max_failed_heartbeats.
                restart_the_api_server(seconds),
                "4/0 success",
                running=2,
                deferred=2,
                # An attempt that starts while the API server is away fails.
                options={"retry_delay": 60},
                disturbs=True,
            )
        )
    ),
    Case("server", "SIGKILL a scheduler", kill_a_scheduler, "4/0 success", running=2, deferred=2, disturbs=True),
    Case(
        "server", "SIGKILL both schedulers", kill_both_schedulers, "4/0 success", running=2, deferred=2, disturbs=True
    ),
    Case(
        "server",
        "Postgres restarted",
        restart_postgres(signal.SIGINT, 3),
        "4/0 success",
        running=2,
        deferred=2,
        disturbs=True,
    ),
    Case(
        "server",
        "Postgres crashed, away for 20 s",
        restart_postgres(signal.SIGQUIT, 20),
        "4/0 success",
        running=2,
        deferred=2,
        disturbs=True,
    ),
    Case("server", "Redis suspended for 20 s", suspend_redis, "4/0 success", running=2, deferred=2, disturbs=True),
    Case("upgrade", "triggerers first", upgrade_triggerers_first, "4/0 success", deferred=4, disturbs=True),
    Case("upgrade", "workers first", upgrade_workers_first, "4/0 success", deferred=4, begins=False, disturbs=True),
]


# -- the tests ---------------------------------------------------------------------------------------------------


class Cases(plays.Cases):
    """A running cluster on which the chosen cases run."""

    def __init__(self, cluster: Cluster, plays: list[Play]) -> None:
        super().__init__(plays, early=lambda play: play.case.begins and not play.case.running)
        self.cluster = cluster


def connection_through(network: TcpProxy, airbyte: LocalAirbyte) -> str:
    return json.dumps({**json.loads(airbyte.airflow_connection), "host": network.url})


@pytest.fixture(scope="module")
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    if missing_for_cluster():
        pytest.skip(missing_for_cluster())
    names = {item.name for item in request.session.items}
    chosen = [case for case in CASES if f"test_one_sync[{case.name}]" in names]
    with ExitStack() as context:
        airbytes, networks = {}, {}
        for case in chosen:
            ids = [task["connection_id"] for task in case.tasks]
            airbytes[case.name] = context.enter_context(local_airbyte(ids))
            networks[case.name] = context.enter_context(TcpProxy(airbytes[case.name].url))
        connections = {
            f"AIRFLOW_CONN_{case.dag_id.upper()}": connection_through(networks[case.name], airbytes[case.name])
            for case in chosen
        }
        dags = json.dumps([{**each, "tasks": case.tasks} for case in chosen for each in dags_of(case)])
        home = tmp_path_factory.mktemp("cluster")
        cluster = context.enter_context(Cluster(home, DAGS, {**connections, "CLUSTER_DAGS": dags}))
        running = Cases(cluster, [Play(case, cluster, airbytes[case.name], networks[case.name]) for case in chosen])
        conductor = threading.Thread(target=running.run, daemon=True)
        conductor.start()
        yield running
        cluster.stopping.set()
        conductor.join()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_sync(cases: Cases, case: Case, record_property: Callable[[str, object], None]) -> None:
    result = cases.results[case.name].result()
    record_property("outcome", result.outcome)
    assert (result.outcome, result.missed) == (case.right, "")


def test_no_log_has_an_error_of_this_package(cases: Cases) -> None:
    wait(cases.results.values())
    found = [f"{name}: {line}" for name, line in errors_in_logs(cases.cluster)]
    assert not found, "\n".join(found)


def log_entry(line: str) -> dict[str, Any]:
    """Return the fields of a line, or none of one that was cut off as its process was killed."""
    try:
        return dict(json.loads(line))
    except (TypeError, ValueError):
        return {}


def errors_in_logs(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Yield the errors that this package logs, and those that Airflow logs because of it."""
    package = "airflow_provider_airbyte_api"
    for name, text in cluster.task_logs().items():
        for line in text.splitlines():
            entry = log_entry(line)
            if entry.get("level") not in ("error", "critical"):
                continue
            errors = entry.get("error_detail") or []
            is_expected = bool(errors) and errors[0]["exc_type"] in EXPECTED_ERRORS
            frames = [frame["filename"] for error in errors for frame in error["frames"]]
            if package in entry.get("logger", "") or (any(package in each for each in frames) and not is_expected):
                yield name, line
    for component in COMPONENTS:
        for line in cluster.log(component).splitlines():
            if "XCom not found" in line or ("[error" in line and package in line):
                yield component, line
