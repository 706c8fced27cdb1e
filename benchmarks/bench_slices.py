"""What each part of a deferred task costs a whole Airflow: the start, and the end after the wait."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
import uuid
from dataclasses import dataclass

from airflow_provider_airbyte_api.testing import LocalAirbyte
from benchmarks.environments import ROOT, Environment

TASKS = 60


@dataclass(frozen=True)
class SliceStats:
    """For each task: seconds of a worker's CPU, of the API server's, and requests to it. ``delay`` is a median."""

    nothing: tuple[float, float, float]
    start: tuple[float, float, float]
    resume: tuple[float, float, float]
    delay: float


def measure(environment: Environment) -> SliceStats:
    with LocalAirbyte() as airbyte:
        template = airbyte.connections[0]
        ids = [str(uuid.uuid4()) for _ in range(TASKS)]
        airbyte.connections.extend({**template, "connectionId": each, "name": each} for each in ids)
        airbyte.script_jobs("running")
        with subprocess.Popen(
            [environment.python, "-m", "benchmarks.slices", environment.name, *ids],
            env={**environment.variables(airbyte), "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError(f"The tasks of {environment.name} did not start: see above.")
            for job in airbyte.jobs:
                airbyte.finish_job(job.job_id)
            print(time.time(), file=process.stdin, flush=True)
            last = process.stdout.readline()
        if not last or len(airbyte.jobs) != TASKS:
            raise RuntimeError(f"{environment.name} ran {len(airbyte.jobs)} jobs, expected {TASKS}: see above.")
    found = json.loads(last)
    delay = statistics.median(found.pop("delays"))
    return SliceStats(**{name: tuple(spent) for name, spent in found.items()}, delay=delay)
