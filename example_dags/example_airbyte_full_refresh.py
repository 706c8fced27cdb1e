"""Sync all data of a connection again, and let only Airflow schedule the connection."""

from __future__ import annotations

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

from airflow_provider_airbyte_api.operators.airbyte import (
    AirbyteClearOperator,
    AirbyteSyncOperator,
    AirbyteUpdateConnectionOperator,
)

NAME = "Stripe → BigQuery"

with DAG(dag_id="example_airbyte_full_refresh", schedule=None, catchup=False, tags=["airbyte"]) as dag:
    own = AirbyteUpdateConnectionOperator(task_id="own_the_schedule", airbyte_schedule="manual", connection_name=NAME)
    # Airbyte would cancel a running sync to start the clear, so this task waits until that sync has finished.
    clear = AirbyteClearOperator(
        task_id="clear", connection_name=NAME, on_running="wait", deferrable=True, poll_interval=2
    )
    sync = AirbyteSyncOperator(
        task_id="sync", connection_name=NAME, on_airbyte_schedule="fail", deferrable=True, poll_interval=2
    )
    own >> clear >> sync
