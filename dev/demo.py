"""``make demo``: the example DAG, from its start to its end, on a real Airflow and a local Airbyte."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from airflow_provider_airbyte_api.testing import LocalAirbyte
from dev.stack import REPOSITORY, AirflowStack, interrupt_on_sigterm

DAG_ID = "example_airbyte"
RUN_SECONDS = 180.0
JOB_SECONDS = 12.0


def main() -> int:
    """Run the demo; 0 if all of it succeeded."""
    interrupt_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="airbyte-demo-") as home, LocalAirbyte(job_seconds=JOB_SECONDS) as airbyte:
        echo(f"Local Airbyte at {airbyte.api_url}, with jobs of {JOB_SECONDS:.0f} s.")
        echo("Starting Airflow: scheduler, triggerer, DAG processor, API server …")
        started = time.monotonic()
        environment = {"AIRFLOW_CONN_AIRBYTE_API_DEFAULT": airbyte.airflow_connection}
        with AirflowStack(Path(home), REPOSITORY / "example_dags", environment) as airflow:
            echo(f"Airflow is up after {time.monotonic() - started:.0f} s.")
            succeeded = run(airflow, airbyte)
    echo("Airflow and Airbyte are stopped; nothing is left running.")
    if not succeeded:
        return 1
    echo("Next: `make airflow` keeps both up, with Airflow's UI, for you to try things.")
    return 0


def run(airflow: AirflowStack, airbyte: LocalAirbyte) -> bool:
    """Run the DAG, show how it gets on and what came of it, and return whether all of it succeeded."""
    run_id = airflow.trigger(DAG_ID)
    echo(f"Triggered {DAG_ID}.")
    shown: dict[str, str] = {}
    until = time.monotonic() + RUN_SECONDS
    while True:
        state = airflow.run_state(DAG_ID, run_id)
        show_progress(shown, airflow.states(DAG_ID, run_id), airbyte)
        if state in ("success", "failed"):
            break
        if time.monotonic() > until:
            state = f"not finished after {RUN_SECONDS:.0f} s"
            break
        time.sleep(0.5)
    if state == "success":
        show_results(airflow, run_id, airbyte)
        return True
    for task_id, now in airflow.states(DAG_ID, run_id).items():
        if now != "success":
            echo(f"--- log of {task_id} ({now}) ---\n{airflow.task_log(DAG_ID, run_id, task_id)}")
    echo(f"The run did not succeed: it is {state}.")
    return False


def show_progress(shown: dict[str, str], tasks: dict[str, str], airbyte: LocalAirbyte) -> None:
    """Print what has changed since the last time: tasks in Airflow, jobs in Airbyte."""
    jobs = {f"job {job.job_id}": job.status for job in airbyte.jobs}
    for side, things in (("Airflow", tasks), ("Airbyte", jobs)):
        for name, now in things.items():
            if shown.get(name) != now:
                shown[name] = now
                echo(f"  {side}  {name:<16} {now}")


def show_results(airflow: AirflowStack, run_id: str, airbyte: LocalAirbyte) -> None:
    """Print the sources by name, and the jobs with what they moved."""
    echo("\nSources:")
    for source in airflow.xcom(DAG_ID, run_id, "list_sources"):
        echo(f"  {source['name']:<12} {source['sourceType']:<12} {source['sourceId']}")
    echo("Syncs:")
    names = {connection["connectionId"]: connection["name"] for connection in airbyte.connections}
    for task_id in ("sync", "wait_for_second"):
        job = airflow.xcom(DAG_ID, run_id, task_id)
        moved = f"{job['rows_synced']:>9,} rows  {job['bytes_synced']:>11,} bytes  {job['duration_seconds']:.0f} s"
        echo(f"  job {job['job_id']}  {names[job['connection_id']]:<22} {job['status']:<10} {moved}")
    echo("")


def echo(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
