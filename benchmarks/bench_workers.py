"""What single tasks cost the server: requests of a sync, tokens of many processes, a long list."""

from __future__ import annotations

import copy
import json
import subprocess
import tempfile
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from benchmarks.environments import LATENCY, Environment

PROCESSES = 100
SOURCES = 5_000
POLLS = 3


@dataclass(frozen=True)
class WorkerStats:
    """What was measured. ``sync_requests`` are by kind; ``tokens`` are those that ``PROCESSES`` asked for."""

    sync_requests: dict[str, int]
    tokens: int
    list_requests: int
    list_seconds: float


def measure(environment: Environment, extra: dict[str, Any] | None = None) -> WorkerStats:
    listed: dict[str, Any] = {}
    with LocalAirbyte() as airbyte:
        airbyte.script_jobs(*["running"] * (POLLS - 1), "succeeded")
        _run(environment, airbyte, extra, "sync")
        requests = Counter(_kind(each.method, each.path) for each in airbyte.requests)
    with LocalAirbyte() as airbyte, tempfile.TemporaryDirectory() as cache:
        airbyte.latency = LATENCY
        done = _run(environment, airbyte, extra, "processes", str(PROCESSES), XDG_CACHE_HOME=cache)
        if done["failed"]:
            raise RuntimeError(f"{done['failed']} processes of {environment.name} failed.")
        tokens = len(airbyte.requests_to("POST", "/applications/token"))
    with LocalAirbyte() as airbyte:
        airbyte.latency = LATENCY
        one = next(source for source in airbyte.sources if source["sourceType"] == "stripe")
        airbyte.sources[:] = [{**copy.deepcopy(one), "sourceId": str(uuid.uuid4())} for _ in range(SOURCES)]
        listed = _run(environment, airbyte, extra, "sources")
        if listed["found"] != SOURCES:
            raise RuntimeError(f"{environment.name} found {listed['found']} of {SOURCES} sources.")
        pages = len(airbyte.requests_to("GET", "/sources"))
    return WorkerStats(dict(requests), tokens, pages, listed["seconds"])


def _run(
    environment: Environment, airbyte: LocalAirbyte, extra: dict[str, Any] | None, *what: str, **more: str
) -> dict[str, Any]:
    done = subprocess.run(
        [environment.python, "benchmarks/worker_scenarios.py", what[0], environment.name, *what[1:]],
        env={**environment.variables(airbyte, extra), "BENCH_CONNECTION_ID": STRIPE_TO_BIGQUERY, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"benchmarks/worker_scenarios.py {' '.join(what)} failed for {environment.name}:\n{done.stderr[-2000:]}"
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    printed: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return printed


def _kind(method: str, path: str) -> str:
    if path == "/applications/token":
        return "token"
    if method == "POST":
        return "start"
    return "poll" if path.startswith("/jobs/") else "look-up"
