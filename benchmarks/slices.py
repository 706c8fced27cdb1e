"""Run mapped, deferred syncs of one provider on a whole Airflow, and measure the CPU time of its parts.

Runs in that provider's environment, which needs Airflow's drivers for Postgres. Speaks JSON lines with the benchmark
that started it: it says when all syncs wait, is told when they have ended, and says at the end what it measured. It
asks the database for the states of the tasks, not the API server that it measures.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil
import sqlalchemy

from dev.postgres import Postgres
from dev.stack import AirflowStack

WAIT = 600.0
TASK_REQUEST = "path=/execution/"
"""What a line of the API server's log has if a task sent the request."""

DAGS = """
from datetime import datetime
from airflow.sdk import DAG, task
{imports}

CONNECTIONS = {connections!r}
with DAG("sync", start_date=datetime(2026, 1, 1), schedule=None, max_active_tasks=100):
    {operator}.expand(connection_id=CONNECTIONS)

with DAG("nothing", start_date=datetime(2026, 1, 1), schedule=None, max_active_tasks=100):
    @task
    def nothing(number):
        pass

    nothing.expand(number=list(range(len(CONNECTIONS))))
"""
OPERATORS = {
    "ours": (
        "from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator",
        'AirbyteSyncOperator.partial(task_id="sync", airbyte_conn_id="bench", deferrable=True, poll_interval=10)',
    ),
    "official": (
        "from airflow.providers.airbyte.operators.airbyte import AirbyteTriggerSyncOperator",
        'AirbyteTriggerSyncOperator.partial(task_id="sync", airbyte_conn_id="bench", deferrable=True)',
    ),
}


def main(provider: str, connections: list[str]) -> None:
    imports, operator = OPERATORS[provider]
    variables = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN")}
    with tempfile.TemporaryDirectory() as folder, Postgres() as postgres:
        dags = Path(folder) / "dags"
        dags.mkdir()
        text = DAGS.format(imports=imports, operator=operator, connections=connections)
        (dags / "bench.py").write_text(text)
        variables["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = postgres.address
        with AirflowStack(Path(folder) / "airflow", dags, variables) as stack:
            tasks = Tasks(stack, postgres.address)
            meter = Meter(stack, len(connections))
            tasks.run("nothing", {"success"})  # so that each worker has forked once
            meter.restart()
            tasks.run("nothing", {"success"})
            nothing = meter.per_task()
            run_id = tasks.run("sync", {"deferred"})
            start = meter.per_task()
            print(json.dumps({"phase": "waiting"}), flush=True)
            ended_at = float(sys.stdin.readline())
            meter.restart()
            tasks.wait(run_id, {"success"})
            resume = meter.per_task()
            delays = sorted(end.timestamp() - ended_at for _, end in tasks.of(run_id))
    print(json.dumps({"nothing": nothing, "start": start, "resume": resume, "delays": delays}), flush=True)


class Tasks:
    """The tasks of DAG runs, as Airflow's database has them."""

    def __init__(self, stack: AirflowStack, address: str) -> None:
        self._stack = stack
        self._database = sqlalchemy.create_engine(address)

    def run(self, dag_id: str, states: set[str]) -> str:
        """Start a run of the DAG, and wait until its tasks have no other state than ``states``."""
        run_id = self._stack.trigger(dag_id)
        self.wait(run_id, states)
        return run_id

    def wait(self, run_id: str, states: set[str]) -> None:
        until = time.monotonic() + WAIT
        while (found := {state for state, _ in self.of(run_id)}) != states:
            if "failed" in found or time.monotonic() > until:
                raise RuntimeError(f"The tasks of {run_id} are {found}, expected {states}.")
            time.sleep(1.0)

    def of(self, run_id: str) -> list[tuple[str, datetime]]:
        """Return the state and the end of each task."""
        query = sqlalchemy.text("SELECT state, end_date FROM task_instance WHERE run_id = :run_id")
        with self._database.connect() as connection:
            return [(state, end) for state, end in connection.execute(query, {"run_id": run_id})]


class Meter:
    """Measures the CPU time of the workers and of the API server, and counts the requests of tasks to the latter."""

    def __init__(self, stack: AirflowStack, count: int) -> None:
        self._stack = stack
        self._count = count
        self._before = (0.0, 0.0, 0.0)
        self.restart()

    def restart(self) -> None:
        self._before = self._spent()

    def per_task(self) -> tuple[float, ...]:
        """Return for each task since the last call: seconds of the workers, of the API server, and the requests."""
        before, self._before = self._before, self._spent()
        return tuple((now - then) / self._count for now, then in zip(self._before, before, strict=True))

    def _spent(self) -> tuple[float, float, float]:
        # LocalExecutor's workers are children of the scheduler; each task is a child of a worker that it waits for.
        workers = self._stack.component("scheduler")[1:]
        servers = self._stack.component("api-server")
        return sum(map(_cpu, workers)), sum(map(_cpu, servers)), self._stack.log_file.read_text().count(TASK_REQUEST)


def _cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return float(sum(process.cpu_times()[:4]))  # with those of children that have ended
    return 0.0


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
