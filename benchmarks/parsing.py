"""How long a DAG file waits for the import of a provider's operators and sensors, beyond Airflow's own imports."""

from __future__ import annotations

import statistics
import subprocess
from dataclasses import dataclass

from benchmarks.environments import Environment

RUNS = 7
PROGRAM = """
import sys, time
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, BaseHook, Connection
from airflow.providers.common.compat import sdk
sdk.conf, sdk.AirflowException
before = set(sys.modules)
began = time.perf_counter()
import {package}.operators.airbyte
import {package}.sensors.airbyte
took = time.perf_counter() - began
libraries = {{"requests", "aiohttp", "httpx", "airbyte_api"}} & (set(sys.modules) - before)
print(took, *sorted(libraries))
"""
PACKAGES = {"ours": "airflow_provider_airbyte_api", "official": "airflow.providers.airbyte"}


@dataclass(frozen=True)
class Parsing:
    """``seconds`` is the median; ``libraries`` are the HTTP libraries that came along."""

    seconds: float
    libraries: list[str]


def measure(environment: Environment) -> Parsing:
    program = PROGRAM.format(package=PACKAGES[environment.name])
    lines = []
    for _ in range(RUNS):
        done = subprocess.run(
            [environment.python, "-c", program],
            env=environment.variables(),
            capture_output=True,
            text=True,
            check=True,
        )
        lines.append(done.stdout.splitlines()[-1].split())
    return Parsing(statistics.median(float(line[0]) for line in lines), lines[-1][1:])
