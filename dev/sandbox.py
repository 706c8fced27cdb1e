"""``make airflow``: Airflow and a local Airbyte, up until Ctrl-C."""

from __future__ import annotations

import shutil
import sys
import threading
import time

from airflow_provider_airbyte_api.testing import LocalAirbyte, LocalJob
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, STRIPE_TO_POSTGRES
from dev.rest_api import StackError
from dev.stack import REPOSITORY, AirflowStack, interrupt_on_sigterm

AIRFLOW_PORT, AIRBYTE_PORT = 8080, 8000
DAG_ID = "example_airbyte"
LONG_JOB_SECONDS = 3600.0
FAILURE = "The table public.invoices does not exist, or the user may not read it."


def fill(airflow: AirflowStack, airbyte: LocalAirbyte) -> None:
    """Let Airflow run some syncs: a few that succeed, one that fails, and one that runs for an hour."""
    airflow.trigger(DAG_ID)
    trigger_failure(airflow, airbyte)
    first = wait_for_job(airbyte, STRIPE_TO_BIGQUERY, "succeeded")
    airflow.trigger(DAG_ID)
    running = wait_for_job(airbyte, STRIPE_TO_BIGQUERY, "running", after=first.job_id)
    running.seconds = LONG_JOB_SECONDS
    while not running.is_terminal:
        running.share = min(1.0, (time.time() - running.created_at) / LONG_JOB_SECONDS)
        time.sleep(1)


def trigger_failure(airflow: AirflowStack, airbyte: LocalAirbyte) -> str:
    """Run a sync that fails, of the connection that is inactive at first, and return the ID of the DAG run."""
    for connection in airbyte.connections:
        connection["status"] = "active"
    run_id = airflow.trigger(DAG_ID, {"connection_id": STRIPE_TO_POSTGRES})
    airbyte.fail_job(wait_for_job(airbyte, STRIPE_TO_POSTGRES, "running").job_id, FAILURE)
    return run_id


def wait_for_job(airbyte: LocalAirbyte, connection_id: str, status: str, after: int = 0) -> LocalJob:
    """Return a job of an Airbyte connection, newer than the job ``after``, once it has this status."""
    while True:
        for job in airbyte.jobs:
            if (job.connection_id, job.status) == (connection_id, status) and job.job_id > after:
                return job
        time.sleep(0.2)


def main() -> int:
    """Start both, say where they are, and wait for Ctrl-C."""
    home = REPOSITORY / ".airflow"
    shutil.rmtree(home, ignore_errors=True)
    interrupt_on_sigterm()
    try:
        airbyte = LocalAirbyte(port=AIRBYTE_PORT, job_seconds=20.0).start()
    except OSError as error:
        print(f"Port {AIRBYTE_PORT}, for the local Airbyte, cannot be used: {error.strerror}.", file=sys.stderr)
        return 1
    environment = {"AIRFLOW_CONN_AIRBYTE_API_DEFAULT": airbyte.airflow_connection}
    try:
        print("Starting Airflow …", flush=True)
        with AirflowStack(home, REPOSITORY / "example_dags", environment, AIRFLOW_PORT) as airflow:
            threading.Thread(target=fill, args=(airflow, airbyte), daemon=True).start()
            print(
                f"Airflow UI:     {airflow.url}/plugin/airbyte   (no login)\n"
                f"Example DAG:    {airflow.url}/dags/example_airbyte\n"
                f"Local Airbyte:  {airbyte.api_url}   (client id {airbyte.client_id}, secret {airbyte.client_secret})\n"
                f"Airflow's log:  {airflow.log_file}\n"
                "Ctrl-C stops both.",
                flush=True,
            )
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\nStopped.")
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        airbyte.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
