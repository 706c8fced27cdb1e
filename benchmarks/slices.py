"""Run mapped, deferred syncs of one provider on a whole Airflow, and measure the CPU time of its parts.

Runs in that provider's environment, which needs Airflow's drivers for Postgres. Speaks JSON lines with the benchmark
that started it: it says when all syncs wait, is told when they have ended, and says at the end what it measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from dev.postgres import Postgres
from dev.stack import AirflowStack

WAIT = 600.0

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
            meter = Meter(stack, len(connections))
            _run(stack, "nothing", {"success"})  # so that each worker has forked once
            meter.restart()
            _run(stack, "nothing", {"success"})
            nothing = meter.per_task()
            run_id = _run(stack, "sync", {"deferred"})
            start = meter.per_task()
            print(json.dumps({"phase": "waiting"}), flush=True)
            ended_at = float(sys.stdin.readline())
            meter.restart()
            _wait(stack, "sync", run_id, {"success"})
            resume = meter.per_task()
            delays = sorted(_ended(each) - ended_at for each in _tasks(stack, "sync", run_id))
    print(json.dumps({"nothing": nothing, "start": start, "resume": resume, "delays": delays}), flush=True)


class Meter:
    """Measures the CPU time of the workers and of the API server."""

    def __init__(self, stack: AirflowStack, count: int) -> None:
        self._stack = stack
        self._count = count
        self._before = (0.0, 0.0)
        self.restart()

    def restart(self) -> None:
        self._before = self._spent()

    def per_task(self) -> tuple[float, float]:
        """Return the seconds for each task since the last call: of the workers, and of the API server."""
        before, self._before = self._before, self._spent()
        return tuple((now - then) / self._count for now, then in zip(self._before, before, strict=True))  # type: ignore[return-value]

    def _spent(self) -> tuple[float, float]:
        # LocalExecutor's workers are children of the scheduler; each task is a child of a worker that it waits for.
        workers = self._stack.component("scheduler")[1:]
        return sum(map(_cpu, workers)), sum(map(_cpu, self._stack.component("api-server")))


def _cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return float(sum(process.cpu_times()[:4]))  # with those of children that have ended
    return 0.0


def _run(stack: AirflowStack, dag_id: str, states: set[str]) -> str:
    run_id = stack.trigger(dag_id)
    _wait(stack, dag_id, run_id, states)
    return run_id


def _wait(stack: AirflowStack, dag_id: str, run_id: str, states: set[str]) -> None:
    until = time.monotonic() + WAIT
    while True:
        found = {row["state"] for row in _tasks(stack, dag_id, run_id)}
        if found == states:
            return
        if "failed" in found or time.monotonic() > until:
            raise RuntimeError(f"The tasks of the DAG {dag_id} are {found}, expected {states}.")
        time.sleep(1.0)


def _tasks(stack: AirflowStack, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = stack.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]
    return rows


def _ended(row: dict[str, Any]) -> float:
    from datetime import datetime

    return datetime.fromisoformat(row["end_date"].replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
