"""Measure both providers in one run, and write ``docs/performance.md`` and its plot."""

from __future__ import annotations

import sys
from importlib.metadata import version

from benchmarks import bench_slices, bench_triggers, bench_workers, parsing, report
from benchmarks.environments import OFFICIAL, OURS, Environment

OURS_ONLY = (1_000, 10_000)
BOTH = (50, 200)
BURST = 200


def main() -> None:
    environments: list[Environment] = [OURS, OFFICIAL]
    if not OFFICIAL.exists:
        sys.exit("There is no environment with the official provider; run `make bench`, which builds it.")
    crowds = []
    for count in (*BOTH, *OURS_ONLY):
        for environment in environments if count in BOTH else [OURS]:
            print(f"{count:,} waiting, {environment.name} …", flush=True)
            crowds.append(bench_triggers.measure(environment, count))
    bursts = []
    for environment in environments:
        print(f"{BURST} that start at once, {environment.name} …", flush=True)
        bursts.append(bench_triggers.measure(environment, BURST, burst=True))
    parses, works, slices = {}, {}, {}
    for environment in environments:
        print(f"Parsing and working, {environment.name} …", flush=True)
        parses[environment.name] = parsing.measure(environment)
        works[environment.name] = bench_workers.measure(environment)
        print(f"{bench_slices.TASKS} deferred tasks on a whole Airflow, {environment.name} …", flush=True)
        slices[environment.name] = bench_slices.measure(environment)
    works["disk"] = bench_workers.measure(OURS, {"disk_cache": True})
    measured = report.Measured(
        crowds, bursts, parses, works, slices, version("apache-airflow"), OFFICIAL.provider_version
    )
    print(report.table(measured))
    report.write(measured)


if __name__ == "__main__":
    main()
