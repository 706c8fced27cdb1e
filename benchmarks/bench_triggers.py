"""How much many waiting triggers cost, the event loop they share and the server that they wait for."""

from __future__ import annotations

import json
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, WORKSPACE_ID
from benchmarks.environments import LATENCY, Environment

INTERVAL = 10.0
WARM_UP, STEADY = 7, 10
"""Poll intervals until what is measured while all wait begins, and how many it takes: this package lists the running
jobs for their progress each minute, and all jobs that it has not heard of each tenth interval."""
BURST_WARM_UP, BURST_STEADY = 2, 3
"""The same if only the start matters."""


@dataclass(frozen=True)
class TriggerStats:
    """What was measured. Times are in seconds."""

    provider: str
    count: int
    stall_starting: float
    stall_steady: float
    stall_ending: float
    requests_per_interval: float
    peak_in_flight: int
    bytes_each: float
    cpu_per_1000_and_poll: float
    delays: list[float]
    missing: int

    @property
    def longest_stall(self) -> float:
        return max(self.stall_starting, self.stall_steady, self.stall_ending)

    @property
    def median_delay(self) -> float | None:
        return statistics.median(self.delays) if self.delays else None

    @property
    def longest_delay(self) -> float | None:
        return max(self.delays, default=None)


def measure(environment: Environment, count: int, timeout: float = 180.0, *, burst: bool = False) -> TriggerStats:
    """Let ``count`` triggers wait for as many jobs, which end within one poll interval of one another."""
    warm_up, steady_intervals = (BURST_WARM_UP, BURST_STEADY) if burst else (WARM_UP, STEADY)
    with LocalAirbyte() as airbyte:
        airbyte.latency = LATENCY
        for _ in range(count):
            airbyte.add_job(STRIPE_TO_BIGQUERY, "running", age=600)
        ended: dict[int, float] = {}
        phases: dict[str, float] = {}
        report: dict[str, Any] = {}
        process = subprocess.Popen(
            [
                environment.python,
                "benchmarks/trigger_load.py",
                environment.name,
                str(count),
                f"--interval={INTERVAL}",
                f"--warm-up={warm_up}",
                f"--intervals={steady_intervals}",
                f"--timeout={timeout}",
                *(["--burst"] if burst else []),
            ],
            stdout=subprocess.PIPE,
            env={
                **environment.variables(airbyte),
                "BENCH_WORKSPACE_ID": WORKSPACE_ID,
                "BENCH_CONNECTION_ID": STRIPE_TO_BIGQUERY,
            },
            text=True,
        )
        for line in process.stdout or ():
            if not line.startswith("{"):
                continue
            printed = json.loads(line)
            if "phase" not in printed:
                report = printed
                continue
            phases[printed["phase"]] = printed["at"]
            if printed["phase"] == "ending":
                threading.Thread(target=_end_all, args=(airbyte, count, ended), daemon=True).start()
        if process.wait() or not report:
            raise RuntimeError(f"benchmarks/trigger_load.py failed in the environment of {environment.name}.")
        asked = [each.at for each in airbyte.requests if each.path.startswith("/jobs")]
        steady = sum(phases["steady"] <= at < phases["ending"] for at in asked)
        events = {int(job_id): at for job_id, at in report["events"].items()}
        intervals = report["steady_seconds"] / INTERVAL
        return TriggerStats(
            provider=environment.name,
            count=count,
            stall_starting=report["stall_starting"],
            stall_steady=report["stall_steady"],
            stall_ending=report["stall_ending"],
            requests_per_interval=steady / intervals,
            peak_in_flight=airbyte.peak_in_flight,
            bytes_each=report["bytes_each"],
            cpu_per_1000_and_poll=report["steady_cpu"] / intervals / count * 1000,
            delays=[events[job_id] - at for job_id, at in ended.items() if job_id in events],
            missing=count - len(events),
        )


def _end_all(airbyte: LocalAirbyte, count: int, ended: dict[int, float]) -> None:
    """End all jobs, evenly spread over one poll interval."""
    started_at = time.time()
    for number in range(count):
        time.sleep(max(started_at + INTERVAL * number / count - time.time(), 0))
        airbyte.finish_job(number + 1)
        ended[number + 1] = time.time()
