"""Run exactly one sync per task run: options for a running sync, for a timeout in the queue, and for retries."""

from __future__ import annotations

from datetime import timedelta

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator

with DAG(
    dag_id="example_airbyte_exactly_once",
    schedule=None,
    catchup=False,
    tags=["example", "airbyte"],
    doc_md=__doc__,
    # The default is a connection of the package's local Airbyte. Pass your own when you trigger the DAG.
    params={"connection_id": "9924bcd0-99be-453d-ba47-c2c9766f7da5"},
) as dag:
    # If a sync of this connection is already running, wait for that sync instead of starting another one.
    # A retry follows the sync of the previous attempt if it is still running, and starts a new one only if it failed.
    # A sync that failed because of the configuration of its source or destination is not retried.
    sync = AirbyteSyncOperator(
        task_id="sync",
        connection_id="{{ params.connection_id }}",
        deferrable=True,
        poll_interval=2,
        on_running="attach",
        on_inactive="skip",
        queue_timeout=1800,
        timeout=4 * 3600,
        retries=2,
        retry_delay=timedelta(minutes=5),
        fail_fast_on=("config_error",),
    )

    # This task needs a sync that starts after the first one. It waits for any running job, and then starts its own.
    sync_again = AirbyteSyncOperator(
        task_id="sync_again",
        connection_id="{{ params.connection_id }}",
        deferrable=True,
        poll_interval=2,
        on_running="wait",
    )

    sync >> sync_again
