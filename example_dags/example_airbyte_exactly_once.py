"""One sync a task run, whatever fails: what runs already, what waits too long, and what a retry does."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator

with DAG(
    dag_id="example_airbyte_exactly_once",
    schedule=None,
    catchup=False,
    tags=["example", "airbyte"],
    doc_md=__doc__,
    # A connection of the local Airbyte that comes with the package. Give your own when you trigger.
    params={"connection_id": "9924bcd0-99be-453d-ba47-c2c9766f7da5"},
) as dag:
    # If Airbyte, or another DAG, syncs this connection already, wait for that sync instead of starting another.
    # A retry follows the sync of the try before if it still runs, and starts a new one only if it failed.
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
    )

    # This one wants a sync that began after the first: it waits for whatever runs, and then starts its own.
    sync_again = AirbyteSyncOperator(
        task_id="sync_again",
        connection_id="{{ params.connection_id }}",
        deferrable=True,
        poll_interval=2,
        on_running="wait",
    )

    sync >> sync_again
